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
	"math"
	"net/http"
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

// ErrOccupied means that a registration has an entry already.
var ErrOccupied = errors.New("the registration has an entry already")

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

// New returns a vault on an open connection, which stays the caller's. Without a ring it can only
// delete.
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
// person, and the credential. That one was sealed to accounts before, and is so here once more: when
// the generation of the vault's key is destroyed, nothing of the entry opens.
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

// CaseOf is what stands in the place of a registration's id for the person of a tenant-level case
// about that registration's customer: who is not in flight any more is not counted as such.
func CaseOf(registration string) string { return registration + ofCase }

const ofCase = ".case"

// Subject is where the entries of a registration are.
func Subject(tenant, registration string) string { return "vault." + tenant + "." + registration }

func aad(tenant, registration, field string) string { return tenant + "|" + registration + "|" + field }

// Put stores an entry and returns its sequence. After an error it may be stored or not.
func (v *Vault) Put(ctx context.Context, tenant, registration string, e Entry) (uint64, error) {
	return v.put(ctx, tenant, registration, nil, e)
}

// PutFirst is Put for a registration that has no entry; ErrOccupied says that it has one.
func (v *Vault) PutFirst(ctx context.Context, tenant, registration string, e Entry) (uint64, error) {
	return v.put(ctx, tenant, registration, nats.Header{jetstream.ExpectedLastSubjSeqHeader: []string{"0"}}, e)
}

// headerMark tells what an entry was put back for.
const headerMark = "usher-mark"

// PutBack is Put for what can be tried again after a kill: where the newest entry of the
// registration has the mark, that one stays and its sequence is returned.
func (v *Vault) PutBack(ctx context.Context, tenant, registration, mark string, e Entry) (uint64, error) {
	sequence, found, err := v.marked(ctx, tenant, registration, mark)
	if err != nil || found {
		return sequence, err
	}
	return v.put(ctx, tenant, registration, nats.Header{headerMark: []string{mark}}, e)
}

// TakeBack is the inverse of PutBack: where the newest entry of the registration has the mark, it
// goes.
func (v *Vault) TakeBack(ctx context.Context, tenant, registration, mark string) error {
	sequence, found, err := v.marked(ctx, tenant, registration, mark)
	if err != nil || !found {
		return err
	}
	return v.Withdraw(ctx, sequence)
}

// marked finds the newest entry of a registration, if it has the mark.
func (v *Vault) marked(ctx context.Context, tenant, registration, mark string) (sequence uint64, found bool, err error) {
	newest, err := v.ask(ctx, fmt.Appendf(nil, `{"last_by_subj":%q}`, Subject(tenant, registration)))
	if errors.Is(err, ErrMissing) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	header, unreadable := nats.DecodeHeadersMsg(newest.Header)
	return newest.Sequence, unreadable == nil && header.Get(headerMark) == mark, nil
}

func (v *Vault) put(ctx context.Context, tenant, registration string, header nats.Header, e Entry) (uint64, error) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false) // it makes of one byte six
	if err := encoder.Encode(e.Registration); err != nil {
		return 0, fmt.Errorf("encode person: %w", err)
	}
	var s sealed
	var err error
	if s.person, err = v.ring.Seal(keys.Vault, tenant, aad(tenant, registration, "person"), plain.Bytes()); err != nil {
		return 0, fmt.Errorf("seal person: %w", err)
	}
	if e.Credential != nil {
		if s.credential, err = v.ring.Seal(keys.Vault, tenant, aad(tenant, registration, "credential"), e.Credential); err != nil {
			return 0, fmt.Errorf("seal credential: %w", err)
		}
	}
	future, err := v.js.PublishMsgAsync(&nats.Msg{Subject: Subject(tenant, registration), Header: header, Data: s.bytes()})
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
		return 0, putError(err)
	case <-ctx.Done():
		return 0, fmt.Errorf("store vault entry: %w", ctx.Err())
	}
}

// putError is ErrOccupied also where another entry is just being replicated.
func putError(err error) error {
	var refused *jetstream.APIError
	if errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return ErrOccupied
	}
	return fmt.Errorf("store vault entry: %w", err)
}

// Get opens the entry at a sequence. ErrMissing is the leader's word; keys.ErrUnknownKey
// means that a key has not arrived here yet, keys.ErrUnsealable that the person is damaged. A
// damaged credential is returned as it is: it opens for nobody, and most do without it.
func (v *Vault) Get(ctx context.Context, tenant, registration string, sequence uint64) (Entry, error) {
	data, err := v.reads.Do(ctx, position{Subject(tenant, registration), sequence})
	if err != nil {
		return Entry{}, err
	}
	s, ok := parse(data)
	if !ok {
		return Entry{}, fmt.Errorf("vault entry is not readable: %w", keys.ErrUnsealable)
	}
	plain, err := v.ring.Open(keys.Vault, tenant, aad(tenant, registration, "person"), s.person)
	if err != nil {
		return Entry{}, fmt.Errorf("open person: %w", err)
	}
	e := Entry{Credential: s.credential}
	if s.credential != nil && !bytes.HasPrefix(s.credential, sealedOnce) {
		opened, err := v.ring.Open(keys.Vault, tenant, aad(tenant, registration, "credential"), s.credential)
		if err != nil && !errors.Is(err, keys.ErrUnsealable) {
			return Entry{}, fmt.Errorf("open credential: %w", err)
		}
		if err == nil {
			e.Credential = opened
		}
	}
	if err := json.Unmarshal(plain, &e.Registration); err != nil {
		return Entry{}, fmt.Errorf("sealed person is not readable: %w", keys.ErrUnsealable)
	}
	return e, nil
}

