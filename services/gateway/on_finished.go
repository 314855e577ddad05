package gateway

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// The gateway put the person into the vault and takes it out when nobody needs it any more.

func (g *gateway) onRegistrationRejected(ctx context.Context, in bus.In[events.Rejected]) (events.Event, error) {
	return nil, g.forget(ctx, in.Data.Vault)
}

func (g *gateway) onActivationSent(ctx context.Context, in bus.In[events.ActivationSent]) (events.Event, error) {
	return nil, g.forget(ctx, in.Data.Vault)
}

func (g *gateway) forget(ctx context.Context, sequence uint64) error {
	if sequence == 0 {
		return nil
	}
	return g.env.Vault.Delete(ctx, sequence)
}
