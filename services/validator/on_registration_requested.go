package validator

import (
	"context"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

var decisionSchema = store.Schema{Collection: "decisions"}

// decision is what the validator found, once for each registration. It holds no person.
type decision struct {
	Tenant     string             `json:"tenant"`
	MAC        string             `json:"requestMac"`
	Config     string             `json:"config"` // version it was decided under
	Violations []events.Violation `json:"violations,omitempty"`
}

func (decision) fields() store.Fields { return nil }

// onRegistrationRequested decides once: a redelivery, a replica and a later configuration all
// find and publish the stored decision.
func (s *service) onRegistrationRequested(ctx context.Context, in bus.In[events.Requested]) (events.Event, error) {
	d, err := s.decide(ctx, in)
	if err != nil {
		return nil, err
	}
	stored, _, err := s.decisions.InsertOrGet(ctx, in.Subject.Registration, d)
	if err != nil {
		return nil, fmt.Errorf("store decision: %w", err)
	}
	return stored.Value.event(in.Data.Carried), nil
}

func (s *service) decide(ctx context.Context, in bus.In[events.Requested]) (decision, error) {
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return decision{}, fmt.Errorf("tenant is not in configuration %s", s.config.Version)
	}
	entry, err := s.persons.Get(ctx, in.Subject.Tenant, in.Subject.Registration, in.Data.Vault)
	if err != nil {
		return decision{}, err
	}
	return decision{
		Tenant: t.ID, MAC: in.Data.MAC, Config: s.config.Version,
		Violations: violations(subject{Registration: entry.Registration, tenant: t, at: in.Stored}),
	}, nil
}

// event tells of the decision. Another content under the same id is an idempotency key used
// again after the broker forgot its first use.
func (d decision) event(c events.Carried) events.Event {
	versions := events.Versions{Config: d.Config}
	switch {
	case d.MAC != c.MAC:
		return events.Rejected{At: events.StepValidation, Versions: versions, Vault: c.Vault,
			Violations: []events.Violation{{Code: events.CodeIdempotencyKeyReused}}}
	case len(d.Violations) > 0:
		return events.Rejected{At: events.StepValidation, Versions: versions, Vault: c.Vault, Violations: d.Violations}
	}
	return events.Validated{Carried: c, Versions: versions}
}
