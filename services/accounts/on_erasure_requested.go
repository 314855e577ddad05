package accounts

import (
	"context"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// onErasureRequested puts a tombstone in the place of the account, or of none: it claims nothing.
// An account that is being made meanwhile meets it, before its password is hashed or after. Another
// tenant's is left alone, and not answered for: that erasure never ends.
func (s *service) onErasureRequested(ctx context.Context, in bus.In[events.ErasureRequested]) (events.Event, error) {
	tombstone := account{Tenant: in.Subject.Tenant, State: erased}
	own, err := s.accounts.PutIf(ctx, in.Subject.Registration, tombstone, func(there account) bool { return there.Tenant == tombstone.Tenant || there.State == erased })
	if err != nil {
		return nil, fmt.Errorf("erase account: %w", err)
	}
	if !own {
		return nil, nil
	}
	if err := s.documents.Purge(ctx); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	return events.ErasedBy(events.Accounts), nil
}
