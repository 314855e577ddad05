package gateway

import (
	"context"
	"errors"
	"net/http"

	"github.com/usherhq/usher/events"
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
		f = intakeOpen(c.tenant, c.tenant.Dialects.Native)
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
	registration.Client.Address, registration.Client.UserAgent = address(r), r.UserAgent()
	s, f := g.submission(r, c, registration, password)
	if f != nil {
		nativeFail(w, f)
		return
	}
	prefer := preferenceOf(r)
	a, f := g.submit(r.Context(), s, prefer.wait > 0)
	if f != nil {
		nativeFail(w, f)
		return
	}
	defer a.watch.stop()
	w.Header().Set("X-Registration-ID", s.id)
	w.Header().Set("Location", statusPath(s.id))
	prefer.header(w)
	if prefer.wait == 0 {
		nativeReceipt(w, http.StatusAccepted, s.id, events.StatusReceived, a)
		return
	}
	history, _ := a.watch.until(r.Context(), prefer.wait, answerable)
	nativeOutcome(w, s, a, history)
}

func statusPath(id string) string { return "/v1/registrations/" + id }

func nativeReceipt(w http.ResponseWriter, status int, id string, reached events.Status, a acceptance) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(native.Receipt{ID: id, Status: reached, StatusURL: statusPath(id), AcceptedAt: a.at}.JSON())
}

func nativeOutcome(w http.ResponseWriter, s submission, a acceptance, history []events.Record) {
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

// submission gives a decoded registration its id.
func (g *gateway) submission(r *http.Request, c caller, registration events.Registration, password string) (submission, *failure) {
	key, f := idempotencyKey(r)
	if f != nil {
		return submission{}, f
	}
	id, err := g.env.Keys.RegistrationID(c.tenant.ID, key)
	if err != nil {
		return submission{}, g.intake.internal(r.Context(), err)
	}
	return submission{tenant: c.tenant, registration: registration, password: password, id: id}, nil
}

// submit stores a registration, watched from before it is published where the caller waits.
// The caller stops the watch.
func (g *gateway) submit(ctx context.Context, s submission, wait bool) (acceptance, *failure) {
	a := acceptance{watch: &watcher{stop: func() {}}}
	if wait {
		w, err := g.watch(s.tenant.ID, s.id)
		if err != nil {
			return a, g.intake.internal(ctx, errors.Join(errors.New("watch registration"), err))
		}
		a.watch = w
	}
	at, f := g.intake.accept(ctx, s)
	if f != nil {
		a.watch.stop()
	}
	a.at = at.UTC()
	return a, f
}
