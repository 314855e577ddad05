package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/native"
)

func nativeFail(w http.ResponseWriter, f *failure) {
	f.header(w)
	nativeProblem(w, native.NewProblem(f.status, f.kind, f.detail))
}

func nativeProblem(w http.ResponseWriter, p native.Problem) {
	w.Header().Set("Content-Type", native.ProblemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.JSON())
}

// postNative answers POST /v1/registrations: 202 once the registration is stored, or, with
// Prefer: wait=N, its outcome within N seconds.
func (g *gateway) postNative(w http.ResponseWriter, r *http.Request) {
	c, f := g.access.enter(r, tenant.Channel)
	if f == nil {
		f = g.intakeOpen(r.Context(), c.tenant, c.tenant.Dialects.Native)
	}
	if f != nil {
		nativeFail(w, f)
		return
	}
	body, f := readBody(w, r)
	if f != nil {
		nativeFail(w, f)
		return
	}
	registration, password, err := native.Decode(body, native.Settings{})
	if err != nil {
		nativeProblem(w, native.Malformed(err))
		return
	}
	registration.Client = g.client(r)
	s, f := g.submissionOf(r, c, registration, password)
	if f != nil {
		nativeFail(w, f)
		return
	}
	prefer := preferenceOf(r)
	wait := prefer.within(0)
	a, f := g.submit(r.Context(), s, wait)
	if f != nil {
		nativeFail(w, f)
		return
	}
	defer a.stop()
	w.Header().Set("X-Registration-ID", s.id)
	w.Header().Set("Location", statusPath(s.id))
	prefer.header(w)
	nativeOutcome(w, s, a, a.outcome(r.Context(), wait))
}

func (g *gateway) client(r *http.Request) events.Client {
	return events.Client{Address: g.access.address(r), UserAgent: r.UserAgent()}
}

func statusPath(id string) string { return "/v1/registrations/" + id }

func nativeReceipt(w http.ResponseWriter, status int, id string, reached events.Status, a acceptance) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(native.Receipt{ID: id, Status: reached, StatusURL: statusPath(id), AcceptedAt: a.at}.JSON())
}

func nativeOutcome(w http.ResponseWriter, s submission, a acceptance, history []events.Record) {
	if erasing(history) {
		nativeFail(w, erasedUnder)
		return
	}
	if rejected, _, ok := find[events.Rejected](history); ok {
		nativeProblem(w, native.Rejected(rejected.Violations))
		return
	}
	state := events.Fold(history)
	if state.Status == "" {
		state.Status = events.StatusReceived
	}
	if _, _, ok := find[events.AccountCreated](history); ok {
		nativeReceipt(w, http.StatusCreated, s.id, state.Status, a)
		return
	}
	if state.Status == events.StatusFailed {
		nativeFail(w, unavailable("the registration is stored and will be completed; read its status"))
		return
	}
	nativeReceipt(w, http.StatusAccepted, s.id, state.Status, a)
}

// submissionOf gives a decoded registration the id of the request's idempotency key.
func (g *gateway) submissionOf(r *http.Request, c caller, registration events.Registration, password string) (submission, *failure) {
	key, f := idempotencyKey(r)
	if f != nil {
		return submission{}, f
	}
	return g.submission(r.Context(), c, registration, password, key)
}

// submission adds the facts of the password to a decoded registration.
func (g *gateway) submission(ctx context.Context, c caller, registration events.Registration, password, key string) (submission, *failure) {
	id, err := g.env.Keys.RegistrationID(c.tenant.ID, key)
	if err != nil {
		return submission{}, g.intake.internal(ctx, err)
	}
	registration.Password = passwords.Facts(password, registration, c.tenant, g.blocklist)
	return submission{tenant: c.tenant, registration: registration, password: password, id: id}, nil
}

// mostWaiting bounds the callers that wait at once. One more is answered 202 without waiting.
const mostWaiting = 4096

// submit stores a registration, watched from before it is published where the caller waits.
// The caller stops the acceptance.
func (g *gateway) submit(ctx context.Context, s submission, wait time.Duration) (acceptance, *failure) {
	a, err := g.begin(s, wait)
	if err != nil {
		return a, g.intake.internal(ctx, err)
	}
	at, f := g.intake.accept(ctx, s)
	if f != nil {
		a.stop()
	}
	a.at = at.UTC()
	return a, f
}

func (g *gateway) begin(s submission, wait time.Duration) (acceptance, error) {
	if wait == 0 {
		return acceptance{stop: func() {}}, nil
	}
	leave := func() { g.waiting.Add(-1) }
	if g.waiting.Add(1) > mostWaiting {
		return acceptance{stop: leave}, nil
	}
	w, err := g.watch(s.tenant.ID, s.id)
	if err != nil {
		leave()
		return acceptance{}, err
	}
	return acceptance{watch: w, stop: func() { w.stop(); leave() }}, nil
}
