// Package risk scores validated registrations and assigns a category: registration.validated
// in, registration.categorized out.
package risk

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// Service is risk.
var Service = app.Service{Name: events.Risk, Schemas: []store.Schema{assessmentSchema}, Run: Run}

// Run assesses until ctx ends.
func Run(ctx context.Context, env *app.Env) error {
	s := &service{
		config:      env.Config,
		persons:     env.Vault,
		assessments: store.NewDocs(env.Store, assessmentSchema, assessment.fields),
	}
	return env.Bus.Run(ctx, bus.On(s.onRegistrationValidated))
}

type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
}

type service struct {
	config      *tenant.Config
	persons     persons
	assessments *store.Docs[assessment]
}
