package notifier

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// onAccountActivated forgets the recipient: no further mail is due.
func (s *service) onAccountActivated(ctx context.Context, in bus.In[events.AccountActivated]) (events.Event, error) {
	return nil, s.forget(ctx, in.Subject.Registration, events.OutcomeActivated)
}
