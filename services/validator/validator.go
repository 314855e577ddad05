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
var Service = app.Service{Name: events.Validator, Schemas: []store.Schema{decisionSchema, markSchema}, Run: Run}

// Run validates until ctx ends.
func Run(ctx context.Context, env *app.Env) error {
	s := &service{
		config:    env.Config,
		persons:   env.Vault,
		documents: env.Store,
		decisions: store.NewDocs(env.Store, decisionSchema, decision.fields),
		marks:     &marks{docs: store.NewDocs(env.Store, markSchema, mark.fields), histories: env.Bus, keys: env.Keys},
	}
	return env.Bus.Run(ctx, bus.On(s.onRegistrationRequested), bus.On(s.onErasureRequested), bus.On(s.onRegistrationExpired))
}

// tenants are the configured ones. A reaction takes its tenant once and decides under that version.
type tenants interface {
	Tenant(id string) (*tenant.Tenant, bool)
}

type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
}

// documents can forget for good what was overwritten or deleted.
type documents interface {
	Purge(ctx context.Context) error
}

type service struct {
	config    tenants
	persons   persons
	documents documents
	decisions *store.Docs[decision]
	marks     *marks
}
