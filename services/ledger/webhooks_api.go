package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/services/ledger/webhooks"
)

// webhookRoutes are the operators' view of webhooks.
func (a *api) webhookRoutes(r *mux.Router) {
	r.HandleFunc("/v1/webhooks", a.listWebhooks).Methods(http.MethodGet)
	r.HandleFunc("/v1/webhooks", a.postWebhook).Methods(http.MethodPost)
	r.HandleFunc("/v1/webhooks/{id}", a.ofWebhook(a.getWebhook)).Methods(http.MethodGet)
	r.HandleFunc("/v1/webhooks/{id}", a.ofWebhook(a.patchWebhook)).Methods(http.MethodPatch)
	r.HandleFunc("/v1/webhooks/{id}", a.ofWebhook(a.deleteWebhook)).Methods(http.MethodDelete)
	r.HandleFunc("/v1/webhooks/{id}/secrets", a.ofWebhook(a.postSecret)).Methods(http.MethodPost)
	r.HandleFunc("/v1/webhooks/{id}/probe", a.ofWebhook(a.postProbe)).Methods(http.MethodPost)
	r.HandleFunc("/v1/webhooks/{id}/deliveries", a.ofWebhook(a.listDeliveries)).Methods(http.MethodGet)
	r.HandleFunc("/v1/webhooks/{id}/replay", a.ofWebhook(a.postReplay)).Methods(http.MethodPost)
}

// ofWebhook finds the webhook that an operator names; where it cannot, it has answered.
func (a *api) ofWebhook(handle func(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, actor string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, t, ok := a.enterOperator(w, r)
		if !ok {
			return
		}
		e, err := a.webhooks.Get(r.Context(), t, mux.Vars(r)["id"])
		if err != nil {
			a.webhookRefused(w, r, err)
			return
		}
		handle(w, r, e, p.Subject)
	}
}

// secretView is a secret without what is secret of it.
type secretView struct {
	ID        string             `json:"id"`
	Algorithm webhooks.Algorithm `json:"algorithm"`
	PublicKey string             `json:"publicKey,omitempty"`
	CreatedAt time.Time          `json:"createdAt"`
	ExpiresAt time.Time          `json:"expiresAt,omitzero"`
	Secret    string             `json:"secret,omitempty"` // only in the answer to who has made it
}

func viewOfSecret(s webhooks.Secret, shown string) secretView {
	v := secretView{ID: s.ID, Algorithm: s.Algorithm, PublicKey: s.Public, CreatedAt: at(s.CreatedAt)}
	if s.ExpiresAt > 0 {
		v.ExpiresAt = at(s.ExpiresAt)
	}
	if s.Public == "" {
		v.Secret = shown
	}
	return v
}

// webhookView is an endpoint and how it goes.
type webhookView struct {
	ID          string         `json:"id"`
	URL         string         `json:"url"`
	Description string         `json:"description,omitempty"`
	Types       []string       `json:"types"`
	Ordered     bool           `json:"ordered"`
	State       webhooks.State `json:"state"`
	Reason      string         `json:"reason,omitempty"`
	CreatedAt   time.Time      `json:"createdAt"`
	Secrets     []secretView   `json:"secrets"`

	After        cursor    `json:"after,omitempty"` // place in the feed
	Behind       uint64    `json:"behind"`          // events of the feed that follow it
	Failures     int       `json:"failures"`        // in a row
	FailingSince time.Time `json:"failingSince,omitzero"`
	RetryAt      time.Time `json:"retryAt,omitzero"`
}

// viewsOf reads how the endpoints of a tenant go.
func (a *api) viewsOf(ctx context.Context, t string, endpoints ...webhooks.Endpoint) ([]webhookView, error) {
	health, err := a.webhooks.Health(ctx, endpoints...)
	if err != nil {
		return nil, err
	}
	end, err := a.env.Bus.FeedEnd(ctx, t)
	if err != nil && !errors.Is(err, bus.ErrNoFeed) {
		return nil, err
	}
	views := []webhookView{}
	for _, e := range endpoints {
		h := health[e.ID]
		v := webhookView{
			ID: e.ID, URL: e.URL, Description: e.Description, Types: append([]string{}, e.Types...), Ordered: e.Ordered, State: e.State, Reason: e.Reason,
			CreatedAt: at(e.CreatedAt), Secrets: []secretView{}, Failures: h.Failures, FailingSince: h.FailingSince, RetryAt: h.RetryAt,
			Behind: max(end, h.After) - h.After,
		}
		if h.After > 0 {
			v.After = cursorOf(t, h.After)
		}
		for _, s := range e.Secrets {
			v.Secrets = append(v.Secrets, viewOfSecret(s, ""))
		}
		views = append(views, v)
	}
	return views, nil
}

