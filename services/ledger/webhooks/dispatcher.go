package webhooks

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

const (
	usualPace    = 250 * time.Millisecond
	refreshAfter = 4 // paces
	sweepEvery   = time.Minute
	clocksDiffer = 10 * time.Second // of replicas
	changeTakes  = time.Minute      // from its stamp until it is stored, with clocksDiffer
	strangeRest  = 10 * time.Minute // of what is due of a tenant that is not served
	rereadEvery  = 5 * time.Minute  // all endpoints, for changes that took longer
	mostRequests = 512              // at once, in this process
	mostOfTenant = 64               // of these
	drainTime    = 5 * time.Second  // how long a request may go on after the end
	failedPause  = time.Second      // after an error of ours
)

// Settings of a Dispatcher.
type Settings struct {
	// Client makes the requests. It follows no redirect and reaches only what it should: see egress.
	Client *http.Client
	// Encode writes an event of a tenant's feed as its receivers get it.
	Encode func(tenant string, e bus.FeedEvent) ([]byte, error)
	// Known reports whether a tenant is served.
	Known func(tenant string) bool
	Log   *slog.Logger
	Meter metric.MeterProvider
	// Pace is how often an idle feed is looked at; default 250 ms. What is due, and what was changed,
	// is found after four times that.
	Pace time.Duration
}

// Dispatcher delivers to all endpoints of a registry, together with those of other processes: each
// endpoint is worked on by one at a time, under a lease, and by nobody while there is nothing to do.
type Dispatcher struct {
	*Registry
	Settings
	sender  sender
	metrics *metrics
	me      string
	slots   chan struct{}
	nudge   chan struct{}
	runs    sync.WaitGroup

	refreshed int64 // Unix milliseconds: all that was changed before is known; Run's own

	mu      sync.Mutex
	byID    map[string]*watched
	deleted map[string]Endpoint
	tails   map[string]*tail         // by tenant
	shares  map[string]chan struct{} // of slots, by tenant
}

// watched is an endpoint as this process knows it.
type watched struct {
	endpoint  Endpoint
	place     uint64 // nothing up to it is to be done
	due       bool   // something is to be done beside what the feed has
	running   bool
	notBefore time.Time
}

// NewDispatcher returns one that does nothing before Run. It is the only one of its registry.
func NewDispatcher(r *Registry, s Settings) (*Dispatcher, error) {
	if s.Pace == 0 {
		s.Pace = usualPace
	}
	d := &Dispatcher{
		Registry: r, Settings: s, sender: sender{s.Client}, me: rand.Text(), slots: make(chan struct{}, mostRequests), nudge: make(chan struct{}, 1),
		byID: map[string]*watched{}, deleted: map[string]Endpoint{}, tails: map[string]*tail{}, shares: map[string]chan struct{}{},
	}
	r.learned = func(e Endpoint) { d.learn(e); d.moved() }
	var err error
	d.metrics, err = newMetrics(s.Meter, func(count func(string, State)) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, w := range d.byID {
			count(w.endpoint.Tenant, w.endpoint.State)
		}
	})
	return d, err
}

// Run delivers until ctx ends. Then it begins no request, and returns when those it has begun are
// done or drainTime is over.
func (d *Dispatcher) Run(ctx context.Context) {
	work, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, abandon) })
	refresh, reread, sweep := time.NewTicker(refreshAfter*d.Pace), time.NewTicker(rereadEvery), time.NewTicker(sweepEvery)
	defer refresh.Stop()
	defer reread.Stop()
	defer sweep.Stop()
	defer d.runs.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			d.runs.Go(func() { d.logged(ctx, "log of webhooks not swept", d.sweep(ctx)) })
			continue
		case <-reread.C:
			d.refreshed = 0
			continue
		case <-refresh.C:
			d.logged(ctx, "webhooks not read", d.refresh(ctx))
		case <-d.nudge:
		}
		d.start(ctx, work)
	}
}

func (d *Dispatcher) logged(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		d.Log.WarnContext(ctx, what, "error", err)
	}
}

// moved makes Run look whether there is something to do.
func (d *Dispatcher) moved() {
	select {
	case d.nudge <- struct{}{}:
	default:
	}
}

