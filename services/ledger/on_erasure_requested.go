package ledger

import (
	"context"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// forgetter erases what the ledger has of a registration.
type forgetter struct {
	model *readModel
	// forget are those who have something beside the read model, asked after it: what comes to them
	// later finds the tombstone.
	forget []func(ctx context.Context, registration string) error
}

func (f forgetter) onErasureRequested(ctx context.Context, in bus.In[events.ErasureRequested]) (events.Event, error) {
	return f.erase(ctx, in.Record, events.ErasedBy(events.Ledger))
}

// onRegistrationExpired erases whom nobody activated.
func (f forgetter) onRegistrationExpired(ctx context.Context, in bus.In[events.Expired]) (events.Event, error) {
	return f.erase(ctx, in.Record, events.ForgottenBy(events.Ledger))
}

// erase folds the event, which makes the document a tombstone, also one that is not there yet. Then
// the others forget. What another tenant has under the id is left alone, and not answered for: that
// erasure never ends.
func (f forgetter) erase(ctx context.Context, r events.Record, answer events.Erased) (events.Event, error) {
	if err := f.model.onAnyEvent(ctx, r); err != nil {
		return nil, err
	}
	if _, own, err := f.model.get(ctx, r.Subject.Tenant, r.Subject.Registration); err != nil || !own {
		return nil, err
	}
	for _, forget := range f.forget {
		if err := forget(ctx, r.Subject.Registration); err != nil {
			return nil, err
		}
	}
	if err := f.model.documents.Purge(ctx); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	return answer, nil
}
