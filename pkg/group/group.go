// Package group turns concurrent calls into batches.
package group

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Result is the outcome of one item of a batch.
type Result[R any] struct {
	Value R
	Err   error
}

// Group runs concurrent calls of Do as batches, one batch at a time: the calls that come while
// one runs are the next. The busier it is, the larger its batches; an idle group runs a call
// at once, unless it has a window, and holds no goroutine. Safe for concurrent use.
type Group[T, R any] struct {
	window time.Duration
	max    int
	run    func(ctx context.Context, items []T) []Result[R]

	mu      sync.Mutex
	waiting []*batch[T, R] // all but the last are full
	working bool
}

type batch[T, R any] struct {
	opened  time.Time
	items   []T
	full    chan struct{}
	done    chan struct{}
	results []Result[R]
}

// New returns a group. A batch waits for company until it is as old as the window, or full.
// run gets at least one and at most max items and returns one result for each, in order; its
// context is not that of any caller.
func New[T, R any](window time.Duration, max int, run func(ctx context.Context, items []T) []Result[R]) *Group[T, R] {
	return &Group[T, R]{window: window, max: max, run: run}
}

// Do runs item in some batch and returns its own result. When ctx ends first, Do returns its
// error, and whether the item took effect is unknown.
func (g *Group[T, R]) Do(ctx context.Context, item T) (R, error) {
	var zero R
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	b, i := g.join(item)
	select {
	case <-b.done:
		return b.results[i].Value, b.results[i].Err
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

func (g *Group[T, R]) join(item T) (*batch[T, R], int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.waiting); n == 0 || len(g.waiting[n-1].items) == g.max {
		g.waiting = append(g.waiting, &batch[T, R]{opened: time.Now(), full: make(chan struct{}), done: make(chan struct{})})
	}
	b := g.waiting[len(g.waiting)-1]
	b.items = append(b.items, item)
	if len(b.items) == g.max {
		close(b.full)
	}
	if !g.working {
		g.working = true
		go g.work()
	}
	return b, len(b.items) - 1
}

// work runs the waiting batches and ends when there are none.
func (g *Group[T, R]) work() {
	for b := g.first(); b != nil; b = g.first() {
		if wait := g.window - time.Since(b.opened); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-b.full:
				timer.Stop()
			}
		}
		g.shift()
		b.results = g.safely(b.items)
		close(b.done)
	}
}

// ErrPanicked is the error of every item of a batch whose run panicked.
var ErrPanicked = errors.New("the batch panicked")

func (g *Group[T, R]) safely(items []T) (results []Result[R]) {
	defer func() {
		if recover() != nil {
			results = make([]Result[R], len(items))
			for i := range results {
				results[i].Err = ErrPanicked
			}
		}
	}()
	return g.run(context.Background(), items)
}

func (g *Group[T, R]) first() *batch[T, R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.working = false
		return nil
	}
	return g.waiting[0]
}

// shift lets nobody join the first batch any more.
func (g *Group[T, R]) shift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting[0] = nil
	g.waiting = g.waiting[1:]
}
