package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/ledger/webhooks"
)

// api answers queries, each for one tenant.
type api struct {
	env      *app.Env
	guard    *tenant.Guard
	model    *readModel
	queue    *queue
	cases    *cases
	lists    *listed
	webhooks *webhooks.Dispatcher
	accesses *accesses // told of before what was asked for is shown
	streams  streams
	beat     time.Duration   // of event streams
	ending   <-chan struct{} // closed when event streams must end
}

// authenticate returns whose token a request carries.
func (a *api) authenticate(r *http.Request) (tenant.Principal, error) {
	return a.guard.Authenticate(r, a.env.Config.Current())
}

// enter authenticates a request and finds its tenant; where it cannot, it has answered.
func (a *api) enter(w http.ResponseWriter, r *http.Request) (tenant.Principal, string, bool) {
	if len(r.Header.Values("X-Tenant-ID")) > 1 {
		problem(w, http.StatusBadRequest, "malformed", "header X-Tenant-ID is repeated; send it once")
		return tenant.Principal{}, "", false
	}
	p, err := a.authenticate(r)
	var tooOften *tenant.TooManyError
	switch {
	case errors.As(err, &tooOften):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(tooOften.Wait.Seconds()))))
		problem(w, http.StatusTooManyRequests, "too-many-requests", "too many tokens that are not valid came from this address; retry later")
		return p, "", false
	case errors.Is(err, tenant.ErrUnavailable):
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "unavailable", "tokens cannot be checked now; retry later")
		return p, "", false
	case err != nil:
		w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
		problem(w, http.StatusUnauthorized, "unauthorized", "send one header Authorization: Bearer <token>")
		return p, "", false
	}
	id := r.Header.Get("X-Tenant-ID")
	if id == "" && len(p.Tenants) == 1 && p.Tenants[0] != tenant.AllTenants {
		id = p.Tenants[0]
	}
	if id == "" {
		problem(w, http.StatusBadRequest, "malformed", "header X-Tenant-ID is required: the token has several tenants")
		return p, "", false
	}
	if _, known := a.env.Config.Tenant(id); !known || !p.Allows(id) || !p.Has(tenant.Roles...) {
		problem(w, http.StatusForbidden, "forbidden", "the token does not allow this tenant; check X-Tenant-ID")
		return p, "", false
	}
	return p, id, true
}

// refused answers for a query that could not be run, and reports whether it did.
func (a *api) refused(w http.ResponseWriter, r *http.Request, err error) bool {
	switch {
	case errors.Is(err, store.ErrCursor):
		problem(w, http.StatusBadRequest, "malformed", "after is not a cursor of this list; use next of the page before, with the same filters")
	case err != nil:
		a.failed(w, r, err)
	}
	return err != nil
}

// asked reads the registration that a path names, or answers why it cannot.
func (a *api) asked(w http.ResponseWriter, r *http.Request, tenant string) (id string, found registration, ok bool) {
	id = mux.Vars(r)["id"]
	found, ok, err := a.model.get(r.Context(), tenant, id)
	switch {
	case err != nil:
		a.failed(w, r, err)
	case !ok:
		problem(w, http.StatusNotFound, "not-found", "the tenant has no such registration")
	}
	return id, found, ok && err == nil
}

func (a *api) getRegistration(w http.ResponseWriter, r *http.Request) {
	p, t, ok := a.enter(w, r)
	if !ok {
		return
	}
	id, found, ok := a.asked(w, r, t)
	if !ok {
		return
	}
	if !a.told(w, r, p, t, events.RecordAccessed{Purpose: readRegistration, Registration: id}) {
		return
	}
	answer(w, app.View(t, id, events.Fold(found.records(id)), p.Has(tenant.Compliance)))
}

// item is a registration in a list.
type item struct {
	ID         string         `json:"id"`
	Status     events.Status  `json:"status"`
	Outcome    events.Outcome `json:"outcome,omitempty"`
	AcceptedAt time.Time      `json:"acceptedAt"`
}

const longestPage = 500

