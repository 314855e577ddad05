package webhooks

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// task is an event to be sent, and what came of it.
type task struct {
	sequence uint64
	fresh    *event // follows the place; nil for one that was tried, or asked for, before
	done     bool   // and stored
	lost     bool   // the feed has it no more
	delivery Delivery
	attempt  Attempt
}

// failed reports whether it was tried in vain.
func (t *task) failed() bool { return t.done && !t.attempt.ok() }

// step sends one batch. more says that there may be another now.
func (r *run) step(ctx, work context.Context) (more bool, err error) {
	c := &r.c.Value
	if c.Recovered {
		if err := r.unpark(work); err != nil {
			return false, err
		}
	}
	if ctx.Err() != nil || c.RetryAt > time.Now().UnixMilli() || r.d.changed(r.e) {
		return false, nil
	}
	due, full, err := r.due(work)
	if err != nil {
		return false, err
	}
	var fresh []event
	before, looked := c.After, c.After
	if !full {
		if fresh, looked, err = r.fresh(work, batch); err != nil {
			return false, err
		}
	}
	tasks, left := r.choose(due, fresh)
	failures, failed := r.sendAll(ctx, work, tasks)
	r.count(tasks, failures)
	if left > 0 {
		looked = left - 1
	}
	c.After = r.reached(tasks, looked)
	err = errors.Join(failed, r.settle(work, tasks, full))
	if errors.Is(failed, errGivenUp) {
		return false, nil
	}
	return c.After > before || slices.ContainsFunc(tasks, func(t *task) bool { return t.done }), err
}

// choose returns what is sent, and the first new event that is not, 0 for none: one that is left alone is
// asked by one event of each kind.
func (r *run) choose(due []*task, fresh []event) (tasks []*task, left uint64) {
	if r.tripped() {
		due = due[:min(1, len(due))]
		if len(fresh) > 1 {
			fresh, left = fresh[:1], fresh[1].sequence
		}
	}
	tasks = due
	for _, e := range fresh {
		tasks = append(tasks, &task{sequence: e.sequence, fresh: &e})
	}
	return tasks, left
}

// tripped reports whether the endpoint is left alone. One that is ordered waits for its first event
// anyway.
func (r *run) tripped() bool { return r.c.Value.tripped() && !r.e.Ordered }

// due returns what is pending and due up to the place: what follows it is met there. full says that
// so much is pending that nothing new is sent. It never is after a replay from before what is
// pending: only on the way can that be sent.
func (r *run) due(ctx context.Context) (tasks []*task, full bool, err error) {
	if !r.parked {
		return nil, false, nil
	}
	pending := store.Fields{"endpoint": r.e.ID, "state": string(Pending)}
	n, err := r.d.deliveries.Count(ctx, pending)
	if err != nil {
		return nil, false, fmt.Errorf("count pending deliveries: %w", err)
	}
	page, err := r.pending(ctx, batch)
	now, beyond := time.Now().UnixMilli(), false
	for _, s := range page {
		switch {
		case s.Value.Sequence > r.c.Value.After:
			beyond = true
		case s.Value.NextAt <= now:
			tasks = append(tasks, &task{sequence: s.Value.Sequence})
		}
	}
	return tasks, n >= mostPending && !beyond, err
}

// pending returns deliveries that are pending, the first due first.
func (r *run) pending(ctx context.Context, limit int) ([]store.Stored[Delivery], error) {
	page, _, err := r.d.deliveries.Find(ctx, store.Query{
		Where: store.Fields{"endpoint": r.e.ID}, Range: &store.Range{Field: "nextAt", From: 0, To: math.MaxInt64}, Order: "nextAt", Limit: limit,
	})
	if err != nil {
		return nil, fmt.Errorf("find pending deliveries: %w", err)
	}
	return page, nil
}

// nextDue is when the first pending delivery is due; 0 for none.
func (r *run) nextDue(ctx context.Context) (int64, error) {
	if !r.parked {
		return 0, nil
	}
	first, err := r.pending(ctx, 1)
	if err != nil || len(first) == 0 {
		return 0, err
	}
	return first[0].Value.NextAt, nil
}

