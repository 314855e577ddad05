// Package group turns concurrent calls into batches.
package group

import (
	"context"
	"sync"
	"time"
)

// Result is the outcome of one item of a batch.
type Result[R any] struct {
	Value R
	Err   error
}

// Group collects the calls of Do for up to a window, or until a batch is full, and runs them
// as one. While a batch runs the next one collects. An idle group holds no goroutine. Safe
// for concurrent use.
type Group[T, R any] struct {
	window time.Duration
	max    int
	run    func(ctx context.Context, items []T) []Result[R]

	mu   sync.Mutex
	open *batch[T, R]
}

type batch[T, R any] struct {
	items   []T
	full    chan struct{}
	done    chan struct{}
	results []Result[R]
}

// New returns a group. run gets at least one and at most max items and returns one result for
// each, in order; its context is not that of any caller.
func New[T, R any](window time.Duration, max int, run func(ctx context.Context, items []T) []Result[R]) *Group[T, R] {
	return &Group[T, R]{window: window, max: max, run: run}
}

// Do runs item in some batch and returns its own result. When ctx ends first, Do returns its
// error, and whether the item took effect is unknown.
func (g *Group[T, R]) Do(ctx context.Context, item T) (R, error) {
	if err := ctx.Err(); err != nil {
		var zero R
		return zero, err
	}
	b, i := g.join(item)
	select {
	case <-b.done:
		return b.results[i].Value, b.results[i].Err
	case <-ctx.Done():
		var zero R
		return zero, ctx.Err()
	}
}

// join adds item to the open batch; its first item starts the batch's clock.
func (g *Group[T, R]) join(item T) (*batch[T, R], int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = &batch[T, R]{full: make(chan struct{}), done: make(chan struct{})}
		go g.flush(g.open)
	}
	b := g.open
	b.items = append(b.items, item)
	if len(b.items) == g.max {
		g.open = nil
		close(b.full)
	}
	return b, len(b.items) - 1
}

func (g *Group[T, R]) flush(b *batch[T, R]) {
	timer := time.NewTimer(g.window)
	select {
	case <-timer.C:
	case <-b.full:
		timer.Stop()
	}
	g.mu.Lock()
	if g.open == b {
		g.open = nil
	}
	g.mu.Unlock()
	b.results = g.run(context.Background(), b.items)
	close(b.done)
}
