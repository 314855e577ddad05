package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/tenant"
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
	count  func(ctx context.Context, tenant string) (int64, error)
	config *tenant.Live
	log    func(tenant string, err error)

	mu       sync.Mutex
	backlogs map[string]*backlog // by tenant
}

// backlog is the count of one tenant.
type backlog struct {
	tenant string
	late   bool // the cap came with a reload: it holds from the first count on

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

func newUnfinished(env *app.Env) *unfinished {
	u := &unfinished{count: env.Vault.Count, config: env.Config, backlogs: map[string]*backlog{}, log: func(tenant string, err error) {
		env.Log.Warn("unfinished registrations not counted", "tenant", tenant, "error", err)
	}}
	for _, t := range u.capped() {
		u.backlogs[t] = &backlog{tenant: t}
	}
	return u
}

// capped lists the tenants that have a cap now.
func (u *unfinished) capped() []string {
	var ids []string
	for _, t := range u.config.Current().Tenants {
		if t.Limits.MaxUnfinished > 0 {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// admit takes a place for a registration that is about to be stored; the caller calls done when
// it is stored or not.
func (u *unfinished) admit(t *tenant.Tenant) (done func(), f *failure) {
	b := u.backlog(t.ID)
	if b == nil || t.Limits.MaxUnfinished == 0 {
		return func() {}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.known && b.late:
		return func() {}, nil
	case !b.known:
		return nil, unavailable("the tenant's unfinished registrations are not counted yet; retry with the same Idempotency-Key")
	case b.counted+b.open+b.admitted >= t.Limits.MaxUnfinished:
		return nil, &failure{http.StatusTooManyRequests, "too-many-unfinished",
			"too many registrations of the tenant are unfinished; retry later", capHint}
	}
	b.open++
	return b.done, nil
}

func (u *unfinished) backlog(tenant string) *backlog {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.backlogs[tenant]
}

func (b *backlog) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	b.admitted++
}

// err reports a tenant, capped from the start, that was never counted.
func (u *unfinished) err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, b := range u.backlogs {
		b.mu.Lock()
		known := b.known || b.late
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
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		u.countAll(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// countAll reads the count of every tenant that has a cap now, and forgets the others.
func (u *unfinished) countAll(ctx context.Context) {
	backlogs := map[string]*backlog{}
	for _, id := range u.capped() {
		b := u.backlog(id)
		if b == nil {
			b = &backlog{tenant: id, late: true}
		}
		err := u.read(ctx, b)
		if err != nil && !b.failing && ctx.Err() == nil {
			u.log(id, err)
		}
		b.failing = err != nil
		backlogs[id] = b
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.backlogs = backlogs
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
