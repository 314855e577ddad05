package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/usherhq/usher/pkg/store"
)

const (
	sweepEvery = time.Second
	sweepBatch = 64
	aside      = 30 * time.Second // until a message that fails for long is tried again
	lease      = 90 * time.Second // how long one sweeper has a due message to itself: longer than any handler takes
)

// ParkedSchema is the collection of messages that wait longer than seconds.
var ParkedSchema = store.Schema{Collection: "parked", Index: [][]string{{"dueAt"}}}

// parked is a message put aside. It names the message, it does not hold it.
type parked struct {
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
	p := parked{Stream: d.stream, Sequence: d.sequence, DueAt: at.UnixMilli(), Attempt: d.attempt}
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

// sweep handles parked messages when they are due, until ctx ends.
func (s *stage) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "parked messages not swept", "error", err)
		}
	}
}

func (s *stage) sweepOnce(ctx context.Context) error {
	now := time.Now().UnixMilli()
	due, _, err := s.parked.Find(ctx, store.Query{
		Range: &store.Range{Field: "dueAt", To: now}, Order: "dueAt", Limit: sweepBatch,
	})
	if err != nil {
		return fmt.Errorf("find due messages: %w", err)
	}
	for _, p := range due {
		if err := s.resume(ctx, p); err != nil {
			s.log.WarnContext(ctx, "parked message will be tried again", "stream", p.Value.Stream, "sequence", p.Value.Sequence, "error", err)
		}
	}
	return nil
}

// resume takes one due message under a lease, handles it and forgets it. Where that fails it is
// due again; where the process ends, when the lease runs out.
func (s *stage) resume(ctx context.Context, p store.Stored[parked]) error {
	p.Value.DueAt = time.Now().Add(lease).UnixMilli()
	p.Value.Attempt++
	leased, err := s.parked.Update(ctx, p)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return nil // another sweeper has it
	}
	if err != nil {
		return err
	}
	m, err := leaderGet(ctx, s.nc, p.Value.Stream, map[string]any{"seq": p.Value.Sequence})
	if errors.Is(err, ErrAbsent) {
		return s.parked.Delete(ctx, leased.ID)
	}
	if err != nil {
		return err
	}
	d := &delivery{subject: m.Subject, header: m.Header, data: m.Data, stream: p.Value.Stream, sequence: m.Sequence, stored: m.Time, attempt: p.Value.Attempt}
	replay, err := d.unwrapReplay()
	if err == nil {
		err = s.handle(ctx, d, replay)
	}
	var later *laterError
	if errors.As(err, &later) {
		leased.Value.DueAt = later.at.UnixMilli()
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
