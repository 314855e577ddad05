// Package vault keeps the sealed person and credential of a registration in flight, in a
// stream of their own: events carry only where.
package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/group"
	"github.com/usherhq/usher/pkg/keys"
)

// Stream holds the entries, under vault.<tenant>.<registration>.
const Stream = "VAULT"

// ErrMissing means that the leader of the stream has no such entry.
var ErrMissing = errors.New("the vault has no such entry")

// ErrTooLarge means that the broker takes no message as large as this entry.
var ErrTooLarge = errors.New("the entry is larger than the broker takes")

// Entry is what the vault keeps for one registration.
type Entry struct {
	Registration events.Registration
	// Credential is the password, sealed to the accounts service; nil where there is none.
	Credential []byte
}

// String keeps personal data out of formatted text.
func (Entry) String() string { return "vault entry" }

// Vault seals and opens entries. Its concurrent reads share a request. Safe for concurrent use.
type Vault struct {
	js    jetstream.JetStream
	ring  *keys.Ring
	reads *group.Group[position, []byte]
}

// readMax is how many entries one request reads; the broker gives at most 1,024.
const readMax = 256

// New returns a vault on an open connection, which stays the caller's.
func New(js jetstream.JetStream, ring *keys.Ring) *Vault {
	v := &Vault{js: js, ring: ring}
	v.reads = group.New(0, readMax, v.readBatch)
	return v
}

// position is where an entry is.
type position struct {
	subject  string
	sequence uint64
}

// sealed is an entry as the stream holds it: the length of the sealed person as a varint, the
// person, and the credential, which was sealed by itself.
type sealed struct{ person, credential []byte }

func (s sealed) bytes() []byte {
	data := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+len(s.person)+len(s.credential)), uint64(len(s.person)))
	return append(append(data, s.person...), s.credential...)
}

func parse(data []byte) (s sealed, ok bool) {
	n, used := binary.Uvarint(data)
	if used <= 0 || n > uint64(len(data)-used) {
		return s, false
	}
	s.person = data[used : used+int(n)]
	if rest := data[used+int(n):]; len(rest) > 0 {
		s.credential = rest
	}
	return s, true
}

func subject(tenant, registration string) string { return "vault." + tenant + "." + registration }

func aad(tenant, registration string) string { return tenant + "|" + registration + "|person" }

// Put stores an entry and returns its sequence. After an error it may be stored or not.
func (v *Vault) Put(ctx context.Context, tenant, registration string, e Entry) (uint64, error) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false) // it makes of one byte six
	if err := encoder.Encode(e.Registration); err != nil {
		return 0, fmt.Errorf("encode person: %w", err)
	}
	person, err := v.ring.Seal(keys.Vault, tenant, aad(tenant, registration), plain.Bytes())
	if err != nil {
		return 0, fmt.Errorf("seal person: %w", err)
	}
	future, err := v.js.PublishMsgAsync(&nats.Msg{Subject: subject(tenant, registration), Data: sealed{person, e.Credential}.bytes()})
	if errors.Is(err, nats.ErrMaxPayload) {
		return 0, ErrTooLarge
	}
	if err != nil {
		return 0, fmt.Errorf("store vault entry: %w", err)
	}
	select {
	case ack := <-future.Ok():
		return ack.Sequence, nil
	case err := <-future.Err():
		return 0, fmt.Errorf("store vault entry: %w", err)
	case <-ctx.Done():
		return 0, fmt.Errorf("store vault entry: %w", ctx.Err())
	}
}

// Get opens the entry at a sequence. ErrMissing is the leader's word; keys.ErrUnknownKey
// means that a key has not arrived here yet.
func (v *Vault) Get(ctx context.Context, tenant, registration string, sequence uint64) (Entry, error) {
	data, err := v.reads.Do(ctx, position{subject(tenant, registration), sequence})
	if err != nil {
		return Entry{}, err
	}
	s, ok := parse(data)
	if !ok {
		return Entry{}, errors.New("vault entry is not readable")
	}
	plain, err := v.ring.Open(keys.Vault, tenant, aad(tenant, registration), s.person)
	if err != nil {
		return Entry{}, fmt.Errorf("open person: %w", err)
	}
	e := Entry{Credential: s.credential}
	if err := json.Unmarshal(plain, &e.Registration); err != nil {
		return Entry{}, errors.New("sealed person is not readable")
	}
	return e, nil
}

