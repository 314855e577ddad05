package accounts

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/usherhq/usher/pkg/tenant"
)

// fill takes every place of the pool, until empty is called.
func (w *world) fill() (empty func()) { return occupy(w.hasher.pool) }

func occupy(p *pool) (empty func()) {
	var taken []*turn
	for range p.most {
		t := p.enter(1, true)
		<-t.comes
		taken = append(taken, t)
	}
	return func() {
		for _, t := range taken {
			p.end(t)
		}
	}
}

func TestThePoolLetsInWhoFitsInTheirOrder(t *testing.T) {
	for name, c := range map[string]struct {
		most, memory int
		arriving     []string // bytes, "!" where somebody waits
		at           []string // who run together, one after another
	}{
		"as many at once as there are places":      {2, 100, []string{"1", "1", "1"}, []string{"1 1", "1"}},
		"as much at once as there is memory":       {9, 100, []string{"60", "50", "30"}, []string{"60", "50 30"}},
		"one larger than the memory has it alone":  {9, 100, []string{"500", "1"}, []string{"500", "1"}},
		"who is waited for comes first":            {1, 100, []string{"1", "2", "3!", "4!"}, []string{"1", "3!", "4!", "2"}},
		"who is waited for and large is not alone": {2, 100, []string{"90", "20!", "5"}, []string{"90", "20! 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(c.most, c.memory)
			turns := map[string]*turn{}
			var order []string
			for _, a := range c.arriving {
				var bytes int
				_, _ = fmt.Sscan(a, &bytes)
				name := a
				for turns[name] != nil {
					name += "'"
				}
				turns[name] = p.enter(bytes, a[len(a)-1] == '!')
				order = append(order, name)
			}
			ended := map[string]bool{}
			for _, together := range c.at {
				var running []string
				for _, name := range order {
					select {
					case <-turns[name].comes:
						if !ended[name] {
							running = append(running, name)
						}
					default:
					}
				}
				if got := strings.ReplaceAll(strings.Join(running, " "), "'", ""); got != together {
					t.Fatalf("%q run, want %q", got, together)
				}
				for _, name := range running {
					ended[name] = true
				}
				for _, name := range running {
					p.end(turns[name])
				}
			}
			if p.running != 0 || p.used != 0 || p.waiting() != 0 {
				t.Errorf("%d run, %d bytes, %d wait after the end", p.running, p.used, p.waiting())
			}
		})
	}
}

func TestWhoGivesUpLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1, 100)
		empty := occupy(p)
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() { given <- p.do(ctx, 10, false, func() { t.Error("hashed without a place") }) }()
		synctest.Wait()
		if p.waiting() != 1 {
			t.Errorf("%d wait", p.waiting())
		}
		cancel()
		if err := <-given; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		empty()
		done := false
		if err := p.do(t.Context(), 10, false, func() { done = true }); err != nil || !done || p.used != 0 {
			t.Errorf("%v, done %v, %d bytes", err, done, p.used)
		}
	})
}

// footprint is what the Go runtime holds of the operating system's memory, in bytes.
func footprint() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64() - samples[2].Value.Uint64()
}

func TestFiveHundredQueuedHashesTakeThePoolsMemoryAndLittleMore(t *testing.T) {
	h, err := newHasher(settings{}.get, quiet, noop.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	cheap := tenant.Argon2{MemoryKiB: 19456, Time: 1, Lanes: 1} // memory is what is measured
	bound := uint64(h.pool.most)*uint64(cheap.MemoryKiB)<<10 + 50<<20
	runtime.GC()
	before := footprint()
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	var hashing sync.WaitGroup
	var hashed atomic.Int64
	for range 500 {
		hashing.Go(func() {
			_, err := h.hash(ctx, []byte("seven quiet lanterns"), cheap, false)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if hashed.Add(1) == 100 { // from then on nothing new is to be seen
				enough()
			}
		})
	}
	done := make(chan struct{})
	go func() { hashing.Wait(); close(done) }()
	most, looks := uint64(0), 0
	for running := true; running; looks++ {
		select {
		case <-done:
			running = false
		case <-time.After(time.Millisecond):
			most = max(most, footprint())
		}
	}
	t.Logf("%d places: %d MiB at most, %d MiB before, %d MiB allowed, in %d looks", h.pool.most, most>>20, before>>20, bound>>20, looks)
	if most > bound {
		t.Errorf("%d MiB are in use, more than %d MiB", most>>20, bound>>20)
	}
}

func TestActivationsDoNotWaitForFiveHundredHashes(t *testing.T) {
	w := newWorld(t)
	w.create("plain", "plain@example.com")
	w.createWithoutPassword("open", "open@example.com")
	empty := w.fill()
	ctx, giveUp := context.WithCancel(t.Context())
	var queued sync.WaitGroup
	for range 500 {
		queued.Go(func() { _, _ = w.hasher.hash(ctx, []byte("seven quiet lanterns"), tenant.Argon2{}, false) })
	}
	for w.hasher.pool.waiting() < 500 {
		runtime.Gosched()
	}
	if got := w.present("plain", "q", w.code("plain", 1), noon); got != "" {
		t.Errorf("a code beside a full pool: %q", got)
	}
	chosen := make(chan string, 1)
	go func() {
		chosen <- w.presentWith("open", "q", w.code("open", 1), w.seal("open", "seven quiet lanterns"), noon)
	}()
	for w.hasher.pool.waiting() < 501 {
		runtime.Gosched()
	}
	w.hasher.pool.mu.Lock()
	first := len(w.hasher.pool.urgent)
	w.hasher.pool.mu.Unlock()
	if first != 1 {
		t.Errorf("%d are ahead of the queue, want the one that somebody waits for", first)
	}
	giveUp()
	queued.Wait()
	empty()
	if got := <-chosen; got != "" || w.stored("open").State != active {
		t.Errorf("a chosen password: %q, %s", got, w.stored("open").State)
	}
}

func BenchmarkHash(b *testing.B) {
	h, err := newHasher(settings{}.get, quiet, noop.NewMeterProvider())
	if err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.hash(b.Context(), []byte("seven quiet lanterns"), tenant.Argon2{MemoryKiB: 19456, Time: 2, Lanes: 1}, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}
