package accounts

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// onRegistrationExpired answers for the account, which forgot the person before the event; one that
// ended under an earlier version may have kept what that one did.
func (s *service) onRegistrationExpired(ctx context.Context, in bus.In[events.Expired]) (events.Event, error) {
	a, err := s.accounts.Get(ctx, in.Subject.Registration)
	if err == nil && a.Value.State == expired && a.Value.MAC != "" {
		a.Value.forget()
		_, err = s.accounts.Update(ctx, a)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("forget the person of an account: %w", err)
	}
	if err := s.documents.Purge(ctx); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	return events.ForgottenBy(events.Accounts), nil
}
