// Package risk decides on validated registrations under the tenant's policy: it screens the
// applicant against lists, compares the registration with those before it, lets rules score the
// facts and assigns a category.
// registration.validated in; registration.categorized, review_required, screening_wait or rejected
// out. What a review decides comes back as registration.review_decided. Whoever becomes a customer
// is screened again when lists change (rescreen.go); new hits are cases of the tenant (on_case.go).
package risk

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// Service is risk.
var Service = app.Service{Name: events.Risk, Run: Run, Schemas: []store.Schema{
	decisionSchema, sightingSchema, clearanceSchema, customerSchema, rescreeningSchema,
}}

// Run decides until ctx ends.
func Run(ctx context.Context, env *app.Env) error {
	lists := newScreener(ctx, env.Getenv("USHER_LISTS"), env.Log)
	env.Health.Warn("lists", func() string { return lists.warning(env.Config.Current()) })
	if err := lists.observe(env.Telemetry.Meter, env.Config.Current); err != nil {
		return err
	}
	rate, err := rescreenRate(env.Getenv)
	if err != nil {
		return err
	}
	kept := &customers{docs: store.NewDocs(env.Store, customerSchema, customer.fields), keys: env.Keys, persons: env.Vault, now: time.Now}
	again := &rescreener{
		config: env.Config.Current, lists: lists, customers: kept, runs: store.NewDocs(env.Store, rescreeningSchema, Rescreening.fields),
		history: env.Bus, teller: env.Bus, pace: time.Second / time.Duration(rate), log: env.Log, now: time.Now,
		me: rand.Text(), noticed: map[string]notice{},
	}
	if err := again.observe(env.Telemetry.Meter); err != nil {
		return err
	}
	s := &service{
		config:     env.Config,
		persons:    env.Vault,
		keys:       env.Keys,
		documents:  env.Store,
		history:    env.Bus,
		lists:      lists,
		decisions:  store.NewDocs(env.Store, decisionSchema, decision.fields),
		sightings:  store.NewDocs(env.Store, sightingSchema, sighting.fields),
		clearances: store.NewDocs(env.Store, clearanceSchema, clearance.fields),
		customers:  kept,
		now:        time.Now,
	}
	var background sync.WaitGroup
	background.Go(func() { again.run(ctx) })
	defer background.Wait()
	return env.Bus.Run(ctx, bus.On(s.onRegistrationValidated), bus.On(s.onReviewDecided), bus.On(s.onErasureRequested),
		bus.On(s.onAccountCreated), bus.On(s.onAccountRefused), bus.On(s.onRegistrationExpired), bus.On(s.onCaseOpened), bus.On(s.onCaseDecided))
}

// tenants are the configured ones. A reaction takes its tenant once and decides under that version.
type tenants interface {
	Tenant(id string) (*tenant.Tenant, bool)
}

type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
	PutBack(ctx context.Context, tenant, registration, mark string, e vault.Entry) (sequence uint64, err error)
	TakeBack(ctx context.Context, tenant, registration, mark string) error
	Delete(ctx context.Context, tenant, registration string, sequence uint64) error
	Clear(ctx context.Context, tenant, registration string) error
}

// history reads one event from the stream's leader, or bus.ErrAbsent.
type history interface {
	StoredAt(ctx context.Context, s events.Subject) (events.Record, error)
}

// documents can forget for good what was overwritten or deleted.
type documents interface {
	Purge(ctx context.Context) error
}

type service struct {
	config     tenants
	persons    persons
	keys       *keys.Ring
	documents  documents
	history    history
	lists      *screener
	decisions  *store.Docs[decision]
	sightings  *store.Docs[sighting]
	clearances *store.Docs[clearance]
	customers  *customers
	now        func() time.Time
}
