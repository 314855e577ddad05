package simulation

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain lets memory grow instead of looking for garbage: a seed leaves little and is short.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// setting reads a number of the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q; give a number", name, text)
	}
	return n
}

// SEED=k runs one seed and prints what happened in it, SEEDS=n the seeds 1 to n. -failfast ends
// with the first that shows a violation.
func TestSimulation(t *testing.T) {
	first, last := uint64(1), setting(t, "SEEDS", 60)
	if one := setting(t, "SEED", 0); one > 0 {
		first, last = one, one
	}
	f := prepared(t)
	a := newTally(t, first, last)
	seeds := make(chan uint64)
	var workers sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := range seeds {
				var r result
				t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
					synctest.Test(t, func(*testing.T) { r = run(f, seed) })
				})
				a.add(r)
			}
		})
	}
	for seed := first; seed <= last && !a.enough(); seed++ {
		seeds <- seed
	}
	close(seeds)
	workers.Wait()
	a.report()
}

func prepared(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	var f *fixture
	synctest.Test(t, func(t *testing.T) {
		var err error
		if f, err = newFixture(dir); err != nil {
			t.Fatal(err)
		}
	})
	return f
}

// tally adds up the results of all seeds.
type tally struct {
	t           *testing.T
	first, last uint64
	begun       time.Time

	mu       sync.Mutex
	done     int
	accepted int
	violated int
	counts   map[string]int
}

func newTally(t *testing.T, first, last uint64) *tally {
	return &tally{t: t, first: first, last: last, begun: time.Now(), counts: map[string]int{}}
}

// traced is of how many seeds with violations all is printed that happened.
const traced = 3

func (a *tally) add(r result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done++
	a.accepted += r.accepted
	for what, n := range r.counts {
		a.counts[what] += n
	}
	if len(r.problems) > 0 {
		a.violated++
		a.t.Errorf("SEED=%d\n\t%s", r.seed, strings.Join(r.problems, "\n\t"))
	}
	if a.first == a.last || len(r.problems) > 0 && a.violated <= traced {
		fmt.Printf("what happened in seed %d:\n%s\n", r.seed, strings.Join(r.trace, "\n"))
	}
	if a.done%1000 == 0 {
		fmt.Printf("%d seeds, %d with violations, %v\n", a.done, a.violated, time.Since(a.begun).Round(time.Second))
	}
}

// enough reports whether a violation was seen and the first one ends the run.
func (a *tally) enough() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.violated > 0 && flag.Lookup("test.failfast").Value.String() == "true"
}

// mustHappen is what a run of many seeds has to meet: one that does not proves nothing.
var mustHappen = []string{
	late.String(), lost.String(), unanswered.String(), crashBefore.String(), crashAfter.String(), repeated.String(), lagging.String(),
	"redelivered", "10071", "duplicate key", "timeout after commit", "failover", "broker silent",
	"review ended, approved: true", "password chosen at the activation", "a reviewer decided", "a reviewer was late", "account ended", "erased",
}

func (a *tally) report() {
	fmt.Printf("seeds %d to %d: %d registrations acknowledged, %d of %d seeds with violations, %v\n",
		a.first, a.last, a.accepted, a.violated, a.done, time.Since(a.begun).Round(time.Millisecond))
	for _, what := range slices.Sorted(maps.Keys(a.counts)) {
		fmt.Printf("%8d  %s\n", a.counts[what], what)
	}
	for _, what := range mustHappen {
		if a.done >= 50 && a.counts[what] == 0 {
			a.t.Errorf("%q never happened", what)
		}
	}
	if a.done >= 50 && a.accepted < 2*a.done {
		a.t.Errorf("only %d registrations were acknowledged in %d seeds", a.accepted, a.done)
	}
}
