package simulation

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// result of one seed.
type result struct {
	seed     uint64
	problems []string
	trace    []string
	counts   map[string]int
	accepted int
}

// longest is how long the work may take after the faults have ended. A sweeper that died has
// its message for 90 s, and one put aside waits 30 s.
const longest = 4 * time.Minute

// run simulates one seed, within a bubble of testing/synctest.
func run(f *fixture, seed uint64) result {
	w := newWorld(f, seed)
	w.start()
	w.disturb()
	var clients []*client
	var living sync.WaitGroup
	for c, habit := range w.people() {
		clients = append(clients, c)
		living.Go(func() { c.live(habit) })
	}
	var desk []*reviewer
	if w.faults.number("reviewers")%4 != 0 {
		for _, name := range reviewers {
			r := &reviewer{world: w, name: name, heard: map[string]answer{}}
			desk = append(desk, r)
			living.Go(r.work)
		}
	}
	slices.SortFunc(clients, func(a, b *client) int { return len(a.name) - len(b.name) })
	time.Sleep(w.faults.between("heals", 4*time.Second, 12*time.Second))
	w.faults.heal()
	living.Wait()
	stuck := w.settle()
	if stuck == "" && w.restartGateways(clients) {
		stuck = w.settle()
	}
	w.stop()
	r := result{seed: seed, problems: w.check(clients, desk), trace: w.faults.trace, counts: w.faults.counts}
	if stuck != "" {
		r.problems = append(r.problems, "I9: after "+longest.String()+" without faults "+stuck)
	}
	for _, c := range clients {
		if c.accepted {
			r.accepted++
		}
	}
	return r
}

// restartGateways restarts the gateways where somebody was erased, or forgot to activate an account:
// one that starts takes away what another left in the vault when it died.
func (w *world) restartGateways(clients []*client) bool {
	if !slices.ContainsFunc(clients, func(c *client) bool { return c.erasing || !c.activated }) {
		return false
	}
	w.mu.Lock()
	gateways := slices.Clone(w.listeners[events.Gateway])
	w.mu.Unlock()
	for _, p := range gateways {
		p.crash()
	}
	time.Sleep(restarted)
	return true
}

// restarted is after how long a gateway that died is there again and has looked through the vault.
const restarted = 10 * time.Second

// disturb lets the broker and the stores be away for a while each, in half of the seeds.
func (w *world) disturb() {
	if w.faults.number("silence")%2 == 0 {
		lasts := w.faults.between("silence lasts", time.Second, 4*time.Second)
		time.AfterFunc(w.faults.between("silence begins", time.Second, 5*time.Second), func() {
			w.faults.say("the broker is silent for %v", lasts)
			w.faults.count("broker silent")
			w.broker.silence(lasts)
		})
	}
	for _, s := range events.Services {
		if w.faults.number("failover "+string(s))%4 != 0 {
			continue
		}
		lasts := w.faults.between("failover lasts "+string(s), 500*time.Millisecond, 3*time.Second)
		time.AfterFunc(w.faults.between("failover begins "+string(s), 500*time.Millisecond, 5*time.Second), func() {
			w.faults.say("the store of %s fails over for %v", s, lasts)
			w.faults.count("failover")
			w.stores[s].failover(lasts)
		})
	}
}

// settle waits until nothing is owed to anybody, and says what still is after too long.
func (w *world) settle() (stuck string) {
	for begun := time.Now(); ; time.Sleep(250 * time.Millisecond) {
		if stuck = w.owed(); stuck == "" || time.Since(begun) > longest {
			return stuck
		}
	}
}

func (w *world) owed() string {
	if w.faults.expects() {
		return "a late operation is to come"
	}
	for s, d := range w.stores {
		if n, err := d.Memory.Count(context.Background(), bus.ParkedSchema.Collection, nil); err != nil || n > 0 {
			return fmt.Sprintf("%s has %d messages put aside", s, n)
		}
	}
	waiting, _, err := w.stores[events.Accounts].Memory.Find(context.Background(), "accounts", store.Query{
		Range: &store.Range{Field: "dueAt", From: 1, To: math.MaxInt64}, Limit: 1,
	})
	if err != nil || len(waiting) > 0 {
		return "an account waits for its activation or its end"
	}
	w.broker.mu.Lock()
	defer w.broker.mu.Unlock()
	for _, s := range w.broker.streams {
		for name, c := range s.consumers {
			if c.numPending() > 0 || len(c.pending) > 0 {
				return fmt.Sprintf("%s has %d messages to deliver and %d to be acknowledged", name, c.numPending(), len(c.pending))
			}
		}
	}
	return ""
}
