// Package simulation runs the services as they are on a simulated broker and simulated stores,
// in fake time, under faults that a seed chooses: lost, late, repeated and reordered messages,
// answers that never come, effects that nobody was told of, and crashes at any of these points.
// What must always hold is checked afterwards.
package simulation

import (
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"
)

// verdict is what becomes of one operation.
type verdict int

const (
	proceed     verdict = iota
	late                // done after a while; its sender may have given up by then
	lost                // never done
	unanswered          // done, and its sender is not told
	crashBefore         // not done: its sender dies
	crashAfter          // done: its sender dies before it is told
	repeated            // a delivery that comes once more, soon
	lagging             // a read from a replica that lacks the last second
)

var verdicts = [...]string{"proceed", "late", "lost", "unanswered", "crash before", "crash after", "repeated", "lagging"}

func (v verdict) String() string { return verdicts[v] }

// odds are how many of 1,000 operations of a kind meet a verdict, at usual intensity.
type odds []struct {
	verdict
	perMille float64
}

var (
	oddsOfRequest  = odds{{late, 60}, {lost, 12}, {unanswered, 25}, {crashBefore, 10}, {crashAfter, 15}}
	oddsOfRead     = odds{{late, 30}, {lost, 10}, {lagging, 150}, {crashBefore, 5}}
	oddsOfUpkeep   = odds{{late, 10}, {lost, 5}} // what services ask every second
	oddsOfDelivery = odds{{late, 60}, {lost, 12}, {repeated, 40}, {crashAfter, 8}}
	oddsOfAck      = odds{{late, 30}, {lost, 40}, {crashBefore, 8}, {crashAfter, 8}}
	oddsOfWrite    = odds{{late, 30}, {lost, 12}, {unanswered, 30}, {crashBefore, 10}, {crashAfter, 15}}
	oddsOfMail     = odds{{lost, 60}, {unanswered, 60}, {crashBefore, 15}, {crashAfter, 30}}
)

// faults decides about every operation of one seed. A decision depends on the seed, who asks,
// what for and for how many-th time, not on the order in which goroutines run.
type faults struct {
	seed      uint64
	intensity float64
	crashes   int // that may still happen
	// script decides instead of the seed, where a test is about one case.
	script func(who, what string) verdict

	mu     sync.Mutex
	healed bool
	times  map[string]uint64
	counts map[string]int
	names  map[string]string // of registrations, by id
	trace  []string
	begun  time.Time
	latest time.Time // when the last late operation is done
}

// mostCrashes bounds the crashes of one seed, so that its work comes to an end.
const mostCrashes = 6

func newFaults(seed uint64) *faults {
	f := &faults{seed: seed, times: map[string]uint64{}, counts: map[string]int{}, names: map[string]string{}, begun: time.Now()}
	f.intensity = []float64{0.5, 1, 1, 2, 4}[f.number("intensity")%5]
	f.crashes = int(f.number("crashes") % (mostCrashes + 1))
	return f
}

// number is the seed's number for a purpose.
func (f *faults) number(purpose string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d|%s", f.seed, purpose)
	return mix(h.Sum64())
}

// mix spreads the bits of a hash (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// between returns a duration that is the seed's for a purpose.
func (f *faults) between(purpose string, least, most time.Duration) time.Duration {
	return least + time.Duration(f.number(purpose)%uint64(most-least+1))
}

// decide returns what becomes of an operation, and, for one that is late, by how much.
func (f *faults) decide(who, what string, o odds) (verdict, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what = f.named(what)
	op := who + "|" + what
	f.times[op]++
	switch {
	case f.script != nil:
		return f.script(who, what), 0
	case f.healed:
		return proceed, 0
	}
	purpose := fmt.Sprintf("%s|%d", op, f.times[op])
	drawn := float64(f.number(purpose)%1_000_000) / 1000
	v := f.meets(o, drawn)
	if v == proceed {
		return v, 0
	}
	f.counts[v.String()]++
	var delay time.Duration
	switch v {
	case crashBefore, crashAfter:
		f.crashes--
	case late, repeated:
		delay = f.lateness(purpose)
		if done := time.Now().Add(delay); done.After(f.latest) {
			f.latest = done
		}
	}
	f.note("%s: %s (%d) is %v %v", who, what, f.times[op], v, delay)
	return v, delay
}

func (f *faults) meets(o odds, drawn float64) verdict {
	for _, odd := range o {
		if drawn -= odd.perMille * f.intensity; drawn >= 0 {
			continue
		}
		if (odd.verdict == crashBefore || odd.verdict == crashAfter) && f.crashes == 0 {
			return proceed
		}
		return odd.verdict
	}
	return proceed
}

// lateness is mostly short; one of eight is longer than anybody waits for an answer.
func (f *faults) lateness(purpose string) time.Duration {
	if f.number(purpose+"|long")%8 == 0 {
		return f.between(purpose+"|late", 5*time.Second, 12*time.Second)
	}
	return f.between(purpose+"|late", time.Millisecond, 400*time.Millisecond)
}

// know gives a registration a name, so that decisions and traces do not depend on its id.
func (f *faults) know(id, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[id] = name
}

func (f *faults) named(what string) string {
	for id, name := range f.names {
		if strings.Contains(what, id) {
			what = strings.ReplaceAll(what, id, name)
		}
	}
	return what
}

func (f *faults) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.healed = true
	f.note("healed")
}

// expects reports whether a late operation is not done yet.
func (f *faults) expects() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !time.Now().After(f.latest)
}

// count counts something that the run must have met.
func (f *faults) count(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[what]++
}

// say writes a line of the trace.
func (f *faults) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("%s", f.named(fmt.Sprintf(format, args...)))
}

func (f *faults) note(format string, args ...any) {
	f.trace = append(f.trace, fmt.Sprintf("%9.3fs  ", time.Since(f.begun).Seconds())+fmt.Sprintf(format, args...))
}
