package validator

import (
	"context"
	"errors"
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
	// Disclosures are those of the tenant that the applicant accepted.
	Disclosures []events.Consent `json:"disclosures,omitempty"`
	// Erased makes it a tombstone: the person is to stay erased, whatever comes.
	Erased bool `json:"erased,omitempty"`
}

func (decision) fields() store.Fields { return nil }

// onRegistrationRequested decides once: a redelivery, a replica and a later configuration all
// find and publish the stored decision.
func (s *service) onRegistrationRequested(ctx context.Context, in bus.In[events.Requested]) (events.Event, error) {
	stored, err := s.decisions.Once(ctx, in.Subject.Registration, func() (decision, error) { return s.decide(ctx, in) })
	if err != nil {
		return nil, fmt.Errorf("decide: %w", err)
	}
	if stored.Value.Erased {
		return events.StillErased(events.Validator, in.Data.Vault), s.marks.release(ctx, in.Subject.Registration)
	}
	return stored.Value.event(in.Data.Carried), nil
}

func (s *service) decide(ctx context.Context, in bus.In[events.Requested]) (decision, error) {
	entry, err := s.persons.Get(ctx, in.Subject.Tenant, in.Subject.Registration, in.Data.Vault)
	if err != nil {
		return decision{}, err
	}
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return decision{}, errors.New("tenant is not configured")
	}
	examined := subject{Registration: entry.Registration, tenant: t, at: in.Stored}
	d := decision{Tenant: t.ID, MAC: in.Data.MAC, Config: t.ConfigVersion, Violations: violations(examined)}
	if len(d.Violations) == 0 && entry.Registration.Channel == candescent {
		d.Disclosures = acceptedDisclosures(examined)
		return s.mark(ctx, in, entry.Registration, d)
	}
	return d, nil
}

// mark adds to a decision that no other registration of the person is in flight, or that one
// is. A decision that was stored before stands, and takes no marks again.
func (s *service) mark(ctx context.Context, in bus.In[events.Requested], r events.Registration, d decision) (decision, error) {
	stored, err := s.decisions.Get(ctx, in.Subject.Registration)
	if !errors.Is(err, store.ErrNotFound) {
		return stored.Value, err
	}
	ids, err := s.marks.of(d.Tenant, r)
	if err != nil {
		return decision{}, err
	}
	own := mark{Tenant: d.Tenant, Registration: in.Subject.Registration, Receipt: in.Stored.UnixNano()}
	taken, err := s.marks.take(ctx, own, ids)
	if taken != "" {
		d.Violations = violation(events.CodeInProgress, taken)
	}
	return d, err
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
	return events.Validated{Carried: c, Versions: versions, Disclosures: d.Disclosures}
}
