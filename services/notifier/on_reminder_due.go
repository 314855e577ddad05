package notifier

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

const causeReminder = "reminder"

// onReminderDue tells the owner of an account that it will end, with a code that works.
func (s *service) onReminderDue(ctx context.Context, in bus.In[events.ReminderDue]) (events.Event, error) {
	return s.writeAgain(ctx, letter{
		Tenant: in.Subject.Tenant, Registration: in.Subject.Registration, Cause: causeReminder,
		Epoch: in.Data.Epoch, Validity: in.Data.ValiditySeconds, ExpiresAt: in.Data.ExpiresAt.UnixMilli(),
	})
}
