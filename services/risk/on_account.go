package risk

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// onAccountCreated makes a customer of the applicant.
func (s *service) onAccountCreated(ctx context.Context, in bus.In[events.AccountCreated]) (events.Event, error) {
	return nil, s.customers.admit(ctx, in.Subject.Registration)
}

// onAccountRefused forgets an applicant whom accounts turned down.
func (s *service) onAccountRefused(ctx context.Context, in bus.In[events.Rejected]) (events.Event, error) {
	return nil, s.customers.forget(ctx, in.Subject.Tenant, in.Subject.Registration)
}