// readTimeout bounds one request to the broker.
const readTimeout = 5 * time.Second

// readBatch asks any replica for the last entries of all subjects at once. One that is not
// among them, because the replica lags or another came after it, is asked of the leader.
func (v *Vault) readBatch(ctx context.Context, positions []position) []group.Result[[]byte] {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	last := map[position][]byte{}
	if len(positions) > 1 {
		last = v.lastOf(ctx, positions)
	}
	results := make([]group.Result[[]byte], len(positions))
	for i, p := range positions {
		data, found := last[p]
		if !found {
			data, results[i].Err = v.read(ctx, p)
		}
		results[i].Value = data
	}
	return results
}

// lastOf returns what a replica has; an error of the whole is one of each.
func (v *Vault) lastOf(ctx context.Context, positions []position) map[position][]byte {
	found := map[position][]byte{}
	subjects := make([]string, len(positions))
	for i, p := range positions {
		subjects[i] = p.subject
	}
	messages, err := jetstreamext.GetLastMsgsFor(ctx, v.js, Stream, subjects)
	if err != nil {
		return found
	}
	for m, err := range messages {
		if err != nil {
			break
		}
		found[position{m.Subject, m.Sequence}] = m.Data
	}
	return found
}

// read asks any replica, then, on a miss, the leader.
func (v *Vault) read(ctx context.Context, p position) ([]byte, error) {
	nc := v.js.Conn()
	request := fmt.Appendf(nil, `{"seq":%d}`, p.sequence)
	direct, err := nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+Stream, request)
	if err == nil && direct.Header.Get("Status") == "" {
		return p.of(direct.Header.Get("Nats-Subject"), direct.Data)
	}
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+Stream, request)
	if err != nil {
		return nil, fmt.Errorf("read vault entry: %w", err)
	}
	var answer struct {
		Error *struct {
			Code    int `json:"code"`
			ErrCode int `json:"err_code"`
		} `json:"error"`
		Message struct {
			Subject string `json:"subject"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, errors.New("read vault entry: answer is not JSON")
	}
	if answer.Error != nil && answer.Error.ErrCode == noMessageFound {
		return nil, ErrMissing
	}
	if answer.Error != nil {
		return nil, fmt.Errorf("read vault entry: error %d", answer.Error.ErrCode)
	}
	return p.of(answer.Message.Subject, answer.Message.Data)
}

// noMessageFound is JSNoMessageFoundErr. Other answers that are a 404 to HTTP, such as that there
// is no stream, say nothing of the entry.
const noMessageFound = 10037

// of returns the data of the entry if it is that of the position's subject.
func (p position) of(subject string, data []byte) ([]byte, error) {
	if subject != p.subject {
		return nil, ErrMissing
	}
	return data, nil
}

// Delete removes an entry that nobody needs any more; it may be gone already.
func (v *Vault) Delete(ctx context.Context, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	reply, err := v.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.DELETE."+Stream, fmt.Appendf(nil, `{"seq":%d,"no_erase":true}`, sequence))
	if err != nil {
		return fmt.Errorf("delete vault entry: %w", err)
	}
	var answer struct {
		Error *struct {
			Code    int `json:"code"`
			ErrCode int `json:"err_code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return errors.New("delete vault entry: answer is not JSON")
	}
	if e := answer.Error; e != nil && e.Code != 404 && e.ErrCode != noMessageFound && e.ErrCode != 10043 && e.ErrCode != 10057 {
		return fmt.Errorf("delete vault entry: error %d", e.ErrCode)
	}
	return nil
}
