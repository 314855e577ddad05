package group

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallsWithinTheWindowRunAsOneBatchAndGetTheirOwnResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches int
		odd := errors.New("odd")
		g := New(time.Millisecond, 100, func(_ context.Context, items []int) []Result[int] {
			batches++
			results := make([]Result[int], len(items))
			for i, n := range items {
				results[i].Value = n * n
				if n%2 == 1 {
					results[i].Err = odd
				}
			}
			return results
		})
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() {
				got, err := g.Do(t.Context(), n)
				if got != n*n || errors.Is(err, odd) != (n%2 == 1) {
					t.Errorf("Do(%d) = %d, %v", n, got, err)
				}
			})
		}
		wg.Wait()
		if batches != 1 {
			t.Errorf("ran %d batches, want 1", batches)
		}
	})
}

func TestAFullBatchDoesNotWaitForTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(time.Hour, 2, func(_ context.Context, items []int) []Result[int] { return make([]Result[int], len(items)) })
		start := time.Now()
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() { _, _ = g.Do(t.Context(), n) })
		}
		wg.Wait()
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestACallerThatGivesUpDoesNotTakeTheOthersWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(time.Second, 10, func(ctx context.Context, items []int) []Result[int] {
			if ctx.Err() != nil {
				t.Error("the batch got a caller's cancelled context")
			}
			return make([]Result[int], len(items))
		})
		hasty, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := g.Do(hasty, 1); !errors.Is(err, context.Canceled) {
				t.Errorf("hasty caller got %v", err)
			}
		})
		wg.Go(func() {
			if _, err := g.Do(t.Context(), 2); err != nil {
				t.Errorf("patient caller got %v", err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
	})
}

func TestTheCallsThatComeWhileABatchRunsAreTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		running := 0
		g := New(0, 100, func(_ context.Context, items []int) []Result[int] {
			running++
			if running > 1 {
				t.Error("two batches run at once")
			}
			sizes = append(sizes, len(items))
			time.Sleep(time.Second)
			running--
			return make([]Result[int], len(items))
		})
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				time.Sleep(time.Duration(n) * 100 * time.Millisecond)
				_, _ = g.Do(t.Context(), n)
			})
		}
		wg.Wait()
		if !slices.Equal(sizes, []int{1, 7}) {
			t.Errorf("batches of %v", sizes)
		}
	})
}

func TestAPanicIsTheErrorOfItsBatchAndTheNextOneRuns(t *testing.T) {
	g := New(0, 10, func(_ context.Context, items []int) []Result[int] {
		if items[0] == 0 {
			panic("nobody may see this")
		}
		return make([]Result[int], len(items))
	})
	if _, err := g.Do(t.Context(), 0); !errors.Is(err, ErrPanicked) {
		t.Errorf("got %v", err)
	}
	if _, err := g.Do(t.Context(), 1); err != nil {
		t.Errorf("the next: %v", err)
	}
}
