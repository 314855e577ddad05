package gateway

import (
	"context"
	"slices"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// onErased takes out of the vault what a stage or a repeated request put there since, and answers
// for the gateway once all others have answered: from then on nobody puts the person back. Of the
// answers that come at once the last one sees all others.
func (e *erasure) onErased(ctx context.Context, in bus.In[events.Erased]) (events.Event, error) {
	if in.Data.Service == events.Gateway {
		return nil, nil
	}
	history, err := e.stream.LeaderHistory(ctx, in.Subject.Tenant, in.Subject.Registration)
	if err != nil {
		return nil, err
	}
	if err := e.vault.Erase(ctx, in.Subject.Tenant, in.Subject.Registration); err != nil {
		return nil, err
	}
	if in.Data.Answers() && slices.Equal(events.Awaits(history, in.Data.K), []events.Service{events.Gateway}) {
		return events.Erased{Service: events.Gateway, K: in.Data.K}, nil
	}
	return nil, nil
}
