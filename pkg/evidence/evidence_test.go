package evidence

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
)

const acme = "acme"

type key struct {
	id      string
	private ed25519.PrivateKey
}

func newKey(id string) key {
	return key{id, ed25519.NewKeyFromSeed([]byte(strings.Repeat(id, 32)[:32]))}
}

func (k key) Sign(message []byte) (string, []byte, error) {
	return k.id, ed25519.Sign(k.private, message), nil
}

func (k key) public() Keys { return Keys{k.id: k.private.Public().(ed25519.PublicKey)} }

func event(i int) Event {
	return Event{uint64(i + 1), map[string]string{"type": "account.created", "id": fmt.Sprint("reg.acme.r.account.", i), "time": "2026-06-15T12:00:00Z"}, fmt.Appendf(nil, `{"n":%d}`, i)}
}

// feed is so many events and the checkpoints of those that fill one.
func feed(t *testing.T, n int, by Signer) ([]Event, []events.Checkpoint) {
	t.Helper()
	var all []Event
	var checkpoints []events.Checkpoint
	previous, leaves := Genesis(acme), [][]byte(nil)
	for i := range n {
		e := event(i)
		all, leaves = append(all, e), append(leaves, Leaf(e.Attributes, e.Data))
		if len(leaves) == Span {
			c, err := Sign(acme, uint64(len(checkpoints)+1), previous, leaves, by)
			if err != nil {
				t.Fatal(err)
			}
			checkpoints, previous, leaves = append(checkpoints, c), c.Head, nil
		}
	}
	return all, checkpoints
}

func audit(t *testing.T, from, to uint64, keys Keys, all []Event, checkpoints []events.Checkpoint) Report {
	t.Helper()
	a := NewAudit(acme, from, keys, func(number uint64) (events.Checkpoint, bool, error) {
		if number > uint64(len(checkpoints)) || checkpoints[number-1].Number == 0 {
			return events.Checkpoint{}, false, nil
		}
		return checkpoints[number-1], true, nil
	})
	for _, e := range all {
		if err := a.Check(e); err != nil {
			t.Fatal(err)
		}
	}
	return a.Report(to)
}

func TestAFeedThatNobodyTouchedVerifies(t *testing.T) {
	k := newKey("a")
	all, checkpoints := feed(t, 5*Span+10, k)
	for name, c := range map[string]struct{ from, to uint64 }{
		"all of it":          {1, 5*Span + 10},
		"from the middle":    {Span + 7, 5*Span + 10},
		"only whole spans":   {1, 5 * Span},
		"within one span":    {70, 80},
		"one event":          {200, 200},
		"what is not signed": {5*Span + 1, 5*Span + 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := audit(t, c.from, c.to, k.public(), all[c.from-1:c.to], checkpoints)
			if r.Finding != nil || r.Events != c.to-c.from+1 {
				t.Errorf("found %v in %d events", r.Finding, r.Events)
			}
			unsigned := uint64(0)
			if c.to > 5*Span {
				unsigned = 10
			}
			if r.Unsigned != unsigned {
				t.Errorf("%d events are not signed", r.Unsigned)
			}
		})
	}
}

func TestTheFirstEventThatIsNotAsItWasSignedIsNamed(t *testing.T) {
	k, forger := newKey("a"), newKey("b")
	renumber := func(all []Event) []Event {
		for i := range all {
			all[i].Sequence = uint64(i + 1)
		}
		return all
	}
	const n = 4 * Span
	for name, c := range map[string]struct {
		change   func(all []Event, checkpoints []events.Checkpoint) ([]Event, []events.Checkpoint)
		sequence uint64
		says     string
	}{
		"a byte of the data": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			all[99].Data = []byte(`{"n":98}`)
			return all, c
		}, 100, "altered"},
		"the type": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			all[99].Attributes["type"] = "account.activated"
			return all, c
		}, 100, "altered"},
		"the id": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			all[99].Attributes["id"] += "0"
			return all, c
		}, 100, "altered"},
		"the time": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			all[99].Attributes["time"] = "2026-06-15T12:00:01Z"
			return all, c
		}, 100, "altered"},
		"one taken out": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			return slices.Delete(all, 99, 100), c
		}, 100, "missing"},
		"one taken out and the rest renumbered": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			return renumber(slices.Delete(all, 99, 100)), c
		}, 100, "missing"},
		"the last one taken out": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			return all[:n-1], c
		}, n, "missing"},
		"one put in": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			return renumber(slices.Insert(all, 99, event(999))), c
		}, 100, "altered"},
		"two swapped": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			all[99], all[100] = all[100], all[99]
			return all, c
		}, 100, "wrong place"},
		"two swapped and renumbered": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			all[99], all[119] = all[119], all[99]
			return renumber(all), c
		}, 100, "wrong place"},
		"one twice": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			return slices.Insert(all, 100, all[99]), c
		}, 100, "twice"},
		"a leaf of a checkpoint": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			all[99].Data = []byte(`{"n":98}`)
			c[1].Leaves[35] = Leaf(all[99].Attributes, all[99].Data)
			return all, c
		}, 65, "signed"},
		"a whole span, built anew by who has no key": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			all[99].Data = []byte(`{"n":98}`)
			leaves := slices.Clone(c[1].Leaves)
			leaves[35] = Leaf(all[99].Attributes, all[99].Data)
			c[1], _ = Sign(acme, 2, c[0].Head, leaves, forger)
			return all, c
		}, 65, "signed"},
		"a checkpoint of another tenant": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			c[1], _ = Sign("other", 2, c[0].Head, c[1].Leaves, k)
			return all, c
		}, 65, "signed"},
		"a checkpoint that follows another one": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			c[1], _ = Sign(acme, 2, Genesis("elsewhere"), c[1].Leaves, k)
			return all, c
		}, 65, "does not follow"},
		"a checkpoint taken out": {func(all []Event, c []events.Checkpoint) ([]Event, []events.Checkpoint) {
			c[1] = events.Checkpoint{}
			return all, c
		}, 65, "checkpoint of event 65 is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			all, checkpoints := feed(t, n, k)
			all, checkpoints = c.change(all, checkpoints)
			r := audit(t, 1, n, k.public(), all, checkpoints)
			if r.Finding == nil || r.Finding.Sequence != c.sequence || !strings.Contains(r.Finding.What, c.says) {
				t.Errorf("found %+v", r.Finding)
			}
		})
	}
}

func BenchmarkAudit(b *testing.B) {
	t := &testing.T{}
	k := newKey("a")
	all, checkpoints := feed(t, 100*Span, k)
	for b.Loop() {
		if r := audit(t, 1, 0, k.public(), all, checkpoints); r.Finding != nil {
			b.Fatal(r.Finding)
		}
	}
	b.ReportMetric(float64(100*Span*b.N)/b.Elapsed().Seconds(), "events/s")
}
