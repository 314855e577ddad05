// Package limit bounds how often something happens, with token buckets of which a process keeps
// a bounded number.
package limit

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/usherhq/usher/events"
)

// Bucket holds a second's worth, at least one, and is full at first.
func Bucket(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), burst(perSecond))
}

func burst(perSecond float64) int { return max(int(perSecond), 1) }

// Refit gives a bucket the rate that is configured now.
func Refit(b *rate.Limiter, perSecond float64) *rate.Limiter {
	if b.Limit() != rate.Limit(perSecond) {
		b.SetLimit(rate.Limit(perSecond))
		b.SetBurst(burst(perSecond))
	}
	return b
}

// Take takes one token of every bucket and returns 0, or takes none and returns how long until
// each has one and keeps as many as said. A nil bucket is never empty. Callers that share buckets
// call it one at a time.
func Take(now time.Time, keep int, buckets ...*rate.Limiter) time.Duration {
	if wait := Missing(now, keep, buckets...); wait > 0 {
		return wait
	}
	for _, b := range buckets {
		if b != nil {
			b.AllowN(now, 1)
		}
	}
	return 0
}

// Missing is Take without taking.
func Missing(now time.Time, keep int, buckets ...*rate.Limiter) (wait time.Duration) {
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

// MostAddresses bounds the memory of Addresses.
const MostAddresses = 50_000

// Addresses are buckets of addresses, for one purpose each. What was not used for longest gives
// way, so nobody can empty the others' buckets' memory at once, and his own only from so many
// networks. Safe for concurrent use.
type Addresses struct {
	mu      sync.Mutex
	buckets *recent[string, *rate.Limiter]
}

// NewAddresses returns none.
func NewAddresses() *Addresses {
	return &Addresses{buckets: newRecent[string, *rate.Limiter](MostAddresses)}
}

// Of returns the bucket of an address for a purpose, with the rate given, or nil for a rate of 0.
func (a *Addresses) Of(purpose, address string, perSecond float64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return Refit(a.buckets.get(purpose+"|"+events.Client{Address: address}.Network(), func() *rate.Limiter { return Bucket(perSecond) }), perSecond)
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
