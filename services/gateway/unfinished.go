package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// unfinished caps the registrations of a tenant that the pipeline still works on: those with
// an entry in the vault. One is put there before a registration is stored and taken out when
// its activation mail is sent or it ends, so a customer who never activates does not count; one
// whose mail cannot be delivered, or that failed, does. The count is the broker's, shared by all
// gateways and kept across restarts. It is read every second; in between a gateway adds what it
// admits itself, so a cap can be exceeded by what the other gateways admit within that second.
// An entry whose registration was never stored counts until the vault lets go of it.
//
// Safe for concurrent use.
type unfinished struct {
	js   jetstream.JetStream
	log  func(tenant string, err error)
	caps map[string]*backlog
}

// backlog is the count of one tenant.
type backlog struct {
	tenant string
	cap    int64

	failing bool // the last reading; only watch uses it

	mu       sync.Mutex
	known    bool
	counted  int64 // by the last reading
	open     int64 // being stored now
	admitted int64 // stored since the last reading began
}

const (
	countEvery = time.Second
	countTime  = 5 * time.Second
	// capHint is how long a client should wait for the pipeline to finish some.
	capHint = 5 * time.Second
)

func newUnfinished(b *bus.Bus, tenants []*tenant.Tenant) *unfinished {
	u := &unfinished{js: b.JetStream(), caps: map[string]*backlog{}, log: func(tenant string, err error) {
		b.Log().Warn("unfinished registrations not counted", "tenant", tenant, "error", err)
	}}
	for _, t := range tenants {
		if t.Limits.MaxUnfinished > 0 {
			u.caps[t.ID] = &backlog{tenant: t.ID, cap: t.Limits.MaxUnfinished}
		}
	}
	return u
}

// admit takes a place for a registration that is about to be stored; the caller calls done when
// it is stored or not.
func (u *unfinished) admit(t *tenant.Tenant) (done func(), f *failure) {
	b, capped := u.caps[t.ID]
	if !capped {
		return func() {}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.known:
		return nil, unavailable("the tenant's unfinished registrations are not counted yet; retry with the same Idempotency-Key")
	case b.counted+b.open+b.admitted >= b.cap:
		return nil, &failure{http.StatusTooManyRequests, "too-many-unfinished",
			"too many registrations of the tenant are unfinished; retry later", capHint}
	}
	b.open++
	return b.done, nil
}

func (b *backlog) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	b.admitted++
}

// err reports a capped tenant that was never counted.
func (u *unfinished) err() error {
	for _, b := range u.caps {
		b.mu.Lock()
		known := b.known
		b.mu.Unlock()
		if !known {
			return errors.New("unfinished registrations are not counted yet")
		}
	}
	return nil
}

// watch keeps the counts until ctx ends. Where one cannot be read, the last holds, and what is
// admitted adds to it.
func (u *unfinished) watch(ctx context.Context) {
	if len(u.caps) == 0 {
		return
	}
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		for _, b := range u.caps {
			err := u.read(ctx, b)
			if err != nil && !b.failing && ctx.Err() == nil {
				u.log(b.tenant, err)
			}
			b.failing = err != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (u *unfinished) read(ctx context.Context, b *backlog) error {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	b.mu.Lock()
	before := b.admitted
	b.mu.Unlock()
	n, err := u.count(ctx, b.tenant)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counted, b.known = n, true
	b.admitted -= before
	return nil
}

// beyondAll is a page of subjects that no stream has: the answer is their number alone.
const beyondAll = 1 << 40

// count asks the vault's leader how many registrations of a tenant have an entry (JetStream API
// STREAM.INFO). It makes nothing on the broker.
func (u *unfinished) count(ctx context.Context, tenant string) (int64, error) {
	request := fmt.Appendf(nil, `{"subjects_filter":"vault.%s.*","offset":%d}`, tenant, beyondAll)
	reply, err := u.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.INFO."+vault.Stream, request)
	if err != nil {
		return 0, fmt.Errorf("count the vault's entries: %w", err)
	}
	var answer struct {
		Total int64 `json:"total"`
		Error *struct {
			ErrCode int `json:"err_code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return 0, errors.New("count the vault's entries: answer is not JSON")
	}
	if answer.Error != nil {
		return 0, fmt.Errorf("count the vault's entries: error %d", answer.Error.ErrCode)
	}
	return answer.Total, nil
}
