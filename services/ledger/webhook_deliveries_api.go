package ledger

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/services/ledger/webhooks"
)

// attemptView is one request to a receiver.
type attemptView struct {
	At         time.Time `json:"at"`
	DurationMs int64     `json:"durationMs"`
	Status     int       `json:"status,omitempty"`
	Error      string    `json:"error,omitempty"`
}

// deliveryView is an entry of an endpoint's log.
type deliveryView struct {
	Event     string           `json:"event"`
	WebhookID string           `json:"webhookId"`
	Type      string           `json:"type"`
	Cursor    cursor           `json:"cursor"` // of the event in the feed
	State     webhooks.Outcome `json:"state"`
	At        time.Time        `json:"at"` // of the newest attempt, or when it was asked for
	NextAt    time.Time        `json:"nextAt,omitzero"`
	LastError string           `json:"lastError,omitempty"`
	Attempts  []attemptView    `json:"attempts"`
}

func viewOfDelivery(t string, d webhooks.Delivery) deliveryView {
	v := deliveryView{
		Event: d.Event, WebhookID: webhooks.MessageID(d.Event), Type: d.Type, Cursor: cursorOf(t, d.Sequence), State: d.State, At: at(d.At), Attempts: []attemptView{},
	}
	if d.NextAt > 0 {
		v.NextAt = at(d.NextAt)
	}
	for _, a := range d.Attempts {
		v.Attempts = append(v.Attempts, attemptView{at(a.At), a.Duration, a.Status, a.Error})
		v.LastError = a.Error
	}
	return v
}

// probeView is a test event's answer.
type probeView struct {
	attemptView
	Delivered bool   `json:"delivered"`
	WebhookID string `json:"webhookId"`
	Answer    string `json:"answer"` // the beginning of its body
}

// postProbe answers POST /v1/webhooks/{id}/probe with 200 and what the receiver answered.
func (a *api) postProbe(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, _ string) {
	p, err := a.webhooks.Probe(r.Context(), e)
	if err != nil {
		a.webhookRefused(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, probeView{attemptView{at(p.At), p.Duration, p.Status, p.Error}, p.Error == "", p.WebhookID, p.Answer})
}

// listDeliveries answers GET /v1/webhooks/{id}/deliveries?state=&after=&limit=, newest first.
func (a *api) listDeliveries(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, _ string) {
	v, wrong := pageQuery(r)
	limit := 50
	if wrong == nil {
		wrong = readLimit(v, &limit)
	}
	state := webhooks.Outcome(v.Get("state"))
	if wrong == nil && state != "" && !slices.Contains(webhooks.Outcomes, state) {
		wrong = bad("state is not one of pending, delivered, failed")
	}
	if wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	page, next, err := a.webhooks.Deliveries(r.Context(), e, state, v.Get("after"), limit)
	if a.refused(w, r, err) {
		return
	}
	views := []deliveryView{}
	for _, d := range page {
		views = append(views, viewOfDelivery(e.Tenant, d))
	}
	answer(w, map[string]any{"deliveries": views, "next": next})
}

// postReplay answers POST /v1/webhooks/{id}/replay with 202: {"event": ID} sends one event again,
// {"after": CURSOR} or {"since": TIME} all that follows.
func (a *api) postReplay(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, actor string) {
	var event, after, since *string
	if wrong := readBody(w, r, map[string]any{"event": &event, "after": &after, "since": &since}); wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	given := slices.DeleteFunc([]*string{event, after, since}, func(s *string) bool { return s == nil })
	if len(given) != 1 {
		problem(w, http.StatusBadRequest, "malformed", "give one of event, an id; after, a cursor of the feed; or since, a time")
		return
	}
	if event != nil {
		a.replayOne(w, r, e, actor, *event)
		return
	}
	place, wrong, err := a.placeOf(r.Context(), e.Tenant, after, since)
	if wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	if err == nil {
		err = a.webhooks.ReplayAfter(r.Context(), e, actor, place)
	}
	if err != nil {
		a.webhookRefused(w, r, err)
		return
	}
	write(w, http.StatusAccepted, "application/json", map[string]any{"after": cursorOf(e.Tenant, place)})
}

// placeOf is where a replay begins.
func (a *api) placeOf(ctx context.Context, t string, after, since *string) (uint64, *malformed, error) {
	if after != nil {
		place, err := cursor(*after).sequence(t)
		if err != nil {
			return 0, bad("after is not a cursor of this tenant's feed; \"\" begins with the oldest event"), nil
		}
		return place, nil, nil
	}
	from, err := time.Parse(time.RFC3339, *since)
	if err != nil {
		return 0, bad("since is not a time such as 2026-01-31T12:00:00Z"), nil
	}
	place, err := a.env.Bus.FeedFrom(ctx, t, from)
	return place, nil, err
}

func (a *api) replayOne(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, actor, event string) {
	sequence, err := a.findEvent(r.Context(), e.Tenant, event)
	var d webhooks.Delivery
	if err == nil {
		d, err = a.webhooks.ReplayOne(r.Context(), e, actor, sequence)
	}
	if err != nil {
		a.webhookRefused(w, r, err)
		return
	}
	write(w, http.StatusAccepted, "application/json", viewOfDelivery(e.Tenant, d))
}

// findEvent returns the place of an event in a tenant's feed.
func (a *api) findEvent(ctx context.Context, t, event string) (uint64, error) {
	s, err := events.ParseSubject(event)
	if err != nil || s.Tenant != t {
		return 0, webhooks.ErrNoEvent
	}
	if s.Registration == "" {
		told, err := a.env.Bus.StoredAt(ctx, s)
		if errors.Is(err, bus.ErrAbsent) {
			return 0, webhooks.ErrNoEvent
		}
		if err != nil {
			return 0, err
		}
		return a.webhooks.Find(ctx, t, event, told.Stored)
	}
	known, ok, err := a.model.get(ctx, t, s.Registration)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(known.History, func(h entry) bool { return h.Step == s.Step && h.N == s.N })
	if !ok || i < 0 {
		return 0, webhooks.ErrNoEvent
	}
	return a.webhooks.Find(ctx, t, event, known.History[i].Stored)
}
