package accounts

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// onActivationSent starts the life of the code: it counts from the first mail of its epoch.
func (s *service) onActivationSent(ctx context.Context, in bus.In[events.ActivationSent]) (events.Event, error) {
	stored, err := s.accounts.Get(ctx, in.Subject.Registration)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := &stored.Value.Activation
	if in.Data.Epoch != a.Epoch || !a.SentAt.IsZero() {
		return nil, nil
	}
	a.SentAt = in.Stored
	if _, err := s.accounts.Update(ctx, stored); err != nil {
		return nil, fmt.Errorf("update account: %w", err)
	}
	return nil, nil
}
