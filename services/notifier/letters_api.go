package notifier

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// lettersAPI tells operators of letters that have not ended. No event does: a server's "not now" is
// nobody's fact, and a day of them would fill the feed. So whoever sends the letters answers.
type lettersAPI struct {
	*service
	guard *tenant.Guard
	live  *tenant.Live
}

// serve runs the reactions, and beside them the API where NOTIFIER_ADDR gives an address.
func (s *service) serve(ctx context.Context, env *app.Env, react func(context.Context) error) error {
	addr := env.Getenv("NOTIFIER_ADDR")
	if addr == "" {
		return react(ctx)
	}
	routes := http.NewServeMux()
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		routes.Handle(path, env.Ops)
	}
	a := &lettersAPI{s, tenant.NewGuard(env.Auth), env.Config}
	routes.HandleFunc("GET /v1/letters", a.getLetters)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return env.Serve(ctx, addr, routes) })
	group.Go(func() error { return react(ctx) })
	return group.Wait()
}

// letterView is a letter as operators see it: never to whom.
type letterView struct {
	Registration string     `json:"registration"`
	Cause        string     `json:"cause"`
	State        state      `json:"state"`
	Attempts     int        `json:"attempts"`
	Answer       string     `json:"answer,omitempty"` // the server's last
	Code         string     `json:"code,omitempty"`   // why it failed
	MessageID    string     `json:"messageId,omitempty"`
	WrittenAt    *time.Time `json:"writtenAt,omitempty"`
	NextTryAt    *time.Time `json:"nextTryAt,omitempty"` // of one that waits
	SentAt       *time.Time `json:"sentAt,omitempty"`
}

func (l letter) view() letterView {
	v := letterView{Registration: l.Registration, Cause: l.Cause, State: l.State, Attempts: l.Attempts, Answer: l.Answer, Code: l.Code, WrittenAt: moment(l.FirstTry), SentAt: moment(l.SentAt)}
	if l.State != erased {
		v.MessageID = l.messageID()
	}
	if l.State == pending {
		v.NextTryAt = moment(l.NextTry)
	}
	return v
}

// moment is nil for 0.
func moment(milliseconds int64) *time.Time {
	if milliseconds == 0 {
		return nil
	}
	at := time.UnixMilli(milliseconds).UTC()
	return &at
}

const longestPage = 500

// getLetters answers GET /v1/letters?registration=: all letters of one; without it, those of the tenant
// that wait, in the order in which they are due, by &limit= and &after=.
func (a *lettersAPI) getLetters(w http.ResponseWriter, r *http.Request) {
	t, ok := a.enter(w, r)
	if !ok {
		return
	}
	q := r.URL.Query()
	limit := 50
	if text := q.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > longestPage {
			problem(w, http.StatusBadRequest, "malformed", "limit is not a number from 1 to 500; mend it or leave it out")
			return
		}
	}
	query := store.Query{Where: store.Fields{"waits": t}, Order: "due", Limit: limit, After: q.Get("after")}
	if id := q.Get("registration"); id != "" {
		if !events.ValidToken(id) {
			problem(w, http.StatusBadRequest, "malformed", "registration is not an id")
			return
		}
		query.Where, query.Order = store.Fields{"registration": id}, ""
	}
	found, next, err := a.mails.Find(r.Context(), query)
	if errors.Is(err, store.ErrCursor) {
		problem(w, http.StatusBadRequest, "malformed", "after is not the next of a page before")
		return
	}
	if err != nil {
		a.log.WarnContext(r.Context(), "letters not read", "error", err)
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "unavailable", "the letters cannot be read now; retry later")
		return
	}
	views := []letterView{}
	for _, l := range found {
		if l.Value.Tenant == t {
			views = append(views, l.Value.view())
		}
	}
	answer := map[string]any{"letters": views}
	if next != "" {
		answer["next"] = next
	}
	write(w, http.StatusOK, "application/json", answer)
}

// enter finds the tenant of an operator's request; where it cannot, it has answered.
func (a *lettersAPI) enter(w http.ResponseWriter, r *http.Request) (id string, ok bool) {
	p, err := a.guard.Authenticate(r, a.live.Current())
	var tooOften *tenant.TooManyError
	switch {
	case errors.As(err, &tooOften):
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(tooOften.Wait.Seconds()))))
		problem(w, http.StatusTooManyRequests, "too-many-requests", "too many tokens that are not valid came from this address; retry later")
		return "", false
	case errors.Is(err, tenant.ErrUnavailable):
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "unavailable", "tokens cannot be checked now; retry later")
		return "", false
	case err != nil:
		w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
		problem(w, http.StatusUnauthorized, "unauthorized", "send one header Authorization: Bearer <token>")
		return "", false
	}
	id = r.Header.Get("X-Tenant-ID")
	if id == "" && len(p.Tenants) == 1 && p.Tenants[0] != tenant.AllTenants {
		id = p.Tenants[0]
	}
	if _, known := a.live.Tenant(id); !known || !p.Allows(id) || !p.Has(tenant.Operator, tenant.Admin) || len(r.Header.Values("X-Tenant-ID")) > 1 {
		problem(w, http.StatusForbidden, "forbidden", "the token does not allow the tenant of X-Tenant-ID, or has not the role operator")
		return "", false
	}
	return id, true
}

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
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}
