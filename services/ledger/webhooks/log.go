package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// Health is how the deliveries to an endpoint go. Times are zero where there is none.
type Health struct {
	After        uint64 // place in the feed
	Failures     int    // in a row
	FailingSince time.Time
	RetryAt      time.Time
}

// Health returns how deliveries to endpoints go, by their ids.
func (r *Registry) Health(ctx context.Context, endpoints ...Endpoint) (map[string]Health, error) {
	ids := make([]string, len(endpoints))
	for i, e := range endpoints {
		ids[i] = e.ID
	}
	courses, err := r.courses.GetMany(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("read courses: %w", err)
	}
	all := make(map[string]Health, len(endpoints))
	for _, e := range endpoints {
		c, known := courses[e.ID]
		if !known {
			c.Value.After = e.Begin
		}
		all[e.ID] = Health{c.Value.After, c.Value.Failures, timeOf(c.Value.FailingSince), timeOf(c.Value.RetryAt)}
	}
	return all, nil
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Deliveries returns a page of an endpoint's log, newest first; state is "" for any.
func (r *Registry) Deliveries(ctx context.Context, e Endpoint, state Outcome, after string, limit int) (page []Delivery, next string, err error) {
	where := store.Fields{"endpoint": e.ID}
	if state != "" {
		where["state"] = string(state)
	}
	stored, next, err := r.deliveries.Find(ctx, store.Query{Where: where, Order: "-at", After: after, Limit: limit})
	for _, s := range stored {
		page = append(page, s.Value)
	}
	return page, next, err
}

// DeliveriesOf returns the newest deliveries of a registration's events, newest first, and their
// endpoints by id, without those that are deleted.
func (r *Registry) DeliveriesOf(ctx context.Context, tenant, registration string, most int) ([]Delivery, map[string]Endpoint, error) {
	stored, _, err := r.deliveries.Find(ctx, store.Query{Where: store.Fields{"registration": registrationField(tenant, registration)}, Order: "-at", Limit: most})
	if err != nil || len(stored) == 0 {
		return nil, nil, err
	}
	found, to := make([]Delivery, len(stored)), make([]string, len(stored))
	for i, s := range stored {
		found[i], to[i] = s.Value, s.Value.Endpoint
	}
	slices.Sort(to)
	endpoints, err := r.endpoints.GetMany(ctx, slices.Compact(to)...)
	known := make(map[string]Endpoint, len(endpoints))
	for id, e := range endpoints {
		if e.Value.State != Deleted {
			known[id] = e.Value
		}
	}
	return found, known, err
}

// ReplayOne sends one event again, whatever became of it, beside those that follow it.
func (r *Registry) ReplayOne(ctx context.Context, e Endpoint, actor string, sequence uint64) (Delivery, error) {
	page, err := r.feed.Feed(ctx, e.Tenant, sequence-1, 1)
	if errors.Is(err, bus.ErrFeedMoved) || err == nil && (len(page) == 0 || page[0].Sequence != sequence) {
		return Delivery{}, ErrNoEvent
	}
	if err != nil {
		return Delivery{}, err
	}
	if err := r.tell(ctx, e.Tenant, actor, e.ID, "replayed_one"); err != nil {
		return Delivery{}, err
	}
	m, now := page[0], time.Now().UnixMilli()
	made := Delivery{Endpoint: e.ID, Sequence: sequence, Event: first(m.Header["ce-id"]), Type: first(m.Header["ce-type"])}
	d, err := change(ctx, r.deliveries, made, func(d *Delivery) {
		d.State, d.Tries, d.At, d.NextAt = Pending, 0, now, now
	})
	if err != nil {
		return d, err
	}
	return d, changeCourse(ctx, r.courses, e, func(c *course) {
		if c.DueAt == 0 || c.DueAt > now {
			c.DueAt = now
		}
	})
}

// ReplayAfter sends all that follows a place in the feed again, in the order of the feed, and goes
// on with what is new then.
func (r *Registry) ReplayAfter(ctx context.Context, e Endpoint, actor string, place uint64) error {
	if err := r.tell(ctx, e.Tenant, actor, e.ID, "replayed_since"); err != nil {
		return err
	}
	return changeCourse(ctx, r.courses, e, func(c *course) {
		c.After, c.DueAt = min(c.After, place), time.Now().UnixMilli()
	})
}

// searchPages bounds how many events of a feed are looked at for one.
const (
	searchPages = 50
	searchPage  = 1000
	// clockSkew is by how much an event may stand in the feed before the time it is looked for from.
	clockSkew = time.Minute
)

// Find returns the place of an event in a tenant's feed by its id, looking from about the time when
// it was stored.
func (r *Registry) Find(ctx context.Context, tenant, event string, stored time.Time) (uint64, error) {
	after, err := r.feed.FeedFrom(ctx, tenant, stored.Add(-clockSkew))
	if err != nil {
		return 0, err
	}
	for range searchPages {
		page, err := r.feed.Feed(ctx, tenant, after, searchPage)
		if err != nil || len(page) == 0 {
			return 0, errors.Join(err, ErrNoEvent)
		}
		if i := slices.IndexFunc(page, func(m bus.FeedEvent) bool { return first(m.Header["ce-id"]) == event }); i >= 0 {
			return page[i].Sequence, nil
		}
		after = page[len(page)-1].Sequence
	}
	return 0, ErrNoEvent
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
