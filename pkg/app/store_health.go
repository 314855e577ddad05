package app

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// pingEvery is how long a store can be away before /readyz tells.
const pingEvery = 2 * time.Second

// storeHealth tells whether a service's documents can be reached. A service without documents of
// its own has none: the gateway takes registrations while every store is away.
type storeHealth struct {
	store interface{ Ping(context.Context) error }
	away  atomic.Bool
}

func (h *storeHealth) ready() error {
	if h.away.Load() {
		return errors.New("the store does not answer")
	}
	return nil
}

// watch asks the store until ctx ends.
func (h *storeHealth) watch(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.away.Store(h.ping(ctx) != nil)
		}
	}
}

func (h *storeHealth) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingEvery)
	defer cancel()
	return h.store.Ping(ctx)
}
