package risk

import (
	"context"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// onErasureRequested puts tombstones in the place of every case version's decision and of the next
// version's, so that one that is being decided meanwhile meets it, and forgets the customer, what
// the registration is found by, and what its reviews cleared. A repetition adds one more tombstone.
// What another tenant has under the id is left alone, and not answered for: that erasure never ends.
func (s *service) onErasureRequested(ctx context.Context, in bus.In[events.ErasureRequested]) (events.Event, error) {
	return s.erase(ctx, in.Subject, events.ErasedBy(events.Risk))
}

// onRegistrationExpired does the same for whom nobody activated.
func (s *service) onRegistrationExpired(ctx context.Context, in bus.In[events.Expired]) (events.Event, error) {
	return s.erase(ctx, in.Subject, events.ForgottenBy(events.Risk))
}

func (s *service) erase(ctx context.Context, of events.Subject, answer events.Erased) (events.Event, error) {
	tombstone := decision{Tenant: of.Tenant, Erased: true}
	for version, free := 1, false; !free; version++ {
		stored, inserted, err := s.decisions.InsertOrGet(ctx, decisionID(of.Registration, version), tombstone)
		if err == nil && stored.Value.Tenant != tombstone.Tenant && !stored.Value.Erased {
			return nil, nil
		}
		if err == nil && !inserted && !stored.Value.Erased {
			stored.Value = tombstone
			_, err = s.decisions.Update(ctx, stored)
		}
		if err != nil {
			return nil, fmt.Errorf("erase decision: %w", err)
		}
		free = inserted
	}
	if err := s.sightings.Put(ctx, of.Registration, sighting{}); err != nil {
		return nil, fmt.Errorf("erase what the registration is found by: %w", err)
	}
	if err := s.customers.forget(ctx, of.Tenant, of.Registration); err != nil {
		return nil, fmt.Errorf("erase customer: %w", err)
	}
	if err := s.forgetClearances(ctx, of.Registration); err != nil {
		return nil, err
	}
	if err := s.documents.Purge(ctx); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	return answer, nil
}
