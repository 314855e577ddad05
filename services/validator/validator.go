// Package validator checks the content of registrations against the rules of their channel
// and tenant: registration.requested in, registration.validated or registration.rejected out.
package validator

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// Service is the validator.
var Service = app.Service{Name: events.Validator, Schemas: []store.Schema{decisionSchema}, Run: Run}

// Run validates until ctx ends.
func Run(ctx context.Context, env *app.Env) error {
	s := &service{
		config:    env.Config,
		persons:   env.Vault,
		decisions: store.NewDocs(env.Store, decisionSchema, decision.fields),
	}
	return env.Bus.Run(ctx, bus.On(s.onRegistrationRequested))
}

type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
}

type service struct {
	config    *tenant.Config
	persons   persons
	decisions *store.Docs[decision]
}
