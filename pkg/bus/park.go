package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/usherhq/usher/pkg/store"
)

const (
	sweepEvery = time.Second
	sweepBatch = 256
	aside      = 30 * time.Second // until a message that fails for long is tried again
	lease      = 2 * time.Minute  // how long one sweeper has a due message to itself: longer than any handler takes
	sweepers   = 128              // due messages that are handled at once
)

// ParkedSchema is the collection of messages that wait longer than seconds.
var ParkedSchema = store.Schema{Collection: "parked", Index: [][]string{{"dueAt"}}}

// parked is a message put aside. It names the message, it does not hold it.
type parked struct {
	Subject  string `json:"subject,omitempty"`
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
	DueAt    int64  `json:"dueAt"` // Unix milliseconds
	Attempt  uint64 `json:"attempt"`
}

func (p parked) fields() store.Fields { return store.Fields{"dueAt": p.DueAt} }

func (p parked) id() string { return p.Stream + "." + strconv.FormatUint(p.Sequence, 10) }

// laterError asks for the message to be parked.
type laterError struct{ at time.Time }

func (e *laterError) Error() string { return "due later" }

// Later parks the message until at: it is acknowledged, kept as a document, and handled again
// then. For waits longer than seconds; it holds no place in flight.
func Later(at time.Time) error { return &laterError{at} }

// park stores when a message is due; after that the message may be acknowledged.
func (s *stage) park(ctx context.Context, d *delivery, at time.Time) error {
	if s.parked == nil {
		return errors.New("park: the service has no store")
	}
	p := parked{Subject: d.subject, Stream: d.stream, Sequence: d.sequence, DueAt: at.UnixMilli(), Attempt: d.attempt}
	stored, inserted, err := s.parked.InsertOrGet(ctx, p.id(), p)
	if err != nil {
		return fmt.Errorf("park message: %w", err)
	}
	if !inserted {
		stored.Value.DueAt, stored.Value.Attempt = p.DueAt, p.Attempt
		if _, err := s.parked.Update(ctx, stored); err != nil {
			return fmt.Errorf("park message again: %w", err)
		}
	}
	s.metrics.parked(ctx, d)
	return nil
}

// sweep handles parked messages when they are due, until ctx ends; then it waits for those that
// it has begun, as long as a handler may go on after the end.
func (s *stage) sweep(ctx context.Context) {
	handling, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	var begun sync.WaitGroup
	places := make(chan struct{}, sweepers)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for more := false; ctx.Err() == nil; {
		if !more {
			select {
			case <-ctx.Done():
				continue
			case <-tick.C:
			}
		}
		var err error
		more, err = s.sweepOnce(ctx, func(p store.Stored[parked], tried func(stored bool)) {
			begun.Go(func() {
				defer func() { <-places }()
				s.resumeOne(handling, p, tried)
			})
		}, places)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "parked messages not swept", "error", err)
		}
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		begun.Wait()
	}()
	select {
	case <-finished:
	case <-time.After(finishTime):
	}
}

// sweepOnce begins the messages that are due, each in a place of its own, and waits until all of
// them are taken, but for none to be handled: one that takes long keeps its place, not the others.
// more says that others may be due already; where none could be taken, the store is asked again
// only with the next tick.
func (s *stage) sweepOnce(ctx context.Context, begin func(p store.Stored[parked], tried func(stored bool)), places chan<- struct{}) (more bool, err error) {
	now := time.Now().UnixMilli()
	due, _, err := s.parked.Find(ctx, store.Query{
		Range: &store.Range{Field: "dueAt", To: now}, Order: "dueAt", Limit: sweepBatch,
	})
	if err != nil {
		return false, fmt.Errorf("find due messages: %w", err)
	}
	tried := make(chan bool, len(due))
	for _, p := range due {
		select {
		case places <- struct{}{}:
			begin(p, func(stored bool) { tried <- stored })
		case <-ctx.Done():
			return false, nil
		}
	}
	some := false
	for range due {
		select {
		case stored := <-tried:
			some = some || stored
		case <-ctx.Done():
			return false, nil
		}
	}
	return some && len(due) == sweepBatch, nil
}

// resumeOne says when it has tried to take the message, and whether the store took that: then
// nobody finds it due.
func (s *stage) resumeOne(ctx context.Context, p store.Stored[parked], tried func(stored bool)) {
	leased, ours, err := s.take(ctx, p)
	tried(err == nil)
	if err == nil && ours {
		err = s.resume(ctx, leased)
	}
	if err != nil {
		s.log.WarnContext(ctx, "parked message will be tried again", "stream", p.Value.Stream, "sequence", p.Value.Sequence, "error", err)
	}
}

// take gives one due message to this sweeper for the time of the lease, unless another has it.
func (s *stage) take(ctx context.Context, p store.Stored[parked]) (leased store.Stored[parked], ours bool, err error) {
	p.Value.DueAt = time.Now().Add(lease).UnixMilli()
	p.Value.Attempt++
	leased, err = s.parked.Update(ctx, p)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return leased, false, nil
	}
	return leased, err == nil, err
}

// forgotten tells of a message that the stream let go of before it was handled: it cannot be any
// more, nor be a dead letter, since its content is gone.
func (s *stage) forgotten(ctx context.Context, p store.Stored[parked]) error {
	s.metrics.forgotten(ctx, p.Value.Subject)
	s.log.ErrorContext(ctx, "parked message is lost: its stream has let go of it before it could be handled",
		"subject", p.Value.Subject, "stream", p.Value.Stream, "sequence", p.Value.Sequence, "attempt", p.Value.Attempt)
	return s.parked.Delete(ctx, p.ID)
}

// resume handles a message that was taken and forgets it. Where that fails it is due again; where
// the process ends, when the lease runs out. It is not due again before the next look, so that a
// message that is always due does not keep its sweeper busy.
func (s *stage) resume(ctx context.Context, leased store.Stored[parked]) error {
	p := leased.Value
	m, err := leaderGet(ctx, s.nc, p.Stream, map[string]any{"seq": p.Sequence})
	if errors.Is(err, ErrAbsent) {
		return s.forgotten(ctx, leased)
	}
	if err != nil {
		return err
	}
	d := &delivery{subject: m.Subject, header: m.Header, data: m.Data, stream: p.Stream, sequence: m.Sequence, stored: m.Time, attempt: p.Attempt}
	replay, err := d.unwrapReplay()
	if err == nil {
		err = s.handle(ctx, d, replay)
	}
	var later *laterError
	if errors.As(err, &later) {
		leased.Value.DueAt = max(later.at.UnixMilli(), time.Now().Add(sweepEvery).UnixMilli())
		_, err = s.parked.Update(ctx, leased)
		return err
	}
	if err != nil {
		if err = s.settle(ctx, d, replay, err); err != nil {
			leased.Value.DueAt = time.Now().Add(aside).UnixMilli()
			_, again := s.parked.Update(ctx, leased)
			return errors.Join(err, again)
		}
	}
	return s.parked.Delete(ctx, leased.ID)
}