// unpark makes all that is pending due.
func (r *run) unpark(ctx context.Context) error {
	page, err := r.pending(ctx, mostPending)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(batch)
	for _, s := range page {
		group.Go(func() error {
			s.Value.NextAt = time.Now().UnixMilli()
			if r.c.Value.Afresh {
				s.Value.Tries = 0
			}
			_, err := r.d.deliveries.Update(ctx, s)
			return taken(err)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("make pending deliveries due: %w", err)
	}
	r.parked = r.parked || len(page) > 0
	r.c.Value.Recovered, r.c.Value.Afresh = false, false
	return nil
}

// taken makes nothing of a conflict: another has done it, or something else that counts.
func taken(err error) error {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// sendAll tries tasks in their order, several at once unless the endpoint is ordered, until one says
// that the others have to wait, or the endpoint is changed. It returns how many have failed in a row then.
func (r *run) sendAll(ctx, work context.Context, tasks []*task) (failures int, err error) {
	var mu sync.Mutex
	var sending sync.WaitGroup
	places, share := make(chan struct{}, r.width()), r.d.shareOf(r.e.Tenant)
	failures = r.c.Value.Failures
	wait := false
	waiting := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return wait
	}
	for _, t := range tasks {
		if !enter(ctx, places) || !enter(ctx, share) || !enter(ctx, r.d.slots) {
			break
		}
		leave := func() { <-r.d.slots; <-share; <-places }
		if waiting() || r.d.changed(r.e) || time.Since(r.taken) > renewAfter {
			leave()
			break
		}
		sending.Go(func() {
			defer leave()
			problem := r.try(work, t)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case problem != nil:
				err, wait = errors.Join(err, problem), true
			case t.lost:
			case t.attempt.ok():
				failures = 0
			default:
				if t.delivery.Tries == 1 {
					failures++
				}
				wait = wait || r.waits(t) || failures >= tripAfter && !r.tripped()
			}
		})
	}
	sending.Wait()
	return failures, err
}

func (r *run) width() int {
	if r.e.Ordered {
		return 1
	}
	return width
}

// waits reports whether a failure keeps the others waiting.
func (r *run) waits(t *task) bool {
	return r.e.Ordered && t.fresh != nil || t.attempt.outcome == outcomeGone || !t.attempt.retryAfter.IsZero()
}

// try sends one event and stores what came of it.
func (r *run) try(ctx context.Context, t *task) error {
	e, err := r.event(ctx, t)
	if err != nil {
		return err
	}
	made := Delivery{Endpoint: r.e.ID, Sequence: t.sequence}
	if e == nil {
		t.lost = true
		_, err := change(ctx, r.d.deliveries, made, func(d *Delivery) {
			d.took(Attempt{At: time.Now().UnixMilli(), Error: "the feed does not have the event any more"})
			d.State, d.NextAt = Failed, 0
		})
		return err
	}
	if t.attempt, err = r.d.sender.send(ctx, r.e.URL, r.by, message{MessageID(e.id), e.body}); err != nil {
		return err
	}
	r.d.metrics.attempted(ctx, r.e.Tenant, t.attempt)
	made.Event, made.Type = e.id, e.kind
	if t.delivery, err = change(ctx, r.d.deliveries, made, func(d *Delivery) { d.took(t.attempt) }); err != nil {
		return fmt.Errorf("store delivery: %w", err)
	}
	t.done = true
	return nil
}

// event is what a task sends; nil where the feed does not have it any more.
func (r *run) event(ctx context.Context, t *task) (*event, error) {
	if t.fresh != nil {
		return t.fresh, nil
	}
	read, err := r.tail.after(ctx, t.sequence-1, 1)
	if errors.Is(err, bus.ErrFeedMoved) || err == nil && (len(read) == 0 || read[0].sequence != t.sequence || read[0].body == nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &read[0], nil
}

// count keeps how many have failed in a row, and since when.
func (r *run) count(tasks []*task, failures int) {
	c := &r.c.Value
	if slices.ContainsFunc(tasks, func(t *task) bool { return t.done && t.attempt.ok() }) {
		c.Recovered = c.Recovered || r.tripped()
		c.FailingSince, c.Probes = 0, 0
	}
	if c.Failures = failures; failures == 0 {
		c.FailingSince = 0
		return
	}
	for _, t := range tasks {
		if t.failed() && (c.FailingSince == 0 || t.attempt.At < c.FailingSince) {
			c.FailingSince = t.attempt.At
		}
	}
}

// reached is the place up to which everything is delivered or has a delivery of its own. The first
// that fails keeps the place of an ordered endpoint before it.
func (r *run) reached(tasks []*task, looked uint64) uint64 {
	for _, t := range tasks {
		if t.fresh != nil && (!t.done || r.e.Ordered && t.failed()) {
			return t.sequence - 1
		}
	}
	return looked
}

// settle says when the next is tried, gives up what was tried too often, and disables an endpoint
// that is gone for good.
func (r *run) settle(ctx context.Context, tasks []*task, full bool) error {
	c := &r.c.Value
	c.RetryAt = 0
	for _, t := range tasks {
		if !t.failed() {
			continue
		}
		r.parked = true
		if t.attempt.outcome == outcomeGone {
			return r.disable(ctx, t.attempt.Error)
		}
		if t.delivery.Tries >= mostAttempts {
			if err := r.giveUp(ctx, t); err != nil {
				return err
			}
		}
		if r.e.Ordered && t.fresh != nil {
			c.RetryAt = max(c.RetryAt, t.delivery.NextAt)
		}
		if !t.attempt.retryAfter.IsZero() {
			c.RetryAt = max(c.RetryAt, t.attempt.retryAfter.UnixMilli())
		}
	}
	if full {
		next, err := r.nextDue(ctx)
		c.RetryAt = max(c.RetryAt, next)
		return err
	}
	if !r.tripped() || !slices.ContainsFunc(tasks, (*task).failed) {
		return nil
	}
	if c.Probes++; c.Probes > len(delays) {
		return r.disable(ctx, "nothing was delivered since "+timeOf(c.FailingSince).Format(time.RFC3339))
	}
	c.RetryAt = max(c.RetryAt, time.Now().Add(delayAfter(c.Probes)).UnixMilli())
	return nil
}

// giveUp ends a delivery whose endpoint takes others; one that takes none is disabled, and keeps
// what it is owed.
func (r *run) giveUp(ctx context.Context, t *task) error {
	if since := r.c.Value.FailingSince; since != 0 && since <= t.delivery.Began {
		return r.disable(ctx, fmt.Sprintf("nothing was delivered in %d attempts; the last: %s", t.delivery.Tries, t.attempt.Error))
	}
	_, err := change(ctx, r.d.deliveries, t.delivery, func(d *Delivery) { d.State, d.NextAt = Failed, 0 })
	if err != nil {
		return fmt.Errorf("give delivery up: %w", err)
	}
	return nil
}

// disable ends the run, and all others until somebody enables the endpoint.
func (r *run) disable(ctx context.Context, reason string) error {
	if err := r.d.disable(ctx, r.e.Tenant, r.e.ID, reason); err != nil {
		return fmt.Errorf("disable webhook: %w", err)
	}
	return nil
}