// refresh learns of endpoints that were changed and of courses that are due.
func (d *Dispatcher) refresh(ctx context.Context) error {
	since := time.Now().Add(-changeTakes).UnixMilli()
	q := store.Query{Range: &store.Range{Field: "changedAt", From: d.refreshed, To: math.MaxInt64}, Order: "changedAt", Limit: 1000}
	for more := true; more; {
		page, next, err := d.endpoints.Find(ctx, q)
		if err != nil {
			return fmt.Errorf("find webhooks: %w", err)
		}
		for _, s := range page {
			d.learn(s.Value)
		}
		q.After, more = next, next != ""
	}
	d.refreshed = since
	d.followFeeds(ctx)
	return d.findDue(ctx)
}

// findDue wakes the endpoints that are due, and puts the others to rest.
func (d *Dispatcher) findDue(ctx context.Context) error {
	group, resting := errgroup.WithContext(ctx)
	group.SetLimit(batch)
	q := store.Query{Range: &store.Range{Field: "dueAt", From: 1, To: time.Now().UnixMilli()}, Order: "dueAt", Limit: 1000}
	for more := true; more; {
		page, next, err := d.courses.Find(ctx, q)
		if err != nil {
			return errors.Join(fmt.Errorf("find due webhooks: %w", err), group.Wait())
		}
		for _, c := range page {
			if !d.wake(c.ID) {
				group.Go(func() error { return d.rest(resting, c) })
			}
		}
		q.After, more = next, next != ""
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("put webhooks to rest: %w", err)
	}
	return nil
}

// learn takes an endpoint as it was read, unless something newer is known.
func (d *Dispatcher) learn(e Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.State == Deleted {
		delete(d.byID, e.ID)
		d.deleted[e.ID] = e
		return
	}
	if _, gone := d.deleted[e.ID]; gone {
		return
	}
	w := d.byID[e.ID]
	if w == nil {
		w = &watched{due: true} // its course may be anywhere
		d.byID[e.ID] = w
	}
	if w.endpoint.ChangedAt < e.ChangedAt {
		w.endpoint, w.due = e, true
	}
}

// followFeeds begins to follow the feeds of tenants that have a webhook and are served by now.
func (d *Dispatcher) followFeeds(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.byID {
		name := w.endpoint.Tenant
		if d.tails[name] != nil || !d.Known(name) {
			continue
		}
		t := &tail{tenant: name, feed: d.feed, encode: d.Encode, log: d.Log, pace: d.Pace}
		d.tails[name] = t
		d.runs.Go(func() { t.follow(ctx, d.moved) })
	}
}

// wake marks an enabled endpoint of a tenant that is served as due, and reports whether it is one.
func (d *Dispatcher) wake(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.byID[id]
	if w == nil || w.endpoint.State != Enabled || d.tails[w.endpoint.Tenant] == nil {
		return false
	}
	w.due = true
	return true
}

// rest makes nobody look at a course whose endpoint is not enabled, and for a while at one whose
// tenant is not served here: it may be by others. The endpoint is read after the course: who enables
// it writes it first.
func (d *Dispatcher) rest(ctx context.Context, c store.Stored[course]) error {
	e, err := d.endpoints.Get(ctx, c.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return d.courses.Delete(ctx, c.ID)
	case err != nil:
		return err
	case e.Value.State != Enabled:
		c.Value.DueAt = 0
	case !d.Known(e.Value.Tenant):
		c.Value.DueAt = time.Now().Add(strangeRest).UnixMilli()
	default:
		return nil
	}
	_, err = d.courses.Update(ctx, c)
	return taken(err)
}

// start begins a run of each endpoint that has something to do.
func (d *Dispatcher) start(ctx, work context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, w := range d.byID {
		t := d.tails[w.endpoint.Tenant]
		if w.running || w.endpoint.State != Enabled || t == nil || now.Before(w.notBefore) {
			continue
		}
		if end, known := t.reaches(); !w.due && (end == w.place || !known) {
			continue
		}
		w.running, w.due = true, false
		r := &run{d: d, e: w.endpoint, tail: t}
		d.runs.Go(func() {
			again := r.serve(ctx, work)
			d.ended(w, r, again)
		})
	}
}

// ended notes what a run has found. Where it has come further than the tail, that gets time to follow.
func (d *Dispatcher) ended(w *watched, r *run, again time.Time) {
	d.mu.Lock()
	w.running, w.place, w.notBefore = false, r.place, again
	w.due = w.due || !again.IsZero()
	if end, _ := r.tail.reaches(); again.IsZero() && end < r.place {
		w.notBefore = time.Now().Add(d.Pace)
	}
	d.mu.Unlock()
	d.moved()
}

// changed reports whether an endpoint is not any more what a run has begun with.
func (d *Dispatcher) changed(e Endpoint) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.byID[e.ID]
	return w == nil || w.endpoint.ChangedAt != e.ChangedAt
}
