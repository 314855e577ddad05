package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

const (
	leaseTime = 30 * time.Second
	// renewAfter leaves of the lease more than a request takes that is begun just before.
	renewAfter  = 10 * time.Second
	batch       = 64
	width       = 8    // requests to an endpoint at once
	mostPending = 1000 // of an endpoint; then what is new waits in the feed
	otherPause  = 2 * time.Second
	// skipped is after how many events that nobody wants the place is stored.
	skipped = 128
)

// run is the work on one endpoint from when there is something to do until there is nothing now.
type run struct {
	d    *Dispatcher
	e    Endpoint
	by   signer
	tail *tail

	c     store.Stored[course]
	base  uint64 // c's place as it is stored
	place uint64 // nothing up to it is to be done
	taken time.Time
	// parked says that something may be pending.
	parked bool
}

// errOther means that another process works on the endpoint.
var errOther = errors.New("another process has the webhook")

// serve works until there is nothing to do now, or ctx ends. What is begun then goes on until work
// ends. again is when to look again, whatever happens; zero for when something does.
func (r *run) serve(ctx, work context.Context) (again time.Time) {
	err := r.deliver(ctx, work)
	switch {
	case errors.Is(err, errOther):
		return time.Now().Add(min(time.Until(time.UnixMilli(r.c.Value.Until)), otherPause)) // it may be given back before
	case err != nil:
		r.d.logged(ctx, "webhook will be delivered to later", err)
		return time.Now().Add(failedPause)
	}
	return time.Time{}
}

func (r *run) deliver(ctx, work context.Context) (err error) {
	if r.c, err = courseOf(ctx, r.d.courses, r.e); err != nil {
		return err
	}
	r.base = r.c.Value.After
	if idle, err := r.idle(ctx); idle || err != nil {
		return err
	}
	if err := r.take(ctx); err != nil {
		return err
	}
	r.by, err = openSecrets(r.d.keys, r.e)
	for more := true; more && err == nil; {
		if more, err = r.step(ctx, work); more && err == nil {
			err = r.hold(work)
		}
	}
	if errors.Is(err, errOther) {
		return err
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return errors.Join(err, r.release(closing))
}

// idle reports whether there is nothing to do, without a lease. It moves on over what nobody wants.
func (r *run) idle(ctx context.Context) (bool, error) {
	c := r.c.Value
	now := time.Now().UnixMilli()
	if c.RetryAt > now && !c.Recovered && c.DueAt > now {
		r.place, _ = r.tail.reaches()
		return true, nil
	}
	if c.Recovered || c.DueAt > 0 && c.DueAt <= now {
		return false, nil
	}
	fresh, place, err := r.fresh(ctx, skipped)
	if err != nil || len(fresh) > 0 || place >= c.After+skipped || place < c.After {
		return false, err
	}
	r.place = place
	return true, nil
}

// take gets the lease, or errOther.
func (r *run) take(ctx context.Context) error {
	if r.c.Value.heldBeside(r.d.me, time.Now()) {
		return errOther
	}
	return r.hold(ctx)
}

// hold stores what was done under a lease from now. Where this process ends without giving it back,
// somebody looks after the lease.
func (r *run) hold(ctx context.Context) error {
	until := time.Now().Add(leaseTime)
	if r.parked = r.parked || r.c.Value.Recovered || r.c.Value.DueAt > 0; r.parked {
		r.c.Value.DueAt = until.UnixMilli()
	}
	return r.store(ctx, r.d.me, until)
}

// store keeps what was done, under a lease until then. What was changed meanwhile by an operator
// stays changed.
func (r *run) store(ctx context.Context, holder string, until time.Time) error {
	for range changeTries {
		r.c.Value.Holder, r.c.Value.Until = holder, until.UnixMilli()
		if holder == "" {
			r.c.Value.Until = 0
		}
		r.taken = time.Now()
		s, err := r.d.courses.Update(ctx, r.c)
		if err == nil {
			r.c, r.base = s, s.Value.After
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("store course: %w", err)
		}
		ours := r.c.Value.After
		if s, err = r.d.courses.Get(ctx, r.e.ID); err != nil {
			return err
		}
		r.c, r.parked = s, r.parked || s.Value.DueAt > 0
		if s.Value.heldBeside(r.d.me, time.Now()) {
			return errOther
		}
		if s.Value.After == r.base {
			r.c.Value.After = ours
		}
		r.base = s.Value.After
	}
	return errContention
}

// release gives the lease back and says when somebody has to look again.
func (r *run) release(ctx context.Context) error {
	next, err := r.nextDue(ctx)
	if err != nil {
		return err
	}
	c := &r.c.Value
	if c.DueAt = max(next, c.RetryAt); c.Recovered {
		c.DueAt = time.Now().UnixMilli()
	}
	r.place = max(r.place, c.After)
	if err := r.store(ctx, "", time.Time{}); err != nil {
		return fmt.Errorf("give webhook back: %w", err)
	}
	return nil
}

// fresh returns the events an endpoint wants after its place, and the place after what was looked at.
func (r *run) fresh(ctx context.Context, limit int) (wanted []event, place uint64, err error) {
	place = r.c.Value.After
	read, err := r.tail.after(ctx, place, limit)
	if errors.Is(err, bus.ErrFeedMoved) {
		r.d.Log.ErrorContext(ctx, "a webhook was so far behind that its events are gone, or the feed was made anew: it goes on with the oldest",
			"tenant", r.e.Tenant, "webhook", r.e.ID, "after", place)
		r.c.Value.After, place = 0, 0
		read, err = r.tail.after(ctx, 0, limit)
	}
	if errors.Is(err, bus.ErrNoFeed) {
		return nil, place, nil
	}
	for _, e := range read {
		place = e.sequence
		if e.body != nil && r.e.wants(e.kind) {
			wanted = append(wanted, e)
		}
	}
	return wanted, place, err
}
