//go:build process

package usher

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// intake registers customers at a steady pace until it is stopped.
type intake struct {
	mu       sync.Mutex
	all      []accepted
	accepted atomic.Int64
	retries  atomic.Int64
	stopping atomic.Bool
	wg       sync.WaitGroup
}

// intake starts one of at least so many customers. Every tenth repeats an address, and
// every fifth sends its request a second time under the same key.
func (c *cluster) intake(least int) *intake {
	in := &intake{}
	c.t.Cleanup(in.wg.Wait)
	var next atomic.Int64
	for range 16 {
		in.wg.Go(func() {
			for c.t.Context().Err() == nil && (!in.stopping.Load() || in.accepted.Load() < int64(least)) {
				i := int(next.Add(1))
				email := fmt.Sprintf("person.%d@example.com", i)
				if i%10 == 9 {
					email = fmt.Sprintf("Person.%d@Example.com", i-1)
				}
				c.registerTwice(in, fmt.Sprintf("key-%d", i), email, i%5 == 0)
				pause(c.t.Context(), 300*time.Millisecond)
			}
		})
	}
	return in
}

func (c *cluster) registerTwice(in *intake, key, email string, twice bool) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Minute)
	defer cancel()
	a, attempts, err := c.register(ctx, key, email)
	if err == nil && twice {
		var again accepted
		if again, _, err = c.register(ctx, key, email); err == nil && again.id != a.id {
			c.report("key %s gave %s and %s", key, a.id, again.id)
		}
	}
	if c.t.Context().Err() != nil {
		return
	}
	if err != nil {
		c.report("register: %v", err)
		return
	}
	in.retries.Add(int64(attempts - 1))
	in.accepted.Add(1)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.all = append(in.all, a)
}

// stop returns what was accepted.
func (in *intake) stop() []accepted {
	in.stopping.Store(true)
	in.wg.Wait()
	return in.all
}

// probe returns when a new registration has gone all the way.
func (c *cluster) probe(b *bus.Bus, i int, limit time.Duration) (accepted, bool) {
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	a, _, err := c.register(ctx, fmt.Sprintf("probe-%d", i), fmt.Sprintf("probe.%d@example.com", i))
	if err != nil {
		return accepted{}, false
	}
	return a, within(limit, func() bool {
		h, err := b.History(ctx, cloudVault, a.id)
		return ctx.Err() != nil || err == nil && events.Fold(h).Status == events.StatusActivationSent
	}) && ctx.Err() == nil
}