// Opens reports whether data begins with an entry of a registration that the ring opens, whatever
// follows it: for who looks for remains in the broker's files.
func Opens(ring *keys.Ring, tenant, registration string, data []byte) bool {
	s, ok := parse(data)
	if !ok {
		return false
	}
	_, err := ring.Open(keys.Vault, tenant, aad(tenant, registration, "person"), s.person)
	return err == nil
}

// sealedOnce begins a credential of an entry that the version before has put in.
var sealedOnce = []byte(`{"key":`)

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
	m, err := v.ask(ctx, request)
	if err != nil {
		return nil, err
	}
	return p.of(m.Subject, m.Data)
}

// stored is a message as the leader tells of it.
type stored struct {
	Subject  string `json:"subject"`
	Sequence uint64 `json:"seq"`
	Header   []byte `json:"hdrs"`
	Data     []byte `json:"data"`
}

// ask asks the leader for an entry (JetStream API STREAM.MSG.GET).
func (v *Vault) ask(ctx context.Context, request []byte) (stored, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	reply, err := v.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+Stream, request)
	if err != nil {
		return stored{}, fmt.Errorf("read vault entry: %w", err)
	}
	var answer struct {
		Error *struct {
			Code    int `json:"code"`
			ErrCode int `json:"err_code"`
		} `json:"error"`
		Message stored `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return stored{}, errors.New("read vault entry: answer is not JSON")
	}
	if answer.Error != nil && answer.Error.ErrCode == noMessageFound {
		return stored{}, ErrMissing
	}
	if answer.Error != nil {
		return stored{}, fmt.Errorf("read vault entry: error %d", answer.Error.ErrCode)
	}
	return answer.Message, nil
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

// Delete removes an entry that nobody needs any more; it may be gone already. What stands at the
// sequence for another registration, as in a stream that was made anew, stays.
func (v *Vault) Delete(ctx context.Context, tenant, registration string, sequence uint64) error {
	_, err := v.reads.Do(ctx, position{Subject(tenant, registration), sequence})
	if errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find vault entry to delete: %w", err)
	}
	return v.Withdraw(ctx, sequence)
}

// Withdraw removes the entry at a sequence, which the caller has just put there.
func (v *Vault) Withdraw(ctx context.Context, sequence uint64) error {
	return v.delete(ctx, fmt.Appendf(nil, `{"seq":%d,"no_erase":true}`, sequence))
}

// Erase removes every entry of a registration and of its cases, and overwrites what the broker's
// files had of them, which takes it much longer than a deletion does.
func (v *Vault) Erase(ctx context.Context, tenant, registration string) error {
	return errors.Join(v.clear(ctx, Subject(tenant, registration), all, false), v.clear(ctx, Subject(tenant, CaseOf(registration)), all, false))
}

// Clear removes every entry of a registration, or with CaseOf of its cases, as Delete does one.
func (v *Vault) Clear(ctx context.Context, tenant, registration string) error {
	return v.clear(ctx, Subject(tenant, registration), all, true)
}

// ClearBefore removes the entries of a registration that were put in before the one at a sequence.
func (v *Vault) ClearBefore(ctx context.Context, tenant, registration string, sequence uint64) error {
	return v.clear(ctx, Subject(tenant, registration), sequence, true)
}

// all is a sequence before which is everything.
const all = math.MaxUint64

// clear removes the entries of a subject before a sequence.
func (v *Vault) clear(ctx context.Context, subject string, before uint64, noErase bool) error {
	for from := uint64(1); ; from++ {
		found, err := v.ask(ctx, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, from, subject))
		if errors.Is(err, ErrMissing) || err == nil && found.Sequence >= before {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find vault entries to remove: %w", err)
		}
		from = found.Sequence
		if err := v.delete(ctx, fmt.Appendf(nil, `{"seq":%d,"no_erase":%t}`, from, noErase)); err != nil {
			return err
		}
	}
}

func (v *Vault) delete(ctx context.Context, request []byte) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	reply, err := v.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.DELETE."+Stream, request)
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
	if e := answer.Error; e != nil && e.Code != http.StatusNotFound && e.ErrCode != noMessageFound {
		return fmt.Errorf("delete vault entry: error %d", e.ErrCode)
	}
	return nil
}
