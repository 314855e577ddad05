// Package vault keeps the sealed person and credential of a registration in flight, in a
// stream of their own: events carry only where.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
)

// Stream holds the entries, under vault.<tenant>.<registration>.
const Stream = "VAULT"

// ErrMissing means that the leader of the stream has no such entry.
var ErrMissing = errors.New("the vault has no such entry")

// Entry is what the vault keeps for one registration.
type Entry struct {
	Registration events.Registration
	// Credential is the password, sealed to the accounts service; nil where there is none.
	Credential []byte
}

// String keeps personal data out of formatted text.
func (Entry) String() string { return "vault entry" }

// Vault seals and opens entries. Safe for concurrent use.
type Vault struct {
	js   jetstream.JetStream
	ring *keys.Ring
}

// New returns a vault on an open connection, which stays the caller's.
func New(js jetstream.JetStream, ring *keys.Ring) *Vault { return &Vault{js, ring} }

// sealed is an entry as the stream holds it.
type sealed struct {
	Person     []byte          `json:"person"`
	Credential json.RawMessage `json:"credential,omitempty"`
}

func subject(tenant, registration string) string { return "vault." + tenant + "." + registration }

func aad(tenant, registration string) string { return tenant + "|" + registration + "|person" }

// Put stores an entry and returns its sequence. After an error it may be stored or not.
func (v *Vault) Put(ctx context.Context, tenant, registration string, e Entry) (uint64, error) {
	plain, err := json.Marshal(e.Registration)
	if err != nil {
		return 0, fmt.Errorf("encode person: %w", err)
	}
	person, err := v.ring.Seal(keys.Vault, tenant, aad(tenant, registration), plain)
	if err != nil {
		return 0, fmt.Errorf("seal person: %w", err)
	}
	data, err := json.Marshal(sealed{Person: person, Credential: e.Credential})
	if err != nil {
		return 0, fmt.Errorf("encode vault entry: %w", err)
	}
	future, err := v.js.PublishMsgAsync(&nats.Msg{Subject: subject(tenant, registration), Data: data})
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
	subj, data, err := v.read(ctx, sequence)
	if err != nil {
		return Entry{}, err
	}
	if subj != subject(tenant, registration) {
		return Entry{}, ErrMissing
	}
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return Entry{}, errors.New("vault entry is not readable")
	}
	plain, err := v.ring.Open(keys.Vault, tenant, aad(tenant, registration), s.Person)
	if err != nil {
		return Entry{}, fmt.Errorf("open person: %w", err)
	}
	e := Entry{Credential: s.Credential}
	if err := json.Unmarshal(plain, &e.Registration); err != nil {
		return Entry{}, errors.New("sealed person is not readable")
	}
	return e, nil
}

// read asks any replica, then, on a miss, the leader.
func (v *Vault) read(ctx context.Context, sequence uint64) (subj string, data []byte, err error) {
	nc := v.js.Conn()
	request := fmt.Appendf(nil, `{"seq":%d}`, sequence)
	direct, err := nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+Stream, request)
	if err == nil && direct.Header.Get("Status") == "" {
		return direct.Header.Get("Nats-Subject"), direct.Data, nil
	}
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+Stream, request)
	if err != nil {
		return "", nil, fmt.Errorf("read vault entry: %w", err)
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
		return "", nil, errors.New("read vault entry: answer is not JSON")
	}
	if answer.Error != nil && answer.Error.Code == 404 {
		return "", nil, ErrMissing
	}
	if answer.Error != nil {
		return "", nil, fmt.Errorf("read vault entry: error %d", answer.Error.ErrCode)
	}
	return answer.Message.Subject, answer.Message.Data, nil
}

// Delete removes an entry that nobody needs any more; it may be gone already.
func (v *Vault) Delete(ctx context.Context, sequence uint64) error {
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
	const noMessageFound = 10037 // JSNoMessageFoundErr; 10043 is a sequence that is not there
	if e := answer.Error; e != nil && e.Code != 404 && e.ErrCode != noMessageFound && e.ErrCode != 10043 && e.ErrCode != 10057 {
		return fmt.Errorf("delete vault entry: error %d", e.ErrCode)
	}
	return nil
}
