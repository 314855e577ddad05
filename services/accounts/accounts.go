// Package accounts owns the accounts: it creates one for each categorized registration,
// exactly once, activates it when the right code is presented, and ends it when nobody does.
package accounts

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// Service is accounts.
var Service = app.Service{Name: events.Accounts, Schemas: []store.Schema{accountSchema, upgradeSchema}, Run: Run}

// Run creates, activates and ends accounts until ctx ends.
func Run(ctx context.Context, env *app.Env) error {
	hasher, err := newHasher(env.Getenv, env.Log, env.Telemetry.Meter)
	if err != nil {
		return err
	}
	blocklist, err := passwords.Open(env.Getenv(passwords.Setting))
	if err != nil {
		return err
	}
	s := &service{
		config:    env.Config,
		keys:      env.Keys,
		persons:   env.Vault,
		hasher:    hasher,
		blocklist: blocklist,
		documents: env.Store,
		accounts:  store.NewDocs(env.Store, accountSchema, account.fields),
		upgrades:  store.NewDocs(env.Store, upgradeSchema, upgraded.fields),
		stream:    env.Bus,
		log:       env.Log,
		now:       time.Now,
	}
	var background sync.WaitGroup
	defer background.Wait()
	working, stop := context.WithCancel(ctx)
	defer stop()
	background.Go(func() { s.keepMarking(working, env.Config) })
	background.Go(func() { s.sweep(working) })
	background.Go(func() { s.upgrade(working) })
	return env.Bus.Run(ctx,
		bus.On(s.onRegistrationCategorized),
		bus.On(s.onActivationRequested),
		bus.On(s.onResendRequested),
		bus.On(s.onErasureRequested),
		bus.On(s.onRegistrationExpired),
	)
}

// tenants are the configured ones. A reaction takes its tenant once and decides under that version.
type tenants interface {
	Tenant(id string) (*tenant.Tenant, bool)
}

type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
	PutBack(ctx context.Context, tenant, registration, mark string, e vault.Entry) (sequence uint64, err error)
	Delete(ctx context.Context, tenant, registration string, sequence uint64) error
}

// stream is what was published. History may lag behind, LeaderHistory does not. Publish returns
// bus.ErrExists where the event's place is taken, StoredAt bus.ErrAbsent where it is not.
type stream interface {
	History(ctx context.Context, tenant, registration string) ([]events.Record, error)
	LeaderHistory(ctx context.Context, tenant, registration string) ([]events.Record, error)
	StoredAt(ctx context.Context, s events.Subject) (events.Record, error)
	Publish(ctx context.Context, tenant, registration string, e events.Event) error
}

// documents can forget for good what was overwritten or deleted, and show what is indexed.
type documents interface {
	Purge(ctx context.Context) error
	Find(ctx context.Context, collection string, q store.Query) (found []store.Document, next string, err error)
}

type service struct {
	config    tenants
	keys      *keys.Ring
	persons   persons
	hasher    *hasher
	blocklist *passwords.Blocklist
	documents documents
	accounts  *store.Docs[account]
	upgrades  *store.Docs[upgraded]
	stream    stream
	log       *slog.Logger
	now       func() time.Time
}
