package gateway

import (
	"context"
	"sync"

	"github.com/usherhq/usher/pkg/bus"
)

// provisioned knows the tenants whose streams are there. Safe for concurrent use.
type provisioned struct {
	bus  *bus.Bus
	seen sync.Map // tenant to struct{}
}

// has asks the broker until it says yes once: what was provisioned stays. A broker that does
// not answer is none of its business: the publish will tell.
func (p *provisioned) has(ctx context.Context, tenant string) bool {
	if _, ok := p.seen.Load(tenant); ok {
		return true
	}
	there, err := p.bus.HasFeed(ctx, tenant)
	if err == nil && there {
		p.seen.Store(tenant, struct{}{})
	}
	return err != nil || there
}