func (a *api) answerWebhook(w http.ResponseWriter, r *http.Request, status int, e webhooks.Endpoint, made ...secretView) {
	views, err := a.viewsOf(r.Context(), e.Tenant, e)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	if len(made) > 0 {
		views[0].Secrets = made
	}
	w.Header().Set("Cache-Control", "no-store")
	write(w, status, "application/json", views[0])
}

// listWebhooks answers GET /v1/webhooks?after=&limit=, oldest first.
func (a *api) listWebhooks(w http.ResponseWriter, r *http.Request) {
	_, t, ok := a.enterOperator(w, r)
	if !ok {
		return
	}
	v, wrong := pageQuery(r)
	limit := 50
	if wrong == nil {
		wrong = readLimit(v, &limit)
	}
	if wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	page, next, err := a.webhooks.List(r.Context(), t, v.Get("after"), limit)
	if a.refused(w, r, err) {
		return
	}
	views, err := a.viewsOf(r.Context(), t, page...)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, map[string]any{"webhooks": views, "next": next})
}

func pageQuery(r *http.Request) (url.Values, *malformed) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("the query cannot be read; write it as name=value&name=value, percent-encoded")
	}
	return v, nil
}

const longestDescription = 256 // characters

// webhookBody is what a request says of an endpoint; nil for what it does not.
type webhookBody struct {
	url, description, state, algorithm, after *string
	types                                     *[]string
	ordered                                   *bool
}

func (b *webhookBody) check() *malformed {
	if b.description != nil && utf8.RuneCountInString(*b.description) > longestDescription {
		return bad("description is longer than %d characters", longestDescription)
	}
	if b.types == nil {
		return nil
	}
	slices.Sort(*b.types)
	*b.types = slices.Compact(*b.types)
	for _, name := range *b.types {
		if _, known := events.Blank(name); !known {
			return bad("types names an unknown type of event; use those of the documentation, or none for all")
		}
	}
	return nil
}

// algorithm reads the member of that name; HMAC where it is absent.
func algorithm(name *string) (webhooks.Algorithm, *malformed) {
	if name == nil {
		return webhooks.HMAC, nil
	}
	if !slices.Contains(webhooks.Algorithms, webhooks.Algorithm(*name)) {
		return "", bad("algorithm is not v1 (HMAC-SHA256) or v1a (Ed25519)")
	}
	return webhooks.Algorithm(*name), nil
}

// readWebhook reads the body of a new endpoint. Without after it begins with what comes next.
func readWebhook(w http.ResponseWriter, r *http.Request, t string) (e webhooks.Endpoint, by webhooks.Algorithm, from *uint64, wrong *malformed) {
	var b webhookBody
	wrong = readBody(w, r, map[string]any{
		"url": &b.url, "description": &b.description, "types": &b.types, "ordered": &b.ordered, "algorithm": &b.algorithm, "after": &b.after,
	})
	if wrong == nil {
		wrong = b.check()
	}
	if wrong == nil {
		by, wrong = algorithm(b.algorithm)
	}
	if wrong == nil && b.url == nil {
		wrong = bad("url is missing; say where the events go")
	}
	if wrong == nil && b.after != nil {
		place, err := cursor(*b.after).sequence(t)
		if from = &place; err != nil {
			wrong = bad("after is not a cursor of this tenant's feed; \"\" begins with the oldest event")
		}
	}
	if wrong != nil {
		return e, by, nil, wrong
	}
	e = webhooks.Endpoint{Tenant: t, URL: *b.url}
	webhooks.Patch{Description: b.description, Types: b.types, Ordered: b.ordered}.Apply(&e)
	return e, by, from, nil
}

// postWebhook answers POST /v1/webhooks with 201; its secret is not shown again.
func (a *api) postWebhook(w http.ResponseWriter, r *http.Request) {
	p, t, ok := a.enterOperator(w, r)
	if !ok {
		return
	}
	e, by, from, wrong := readWebhook(w, r, t)
	if wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	e, secret, err := a.webhooks.Create(r.Context(), p.Subject, e, by, from)
	if err != nil {
		a.webhookRefused(w, r, err)
		return
	}
	w.Header().Set("Location", "/v1/webhooks/"+e.ID)
	a.answerWebhook(w, r, http.StatusCreated, e, viewOfSecret(e.Secrets[0], secret))
}

