// Package accounts owns the accounts: it creates one for each categorized registration,
// exactly once, and activates it when the right code is presented.
package accounts

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// Service is accounts.
var Service = app.Service{Name: events.Accounts, Schemas: []store.Schema{accountSchema}, Run: Run}

// Run creates and activates accounts until ctx ends.
func Run(ctx context.Context, env *app.Env) error {
	hasher, err := newHasher(env.Getenv, env.Log)
	if err != nil {
		return err
	}
	s := &service{
		config:   env.Config,
		keys:     env.Keys,
		persons:  env.Vault,
		hasher:   hasher,
		accounts: store.NewDocs(env.Store, accountSchema, account.fields),
	}
	return env.Bus.Run(ctx,
		bus.On(s.onRegistrationCategorized),
		bus.On(s.onActivationSent),
		bus.On(s.onActivationRequested),
		bus.On(s.onResendRequested),
	)
}

type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
}

type service struct {
	config   *tenant.Config
	keys     *keys.Ring
	persons  persons
	hasher   *hasher
	accounts *store.Docs[account]
}
