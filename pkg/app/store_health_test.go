package app

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type storeThat func(context.Context) error

func (s storeThat) Ping(ctx context.Context) error { return s(ctx) }

func TestAStoreThatIsAwayIsToldUntilItAnswers(t *testing.T) {
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	answers := func(context.Context) error { return nil }
	refuses := func(context.Context) error { return errors.New("refused, with its address") }
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Value
		now.Store(answers)
		h := &storeHealth{store: storeThat(func(ctx context.Context) error { return now.Load().(func(context.Context) error)(ctx) })}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go h.watch(ctx)
		for _, step := range []struct {
			name  string
			store func(context.Context) error
			ready bool
		}{
			{"a store that answers", answers, true},
			{"one that refuses", refuses, false},
			{"one that answers again", answers, true},
			{"one that hangs", hangs, false},
		} {
			now.Store(step.store)
			time.Sleep(3 * pingEvery)
			synctest.Wait()
			if err := h.ready(); (err == nil) != step.ready {
				t.Errorf("%s: %v", step.name, err)
			}
		}
	})
}