func (a *api) getWebhook(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, _ string) {
	a.answerWebhook(w, r, http.StatusOK, e)
}

// patchWebhook answers PATCH /v1/webhooks/{id}: members that are absent stay as they are.
func (a *api) patchWebhook(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, actor string) {
	var b webhookBody
	wrong := readBody(w, r, map[string]any{"url": &b.url, "description": &b.description, "types": &b.types, "ordered": &b.ordered, "state": &b.state})
	if wrong == nil {
		wrong = b.check()
	}
	if wrong == nil && b.state != nil && *b.state != string(webhooks.Enabled) && *b.state != string(webhooks.Paused) {
		wrong = bad("state is not enabled or paused; use DELETE to remove the webhook")
	}
	if wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	patch := webhooks.Patch{URL: b.url, Description: b.description, Types: b.types, Ordered: b.ordered, State: (*webhooks.State)(b.state)}
	e, err := a.webhooks.Change(r.Context(), e.Tenant, e.ID, actor, patch)
	if err != nil {
		a.webhookRefused(w, r, err)
		return
	}
	a.answerWebhook(w, r, http.StatusOK, e)
}

func (a *api) deleteWebhook(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, actor string) {
	if err := a.webhooks.Delete(r.Context(), e.Tenant, e.ID, actor); err != nil {
		a.webhookRefused(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

const (
	usualOverlap   = 24 * 60 * 60 // seconds
	longestOverlap = 30 * 24 * 60 * 60
)

// postSecret answers POST /v1/webhooks/{id}/secrets with 201 and another secret, shown once. The others
// sign for expireOthersIn seconds more.
func (a *api) postSecret(w http.ResponseWriter, r *http.Request, e webhooks.Endpoint, actor string) {
	var name *string
	var overlap *int
	wrong := readBody(w, r, map[string]any{"algorithm": &name, "expireOthersIn": &overlap})
	if overlap == nil {
		usual := usualOverlap
		overlap = &usual
	}
	if wrong == nil && (*overlap < 0 || *overlap > longestOverlap) {
		wrong = bad("expireOthersIn is not a number of seconds from 0 to %d", longestOverlap)
	}
	by := webhooks.HMAC
	if wrong == nil {
		by, wrong = algorithm(name)
	}
	if wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	s, shown, err := a.webhooks.AddSecret(r.Context(), e.Tenant, e.ID, actor, by, time.Duration(*overlap)*time.Second)
	if err != nil {
		a.webhookRefused(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	write(w, http.StatusCreated, "application/json", viewOfSecret(s, shown))
}

// webhookRefused answers why a webhook cannot be shown or changed.
func (a *api) webhookRefused(w http.ResponseWriter, r *http.Request, err error) {
	var where *webhooks.URLError
	switch {
	case errors.As(err, &where):
		problem(w, http.StatusUnprocessableEntity, "url-refused", fmt.Sprintf("url: %s; give a URL of the public internet by https", where.Reason))
	case errors.Is(err, webhooks.ErrNone):
		problem(w, http.StatusNotFound, "not-found", "the tenant has no such webhook")
	case errors.Is(err, webhooks.ErrTooMany):
		problem(w, http.StatusConflict, "too-many-webhooks", err.Error()+"; delete one")
	case errors.Is(err, webhooks.ErrSecrets):
		problem(w, http.StatusConflict, "too-many-secrets", err.Error()+"; wait until one expires, or send expireOthersIn 0")
	case errors.Is(err, webhooks.ErrBusy):
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusTooManyRequests, "too-many-requests", err.Error()+"; retry later")
	case errors.Is(err, webhooks.ErrNoEvent):
		problem(w, http.StatusNotFound, "no-event", "the tenant's feed has no such event")
	case errors.Is(err, bus.ErrFeedMoved), errors.Is(err, bus.ErrNoFeed):
		a.feedFailed(w, r, err)
	default:
		a.env.Log.WarnContext(r.Context(), "request about a webhook failed", "error", err)
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "unavailable", "whether it is done is not known; look, and send it again")
	}
}
