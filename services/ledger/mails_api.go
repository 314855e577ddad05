package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// mailRoutes are the operators' view of the mails.
func (a *api) mailRoutes(r *mux.Router) {
	r.HandleFunc("/v1/mails", a.listMails).Methods(http.MethodGet)
	r.HandleFunc("/v1/mails:resend", a.resendMany).Methods(http.MethodPost)
	r.HandleFunc("/v1/registrations/{id}/mails", a.getMails).Methods(http.MethodGet)
	r.HandleFunc("/v1/registrations/{id}/mails:resend", a.resendOne).Methods(http.MethodPost)
}

// enterOperator is enter for operators; where it cannot, it has answered.
func (a *api) enterOperator(w http.ResponseWriter, r *http.Request) (tenant.Principal, string, bool) {
	p, t, ok := a.enter(w, r)
	if ok && !p.Has(tenant.Operator) {
		problem(w, http.StatusForbidden, "forbidden", "the token's roles do not allow this; it needs operator")
		return p, t, false
	}
	return p, t, ok
}

// getMails answers with all mails of a registration, in the order in which they were asked for.
func (a *api) getMails(w http.ResponseWriter, r *http.Request) {
	p, t, ok := a.enterOperator(w, r)
	if !ok {
		return
	}
	id, found, ok := a.asked(w, r, t)
	if !ok {
		return
	}
	if !a.told(w, r, p, t, events.RecordAccessed{Purpose: readMails, Registration: id}) {
		return
	}
	answer(w, map[string]any{"mails": found.mails(id)})
}

// mails are all of a registration, in the order in which they were asked for.
func (r registration) mails(id string) []mailView {
	views := []mailView{}
	for _, m := range messagesOf(r.History, r.Outcome) {
		views = append(views, m.view(r.Tenant, id))
	}
	return views
}

// selection says which registrations' newest mails are meant.
type selection struct {
	State string    `json:"state"`
	Code  string    `json:"code"`  // of why it failed; "" for any
	Since time.Time `json:"since"` // when the registration was accepted; zero for no bound
	Until time.Time `json:"until"`
	Limit int       `json:"limit"` // 1 to 500; 0 for 50
	After string    `json:"after"` // next of the page before
}

func (s selection) query(t string) (q store.Query, complaint string) {
	if !slices.Contains(mailStates, s.State) {
		return q, "state is required: PENDING, SENT, FAILED or WITHDRAWN"
	}
	if s.Limit < 0 || s.Limit > longestPage {
		return q, "limit is not a number from 1 to 500"
	}
	q = store.Query{Where: store.Fields{"tenant": t, "mail": s.State}, Order: "-acceptedAt", After: s.After, Limit: s.Limit}
	if q.Limit == 0 {
		q.Limit = 50
	}
	if !s.Since.IsZero() || !s.Until.IsZero() {
		q.Range = &store.Range{Field: "acceptedAt", From: s.Since.UnixMilli(), To: math.MaxInt64}
		if s.Since.IsZero() {
			q.Range.From = 0
		}
		if !s.Until.IsZero() {
			q.Range.To = s.Until.UnixMilli()
		}
	}
	return q, ""
}

// find returns the newest mail of each registration that is meant, the registrations newest first.
// A page can be shorter than its limit and have a next one.
func (a *api) find(ctx context.Context, t string, s selection, q store.Query) (views []mailView, next string, err error) {
	page, next, err := a.model.docs.Find(ctx, q)
	if err != nil {
		return nil, "", err
	}
	views = []mailView{}
	for _, doc := range page {
		for _, m := range slices.Backward(messagesOf(doc.Value.History, doc.Value.Outcome)) {
			if m.asked.Step == events.StepNotice {
				continue
			}
			if v := m.view(t, doc.ID); s.Code == "" || v.Code == s.Code {
				views = append(views, v)
			}
			break
		}
	}
	return views, next, nil
}

// listMails answers GET /v1/mails?state=&code=&since=&until=&limit=&after=.
func (a *api) listMails(w http.ResponseWriter, r *http.Request) {
	p, t, ok := a.enterOperator(w, r)
	if !ok {
		return
	}
	s, complaint := selectionOf(r)
	q := store.Query{}
	if complaint == "" {
		q, complaint = s.query(t)
	}
	if complaint != "" {
		problem(w, http.StatusBadRequest, "malformed", complaint)
		return
	}
	views, next, err := a.find(r.Context(), t, s, q)
	if a.refused(w, r, err) || !a.told(w, r, p, t, events.RecordAccessed{Purpose: readMails, Count: len(views)}) {
		return
	}
	answer(w, map[string]any{"mails": views, "next": next})
}

