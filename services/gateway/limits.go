package gateway

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/usherhq/usher/pkg/limit"
	"github.com/usherhq/usher/pkg/tenant"
)

// limits are token buckets: one for each tenant, one for each tenant and address. A bucket holds
// a second's worth, at least one. Each gateway has its own. Safe for concurrent use.
type limits struct {
	mu        sync.Mutex
	tenants   map[string]*rate.Limiter
	addresses *limit.Addresses
}

func newLimits() *limits {
	return &limits{tenants: map[string]*rate.Limiter{}, addresses: limit.NewAddresses()}
}

// wait takes a token of the tenant's bucket and of its address's and returns 0, or takes
// none and returns how long until there is one of each.
func (l *limits) wait(t *tenant.Tenant, address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return limit.Take(time.Now(), 0, l.ofTenant(t), l.addresses.Of(t.ID, address, t.Limits.PerAddress))
}

// lookAgain is how long a batch waits before it asks for its tenant's limit anew.
const lookAgain = time.Second

// await waits until the bucket of the tenant, as it is at each moment, has a token for a line of a
// batch, and takes it. A batch leaves half of the bucket to other requests.
func (l *limits) await(ctx context.Context, now func() *tenant.Tenant) error {
	for {
		l.mu.Lock()
		b := l.ofTenant(now())
		wait := time.Duration(0)
		if b != nil {
			wait = limit.Take(time.Now(), b.Burst()/2, b)
		}
		l.mu.Unlock()
		if wait == 0 {
			return context.Cause(ctx)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(wait, lookAgain)):
		}
	}
}

// activation takes a token for a code on the public page, where nobody is authenticated.
func (l *limits) activation(address string) time.Duration {
	const perSecond = 5
	l.mu.Lock()
	defer l.mu.Unlock()
	return limit.Take(time.Now(), 0, l.addresses.Of("activation", address, perSecond))
}

// ofTenant returns nil where there is no limit.
func (l *limits) ofTenant(t *tenant.Tenant) *rate.Limiter {
	if t.Limits.PerTenant == 0 {
		return nil
	}
	b, ok := l.tenants[t.ID]
	if !ok {
		b = limit.Bucket(t.Limits.PerTenant)
		l.tenants[t.ID] = b
	}
	return limit.Refit(b, t.Limits.PerTenant)
}
