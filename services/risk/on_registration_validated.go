package risk

import (
	"context"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

var assessmentSchema = store.Schema{Collection: "assessments"}

// assessment is the decision of a registration's first case. It holds no person.
type assessment struct {
	Tenant   string            `json:"tenant"`
	MAC      string            `json:"requestMac"`
	Found    events.Assessment `json:"found"`
	Claimed  string            `json:"claimed,omitempty"`
	Category events.Category   `json:"category"`
	Features []events.Feature  `json:"features"`
}

func (assessment) fields() store.Fields { return nil }

// onRegistrationValidated decides once: a redelivery, a replica and a later policy all find
// and publish the stored decision.
func (s *service) onRegistrationValidated(ctx context.Context, in bus.In[events.Validated]) (events.Event, error) {
	a, err := s.assess(ctx, in)
	if err != nil {
		return nil, err
	}
	stored, _, err := s.assessments.InsertOrGet(ctx, in.Subject.Registration, a)
	if err != nil {
		return nil, fmt.Errorf("store assessment: %w", err)
	}
	return stored.Value.event(in.Data.Carried), nil
}

func (s *service) assess(ctx context.Context, in bus.In[events.Validated]) (assessment, error) {
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return assessment{}, fmt.Errorf("tenant is not in configuration %s", s.config.Version)
	}
	entry, err := s.persons.Get(ctx, in.Subject.Tenant, in.Subject.Registration, in.Data.Vault)
	if err != nil {
		return assessment{}, err
	}
	found := score(t.Policy, factsOf(entry.Registration, in.Stored))
	found.Case = 1
	found.By = "policy"
	found.Versions = events.Versions{Config: s.config.Version, Policy: t.Policy.Version, Catalog: t.Catalog.Version}
	category, features := assign(t.Catalog, entry.Registration.Claim, found)
	return assessment{
		Tenant: t.ID, MAC: in.Data.MAC, Found: found, Claimed: claimed(entry.Registration.Claim), Category: category, Features: features,
	}, nil
}

// event tells of the decision. Another content under the same id is an idempotency key used
// again after the broker forgot its first use.
func (a assessment) event(c events.Carried) events.Event {
	if a.MAC != c.MAC {
		return events.Rejected{At: events.StepRisk, Case: 1, Versions: a.Found.Versions, Vault: c.Vault,
			Violations: []events.Violation{{Code: events.CodeIdempotencyKeyReused}}}
	}
	return events.Categorized{Carried: c, Assessment: a.Found, Claimed: a.Claimed, Category: a.Category, Features: a.Features}
}
