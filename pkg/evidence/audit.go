package evidence

import (
	"bytes"
	"fmt"

	"github.com/usherhq/usher/events"
)

// Event is one of a feed as its reader has it.
type Event struct {
	Sequence   uint64
	Attributes map[string]string // of CloudEvents, the trace context included
	Data       []byte
}

// Finding is the first place where a feed is not what was signed.
type Finding struct {
	Sequence uint64 // of the event in question; where a checkpoint is, of its first event
	What     string
}

func (f *Finding) Error() string { return f.What }

// Report is what an audit found.
type Report struct {
	Events      uint64 // looked at
	Checkpoints uint64 // that verified, for all or some of these events
	// Unsigned are the events at the end that no checkpoint covers yet.
	Unsigned uint64
	Last     uint64   // sequence of the last event that was in its place
	Finding  *Finding // nil: everything is as it was signed
}

// Checkpoints finds a checkpoint by its number; ok is false where there is none.
type Checkpoints func(number uint64) (c events.Checkpoint, ok bool, err error)

// Audit checks the events of a feed in the order in which a reader has them. Not safe for
// concurrent use.
type Audit struct {
	tenant      string
	keys        Keys
	checkpoints Checkpoints
	report      Report
	next        uint64 // sequence of the event that must come
	missing     uint64 // sequence of an event that did not come when it should, or 0
	current     events.Checkpoint
	signed      bool // current is there
}

// NewAudit begins an audit at a sequence of the feed.
func NewAudit(tenant string, from uint64, keys Keys, checkpoints Checkpoints) *Audit {
	return &Audit{tenant: tenant, keys: keys, checkpoints: checkpoints, next: max(from, 1)}
}

// Check takes the next event. The error is only one of finding checkpoints: what is wrong with the
// feed is in the report.
func (a *Audit) Check(e Event) error {
	a.report.Events++
	if a.order(e); a.report.Finding != nil {
		return nil
	}
	if err := a.checkpointOf(e.Sequence); err != nil || a.report.Finding != nil {
		return err
	}
	a.next, a.report.Last = e.Sequence+1, e.Sequence
	if !a.signed {
		a.report.Unsigned++
		return nil
	}
	a.compare(e)
	return nil
}

// order checks that no event is missing before e. One that comes later stands in the wrong place.
func (a *Audit) order(e Event) {
	switch {
	case a.missing != 0 && e.Sequence == a.missing:
		a.report.Finding = &Finding{a.missing, fmt.Sprintf("event %d stands in the wrong place: later ones come before it", a.missing)}
		a.missing = 0
	case a.report.Finding == nil && e.Sequence > a.next:
		a.missing = a.next
		a.find(a.next, "event %d is missing", a.next)
	case a.report.Finding == nil && e.Sequence < a.next:
		a.find(e.Sequence, "event %d stands in the wrong place or twice", e.Sequence)
	}
}

// checkpointOf makes the checkpoint that covers an event the current one.
func (a *Audit) checkpointOf(sequence uint64) error {
	number := NumberOf(sequence)
	if a.signed && a.current.Number == number {
		return nil
	}
	first := (number-1)*Span + 1
	c, found, err := a.checkpoints(number)
	if err != nil {
		return fmt.Errorf("find checkpoint %d: %w", number, err)
	}
	if !found {
		a.signed = false
		return nil
	}
	if a.report.Unsigned > 0 {
		a.find(a.next-a.report.Unsigned, "the checkpoint of event %d is missing, but there are later ones", a.next-a.report.Unsigned)
		return nil
	}
	if err := a.keys.Verify(a.tenant, c); err != nil {
		a.find(first, "the checkpoint of events %d to %d: %v", first, first+Span-1, err)
		return nil
	}
	if c.Number != number || a.signed && !bytes.Equal(c.Previous, a.current.Head) {
		a.find(first, "the checkpoint of events %d to %d does not follow the one before it", first, first+Span-1)
		return nil
	}
	a.current, a.signed = c, true
	a.report.Checkpoints++
	return nil
}

func (a *Audit) compare(e Event) {
	leaf := Leaf(e.Attributes, e.Data)
	at := int((e.Sequence - 1) % Span)
	if bytes.Equal(leaf, a.current.Leaves[at]) {
		return
	}
	for other, l := range a.current.Leaves {
		switch {
		case !bytes.Equal(leaf, l):
		case other == at+1:
			a.find(e.Sequence, "event %d is missing: the one after it stands in its place", e.Sequence)
			return
		default:
			a.find(e.Sequence, "event %d stands in the wrong place: event %d was signed there, and this is event %d",
				e.Sequence, e.Sequence, a.current.Number*Span-Span+1+uint64(other))
			return
		}
	}
	a.find(e.Sequence, "event %d (%s) was altered", e.Sequence, e.Attributes["id"])
}

func (a *Audit) find(sequence uint64, format string, args ...any) {
	a.report.Finding = &Finding{sequence, fmt.Sprintf(format, args...)}
}

// Report tells what was found until here. to is the last event that there must be, or 0.
func (a *Audit) Report(to uint64) Report {
	if a.report.Finding == nil && to >= a.next {
		a.find(a.next, "event %d is missing", a.next)
	}
	return a.report
}