// listRegistrations answers GET /v1/registrations?status=&outcome=&since=&after=&limit=,
// newest first.
func (a *api) listRegistrations(w http.ResponseWriter, r *http.Request) {
	_, t, ok := a.enter(w, r)
	if !ok {
		return
	}
	v, wrong := pageQuery(r)
	if wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	q, complaint := queryOf(v, t)
	if complaint != "" {
		problem(w, http.StatusBadRequest, "malformed", complaint)
		return
	}
	page, next, err := a.model.docs.Find(r.Context(), q)
	if a.refused(w, r, err) {
		return
	}
	items := make([]item, len(page))
	for i, s := range page {
		items[i] = item{s.ID, s.Value.Status, s.Value.Outcome, time.UnixMilli(s.Value.AcceptedAt).UTC()}
	}
	answer(w, map[string]any{"registrations": items, "next": next})
}

func queryOf(v url.Values, t string) (q store.Query, complaint string) {
	q = store.Query{Where: store.Fields{"tenant": t}, Order: "-acceptedAt", After: v.Get("after"), Limit: 50}
	if s := v.Get("status"); s != "" {
		if !slices.Contains(events.Statuses, events.Status(s)) {
			return q, "status is not one of the documented statuses"
		}
		q.Where["status"] = s
	}
	if o := v.Get("outcome"); o != "" {
		if !slices.Contains(events.Outcomes, events.Outcome(o)) {
			return q, "outcome is not one of the documented outcomes"
		}
		q.Where["outcome"] = o
	}
	if s := v.Get("since"); s != "" {
		since, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return q, "since is not a time such as 2026-01-31T12:00:00Z"
		}
		q.Range = &store.Range{Field: "acceptedAt", From: since.UnixMilli(), To: math.MaxInt64}
	}
	if l := v.Get("limit"); l != "" {
		n, err := strconv.Atoi(l)
		if err != nil || n < 1 || n > longestPage {
			return q, "limit is not a number from 1 to 500"
		}
		q.Limit = n
	}
	return q, ""
}

// stats are counts of the read model.
type stats struct {
	Tenant                  string                   `json:"tenant"`
	Statuses                map[events.Status]int64  `json:"statuses"`
	Outcomes                map[events.Outcome]int64 `json:"outcomes"`
	OldestUnfinishedSeconds int64                    `json:"oldestUnfinishedSeconds"`
}

func (a *api) getStats(w http.ResponseWriter, r *http.Request) {
	_, t, ok := a.enter(w, r)
	if !ok {
		return
	}
	s, err := a.model.stats(r.Context(), t)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, s)
}

// stats counts the registrations of a tenant.
func (m *readModel) stats(ctx context.Context, t string) (stats, error) {
	s := stats{Tenant: t, Statuses: map[events.Status]int64{}, Outcomes: map[events.Outcome]int64{}}
	for _, status := range events.Statuses {
		n, err := m.docs.Count(ctx, store.Fields{"tenant": t, "status": string(status)})
		if err != nil {
			return s, err
		}
		if n > 0 {
			s.Statuses[status] = n
		}
	}
	for _, outcome := range events.Outcomes {
		n, err := m.docs.Count(ctx, store.Fields{"tenant": t, "outcome": string(outcome)})
		if err != nil {
			return s, err
		}
		if n > 0 {
			s.Outcomes[outcome] = n
		}
	}
	oldest, _, err := m.docs.Find(ctx, store.Query{Where: store.Fields{"tenant": t, "outcome": ""}, Order: "acceptedAt", Limit: 1})
	if err == nil && len(oldest) == 1 {
		s.OldestUnfinishedSeconds = int64(time.Since(time.UnixMilli(oldest[0].Value.AcceptedAt)).Seconds())
	}
	return s, err
}

func (a *api) failed(w http.ResponseWriter, r *http.Request, err error) {
	a.env.Log.WarnContext(r.Context(), "query failed", "error", err)
	w.Header().Set("Retry-After", "2")
	problem(w, http.StatusServiceUnavailable, "unavailable", "the read model cannot be read now; retry later")
}

func answer(w http.ResponseWriter, body any) { write(w, http.StatusOK, "application/json", body) }

// problem answers as RFC 9457 has it.
func problem(w http.ResponseWriter, status int, kind, detail string) {
	write(w, status, "application/problem+json", map[string]any{
		"type": "urn:usher:problem:" + kind, "title": http.StatusText(status), "status": status, "detail": detail,
	})
}

func write(w http.ResponseWriter, status int, media string, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}
