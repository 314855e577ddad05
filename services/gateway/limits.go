package gateway

import (
	"container/list"
	"context"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/usherhq/usher/pkg/tenant"
)

// limits are token buckets: one for each tenant, one for each tenant and address, one for the
// failed authentications of each address. A bucket holds a second's worth, at least one. Each
// gateway has its own. Safe for concurrent use.
type limits struct {
	failures  float64 // per second and address; 0 for no limit
	mu        sync.Mutex
	tenants   map[string]*rate.Limiter
	addresses *recent[string, *rate.Limiter]
	valid     *recent[[sha256.Size]byte, struct{}] // tokens, hashed
}

// Bounds on memory. What was not used for longest gives way, so nobody can empty the others'
// buckets' memory at once, and his own only from so many networks.
const (
	mostAddresses = 50_000
	mostTokens    = 10_000
)

func newLimits(failuresPerAddress float64) *limits {
	return &limits{
		failures: failuresPerAddress, tenants: map[string]*rate.Limiter{},
		addresses: newRecent[string, *rate.Limiter](mostAddresses), valid: newRecent[[sha256.Size]byte, struct{}](mostTokens),
	}
}

// wait takes a token of the tenant's bucket and of its address's and returns 0, or takes
// none and returns how long until there is one of each.
func (l *limits) wait(t *tenant.Tenant, address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return take(time.Now(), 0, l.ofTenant(t), l.ofAddress(t.ID, address, t.Limits.PerAddress))
}

// await waits until the tenant's bucket has a token for a line of a batch, and takes it. A
// batch leaves half of the bucket to other requests.
func (l *limits) await(ctx context.Context, t *tenant.Tenant) error {
	for {
		l.mu.Lock()
		b := l.ofTenant(t)
		wait := time.Duration(0)
		if b != nil {
			wait = take(time.Now(), b.Burst()/2, b)
		}
		l.mu.Unlock()
		if wait == 0 {
			return context.Cause(ctx)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// activation takes a token for a code on the public page, where nobody is authenticated.
func (l *limits) activation(address string) time.Duration {
	const perSecond = 5
	l.mu.Lock()
	defer l.mu.Unlock()
	return take(time.Now(), 0, l.ofAddress("activation", address, perSecond))
}

// attempt returns 0 where a token may be checked, or how long until it may.
func (l *limits) attempt(token, address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.valid.has(sha256.Sum256([]byte(token))) {
		return 0
	}
	return missing(time.Now(), 0, l.ofAddress("authentication", address, l.failures))
}

// failed counts a token that was not valid, or is not any more.
func (l *limits) failed(token, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.valid.drop(sha256.Sum256([]byte(token)))
	take(time.Now(), 0, l.ofAddress("authentication", address, l.failures))
}

func (l *limits) succeeded(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.valid.get(sha256.Sum256([]byte(token)), func() struct{} { return struct{}{} })
}

// ofTenant returns nil where there is no limit.
func (l *limits) ofTenant(t *tenant.Tenant) *rate.Limiter {
	if t.Limits.PerTenant == 0 {
		return nil
	}
	b, ok := l.tenants[t.ID]
	if !ok {
		b = bucket(t.Limits.PerTenant)
		l.tenants[t.ID] = b
	}
	return b
}

// ofAddress returns nil where there is no limit.
func (l *limits) ofAddress(of, address string, perSecond float64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	return l.addresses.get(of+"|"+network(address), func() *rate.Limiter { return bucket(perSecond) })
}

func bucket(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(int(perSecond), 1))
}

// take takes one token of every bucket and returns 0, or takes none and returns how long until
// each has one and keeps as many as said. A nil bucket is never empty.
func take(now time.Time, keep int, buckets ...*rate.Limiter) time.Duration {
	if wait := missing(now, keep, buckets...); wait > 0 {
		return wait
	}
	for _, b := range buckets {
		if b != nil {
			b.AllowN(now, 1)
		}
	}
	return 0
}

func missing(now time.Time, keep int, buckets ...*rate.Limiter) (wait time.Duration) {
	for _, b := range buckets {
		if b == nil {
			continue
		}
		if lacks := float64(1+keep) - b.TokensAt(now); lacks > 0 {
			wait = max(wait, time.Duration(lacks/float64(b.Limit())*float64(time.Second)), 1)
		}
	}
	return wait
}

// network is what an address is counted under: itself, or its /64 in IPv6, which is what one
// customer has.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}

// recent keeps the values used last.
type recent[K comparable, V any] struct {
	most  int
	order *list.List // of entry, that used last first
	by    map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) *recent[K, V] {
	return &recent[K, V]{most: most, order: list.New(), by: map[K]*list.Element{}}
}

func (r *recent[K, V]) has(key K) bool { return r.by[key] != nil }

func (r *recent[K, V]) drop(key K) {
	if e := r.by[key]; e != nil {
		r.order.Remove(e)
		delete(r.by, key)
	}
}

// get returns the value of key, made where there is none.
func (r *recent[K, V]) get(key K, make func() V) V {
	if e := r.by[key]; e != nil {
		r.order.MoveToFront(e)
		return e.Value.(entry[K, V]).value
	}
	if len(r.by) >= r.most {
		r.drop(r.order.Back().Value.(entry[K, V]).key)
	}
	v := make()
	r.by[key] = r.order.PushFront(entry[K, V]{key, v})
	return v
}