func selectionOf(r *http.Request) (s selection, complaint string) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return s, "the query cannot be read; write it as name=value&name=value, percent-encoded"
	}
	s = selection{State: v.Get("state"), Code: v.Get("code"), After: v.Get("after")}
	for name, into := range map[string]*time.Time{"since": &s.Since, "until": &s.Until} {
		if text := v.Get(name); text != "" {
			if *into, err = time.Parse(time.RFC3339, text); err != nil {
				return s, name + " is not a time such as 2026-01-31T12:00:00Z"
			}
		}
	}
	if text := v.Get("limit"); text != "" {
		if s.Limit, err = strconv.Atoi(text); err != nil || s.Limit < 1 {
			return s, "limit is not a number from 1 to 500"
		}
	}
	return s, ""
}

// resendOne answers POST /v1/registrations/{id}/mails:resend with 202: accounts decides what follows.
func (a *api) resendOne(w http.ResponseWriter, r *http.Request) {
	p, t, ok := a.enterOperator(w, r)
	if !ok {
		return
	}
	id := mux.Vars(r)["id"]
	k, reason, err := a.resend(r.Context(), t, id, p.Subject, false)
	switch {
	case err != nil:
		a.failed(w, r, err)
	case reason == notFound:
		problem(w, http.StatusNotFound, reason, "the tenant has no such registration, or its events are older than the stream keeps")
	case reason == underWay:
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusTooManyRequests, reason, "another resend is under way; retry later")
	case reason != "":
		problem(w, http.StatusConflict, reason, "the registration has no account that waits for its activation, or had too many resends")
	default:
		write(w, http.StatusAccepted, "application/json", map[string]any{"id": id, "k": k})
	}
}

const largestSelection = 16 << 10 // bytes

// resendMany answers POST /v1/mails:resend, whose body is a selection, page by page: what was
// ordered, what was not and why. A mail that was ordered is no longer selected as FAILED, so that a
// repetition orders none twice.
func (a *api) resendMany(w http.ResponseWriter, r *http.Request) {
	p, t, ok := a.enterOperator(w, r)
	if !ok {
		return
	}
	var s selection
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, largestSelection))
	decoder.DisallowUnknownFields()
	complaint := "the body is not a JSON object of state, code, since, until, limit and after"
	if decoder.Decode(&s) == nil && decoder.Decode(&struct{}{}) == io.EOF {
		complaint = ""
	}
	q := store.Query{}
	if complaint == "" {
		q, complaint = s.query(t)
	}
	if complaint != "" {
		problem(w, http.StatusBadRequest, "malformed", complaint)
		return
	}
	views, next, err := a.find(r.Context(), t, s, q)
	if a.refused(w, r, err) {
		return
	}
	type skip struct {
		Registration string `json:"registration"`
		Reason       string `json:"reason"`
	}
	ordered, skipped := []string{}, []skip{}
	for _, v := range views {
		switch _, reason, err := a.resend(r.Context(), t, v.Registration, p.Subject, true); {
		case err != nil:
			a.env.Log.WarnContext(r.Context(), "resend not ordered", "registration", v.Registration, "error", err)
			skipped = append(skipped, skip{v.Registration, "unavailable"})
		case reason != "":
			skipped = append(skipped, skip{v.Registration, reason})
		default:
			ordered = append(ordered, v.Registration)
		}
	}
	answer(w, map[string]any{"ordered": ordered, "skipped": skipped, "next": next})
}

// Reasons why no mail is ordered.
const (
	notFound    = "not-found"
	notAwaiting = "not-awaiting-activation"
	tooOften    = "too-many-resends"
	underWay    = "too-many-requests"
)

// mostResends bounds the resends of a registration, by whomever, as the gateway does: its history is
// read by one request of at most 1,024 events.
const mostResends = 60

// resend orders another mail of a registration, or says why not. The order is recorded before it is
// given, so that none is given unrecorded.
func (a *api) resend(ctx context.Context, t, id, actor string, bulk bool) (k int, reason string, err error) {
	history, err := a.env.Bus.History(ctx, t, id)
	if err != nil {
		return 0, "", err
	}
	if len(history) == 0 {
		return 0, notFound, nil
	}
	created := false
	k = 1
	for _, r := range history {
		_, is := r.Event.(events.AccountCreated)
		created = created || is
		if r.Subject.Step == events.StepResend {
			k++
		}
	}
	switch {
	case !created || events.Fold(history).Terminal():
		return 0, notAwaiting, nil
	case k > mostResends:
		return 0, tooOften, nil
	}
	err = a.env.Bus.Publish(ctx, t, "", events.ResendOrdered{Actor: actor, Registration: id, K: k, Bulk: bulk})
	if err == nil || errors.Is(err, bus.ErrExists) { // the actor has ordered it before
		err = a.env.Bus.Publish(ctx, t, id, events.ResendRequested{K: k, Actor: actor})
	}
	if errors.Is(err, bus.ErrExists) {
		return 0, underWay, nil
	}
	return k, "", err
}
