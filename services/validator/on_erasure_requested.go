package validator

import (
	"context"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// onErasureRequested puts a tombstone in the place of the decision, or of none, and takes away the
// marks. A request that is being decided meanwhile, or comes later, meets the tombstone.
// What another tenant has under the id is left alone, and not answered for: that erasure never ends.
func (s *service) onErasureRequested(ctx context.Context, in bus.In[events.ErasureRequested]) (events.Event, error) {
	return s.erase(ctx, in.Subject, events.ErasedBy(events.Validator))
}

// onRegistrationExpired does the same for whom nobody activated.
func (s *service) onRegistrationExpired(ctx context.Context, in bus.In[events.Expired]) (events.Event, error) {
	return s.erase(ctx, in.Subject, events.ForgottenBy(events.Validator))
}

func (s *service) erase(ctx context.Context, of events.Subject, answer events.Erased) (events.Event, error) {
	tombstone := decision{Tenant: of.Tenant, Erased: true}
	own, err := s.decisions.PutIf(ctx, of.Registration, tombstone, func(there decision) bool { return there.Tenant == of.Tenant || there.Erased })
	if err != nil {
		return nil, fmt.Errorf("erase decision: %w", err)
	}
	if !own {
		return nil, nil
	}
	if err := s.marks.release(ctx, of.Registration); err != nil {
		return nil, err
	}
	if err := s.documents.Purge(ctx); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	return answer, nil
}
