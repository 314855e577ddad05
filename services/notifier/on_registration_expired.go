package notifier

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// onRegistrationExpired erases the recipient of whom nobody activated: a letter that still waits is
// not sent.
func (s *service) onRegistrationExpired(ctx context.Context, in bus.In[events.Expired]) (events.Event, error) {
	return s.erase(ctx, in.Subject, events.ForgottenBy(events.Notifier))
}
