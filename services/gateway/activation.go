package gateway

import (
	"context"
	"crypto/hmac"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/native"
)

// activated is a right code's answer: when the account became active.
type activated struct{ at time.Time }

// decisionTime is how long an answer waits for accounts.
const decisionTime = 10 * time.Second

// refusals words why a code did not activate.
var refusals = map[string]*failure{
	events.WrongCode:               fail(http.StatusBadRequest, "wrong-code", "code is not right; check the mail"),
	events.CodeExpired:             fail(http.StatusGone, "code-expired", "code has expired; ask for a new mail"),
	events.CodeExpiredRegistration: fail(http.StatusGone, "registration-expired", "the registration was not activated in time; register again with a new Idempotency-Key"),

	events.CodeLocked: fail(http.StatusTooManyRequests, "code-locked", "too many wrong codes; ask for a new mail"),
}

// activate presents a code to accounts and waits for the decision. What the history decides
// already is answered without presenting it.
// password is the one that comes with the code, "" where none does.
func (g *gateway) activate(r *http.Request, t *tenant.Tenant, id, code, password string) (activated, *failure) {
	if code == "" || len(code) > 64 {
		return activated{}, fail(http.StatusBadRequest, "malformed", "code is required: the one in the mail")
	}
	request, f := g.activationRequest(r, t.ID, id)
	if f != nil {
		return activated{}, f
	}
	leave, f := g.presenting.enter(t.ID + "|" + id)
	if f != nil {
		return activated{}, f
	}
	defer leave()
	history, err := g.env.Bus.History(r.Context(), t.ID, id)
	if err != nil {
		return activated{}, g.intake.internal(r.Context(), err)
	}
	presented := events.ActivationRequested{RequestID: request, CodeHash: keys.HashCode(id, code)}
	if result, f, known := g.known(history, presented); known {
		return result, f
	}
	watch, err := g.watch(t.ID, id)
	if err != nil {
		return activated{}, g.intake.internal(r.Context(), err)
	}
	defer watch.stop()
	if f := g.present(r.Context(), t, id, history, presented, password); f != nil {
		return activated{}, f
	}
	history, decided := watch.until(r.Context(), decisionTime, func(h []events.Record) bool { return decisionOn(h, request) != nil })
	if !decided {
		return activated{}, unavailable("the activation is not decided yet; retry with the same Idempotency-Key")
	}
	return g.decided(history, request)
}

// present stores the request for an activation, with the password in the vault where one is needed.
// A client that goes away meanwhile leaves no password there that no stored request names.
func (g *gateway) present(ctx context.Context, t *tenant.Tenant, id string, history []events.Record, presented events.ActivationRequested, password string) (f *failure) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if presented.Vault, f = g.choose(ctx, t, id, history, password); f != nil {
		return f
	}
	err := g.env.Bus.Publish(ctx, t.ID, id, presented)
	if errors.Is(err, bus.ErrExists) {
		g.withdraw(ctx, t.ID, id, presented)
		return nil
	}
	if err != nil {
		return g.intake.internal(ctx, err)
	}
	return nil
}

// known answers for a code as far as the history does.
func (g *gateway) known(history []events.Record, presented events.ActivationRequested) (result activated, f *failure, known bool) {
	_, _, exists := find[events.AccountCreated](history)
	_, _, ended := find[events.Expired](history)
	by, at, active := find[events.AccountActivated](history)
	switch {
	case erasing(history):
		return activated{}, erasedAccount, true
	case !exists:
		return activated{}, fail(http.StatusConflict, "not-awaiting-activation", "the registration has no account to activate; read its status"), true
	case ended:
		return activated{}, refusals[events.CodeExpiredRegistration], true
	case decisionOn(history, presented.RequestID) != nil:
		result, f = g.decided(history, presented.RequestID)
		return result, f, true
	case active && hmac.Equal([]byte(hashOf(history, by.RequestID)), []byte(presented.CodeHash)):
		return activated{at.Stored.UTC()}, nil, true
	case active:
		return activated{}, refusals[events.WrongCode], true
	case hashOf(history, presented.RequestID) != "":
		return activated{}, nil, false // presented before and not decided yet
	case count(history, events.StepActivation) >= mostActivations:
		return activated{}, fail(http.StatusTooManyRequests, "too-many-tries", "too many codes were tried; register again"), true
	}
	f = triesClosed(history, time.Now())
	return activated{}, f, f != nil
}

// hashOf is the hash of the code that a request presented, or "".
func hashOf(history []events.Record, request string) string {
	for _, r := range history {
		if e, ok := r.Event.(events.ActivationRequested); ok && e.RequestID == request {
			return e.CodeHash
		}
	}
	return ""
}

// A registration is read by one request to the broker, which gives at most 1,024 events: what
// clients can add without end is refused before it is stored. Each activation brings two
// events, each resend three.
const (
	mostActivations = 200
	mostResends     = 60
)

// presenting bounds the codes presented for one registration at once, so that parallel ones
// cannot all pass a check that each of them would fail alone.
type presenting struct {
	mu   sync.Mutex
	open map[string]int
}

const mostPresenting = 4

func (p *presenting) enter(registration string) (leave func(), f *failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[registration] >= mostPresenting {
		return nil, tooMany("other codes of this registration are being checked; retry later", retryHint)
	}
	p.open[registration]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.open[registration]--; p.open[registration] == 0 {
			delete(p.open, registration)
		}
	}, nil
}

func count(history []events.Record, step events.Step) (n int) {
	for _, r := range history {
		if r.Subject.Step == step {
			n++
		}
	}
	return n
}

// activationRequest is the id of one presentation of a code: the same for the same
// idempotency key.
func (g *gateway) activationRequest(r *http.Request, tenant, id string) (string, *failure) {
	key, f := idempotencyKey(r)
	if f != nil {
		return "", f
	}
	if key != "" {
		key = "activation|" + id + "|" + key
	}
	request, err := g.env.Keys.RegistrationID(tenant, key)
	if err != nil {
		return "", g.intake.internal(r.Context(), err)
	}
	return request, nil
}

// decisionOn returns what accounts decided about a request, or nil. That another request has
// activated the account is no answer until that one's event tells when.
func decisionOn(history []events.Record, request string) events.Event {
	for _, r := range history {
		if r.Subject.Step != events.StepActivated || r.Subject.N != request {
			continue
		}
		refused, isRefused := r.Event.(events.ActivationRefused)
		if _, _, active := find[events.AccountActivated](history); isRefused && refused.Code == events.AlreadyActive && !active {
			return nil
		}
		return r.Event
	}
	return nil
}

func (g *gateway) decided(history []events.Record, request string) (activated, *failure) {
	if r, refused := refusalOf(history, request); refused.Code != "" && refused.Code != events.AlreadyActive {
		return activated{}, wordRefusal(refused, time.Since(r.Stored))
	}
	_, at, _ := find[events.AccountActivated](history)
	return activated{at.Stored.UTC()}, nil
}

// postActivation answers POST /v1/registrations/{id}/activation.
func (g *gateway) postActivation(w http.ResponseWriter, r *http.Request) {
	c, _, f := g.read(r)
	if f != nil {
		nativeFail(w, f)
		return
	}
	body, f := readBody(w, r)
	if f != nil {
		nativeFail(w, f)
		return
	}
	var request struct {
		Code     string `json:"code"`
		Password string `json:"password"`
	}
	if err := jsonbody.Decode(body, &request, jsonbody.RefuseUnknown()); err != nil {
		nativeProblem(w, native.Malformed(err))
		return
	}
	id := mux.Vars(r)["id"]
	result, f := g.activate(r, c.tenant, id, request.Code, request.Password)
	if f != nil {
		nativeFail(w, f)
		return
	}
	w.Header().Set("X-Registration-ID", id)
	writeJSON(w, http.StatusOK, map[string]any{"id": id, "status": events.StatusActivated, "activatedAt": result.at})
}

// postResend answers POST /v1/registrations/{id}/activation/resend. Of parallel requests one
// wins; the others hear 429.
func (g *gateway) postResend(w http.ResponseWriter, r *http.Request) {
	c, history, f := g.read(r)
	if f != nil {
		nativeFail(w, f)
		return
	}
	id, k := mux.Vars(r)["id"], count(history, events.StepResend)+1
	if f := resendClosed(history, k, time.Now()); f != nil {
		nativeFail(w, f)
		return
	}
	watch, err := g.watch(c.tenant.ID, id)
	if err != nil {
		nativeFail(w, g.intake.internal(r.Context(), err))
		return
	}
	defer watch.stop()
	err = g.env.Bus.Publish(r.Context(), c.tenant.ID, id, events.ResendRequested{K: k, Actor: c.Subject})
	if errors.Is(err, bus.ErrExists) {
		nativeFail(w, resendUnderWay)
		return
	}
	if err != nil {
		nativeFail(w, g.intake.internal(r.Context(), err))
		return
	}
	var decision events.Event
	watch.until(r.Context(), decisionTime, func(h []events.Record) bool {
		decision = resendDecision(h, k).Event
		return decision != nil
	})
	resendAnswer(w, id, decision)
}

// resendDecision is what accounts decided about resend k; its event is nil where that is not known yet.
func resendDecision(history []events.Record, k int) events.Record {
	for _, r := range history {
		if r.Subject.Step == events.StepCode && r.Subject.N == strconv.Itoa(k) {
			return r
		}
	}
	return events.Record{}
}

var resendUnderWay = tooMany("another resend is under way; retry later", retryHint)

// resendClosed tells why resend k of a registration is in vain, as far as the history does.
func resendClosed(history []events.Record, k int, now time.Time) *failure {
	if erasing(history) {
		return erasedAccount
	}
	if _, _, ended := find[events.Expired](history); ended {
		return refusals[events.CodeExpiredRegistration]
	}
	if _, _, exists := find[events.AccountCreated](history); !exists {
		return fail(http.StatusConflict, "not-awaiting-activation", "the registration has no account to activate; read its status")
	}
	return resendRefused(history, k, now)
}

// resendRefused answers without asking accounts where the history tells that resend k is in
// vain. While the one before is not decided none is asked for: else each click while accounts is down
// would take one of those that a registration has.
func resendRefused(history []events.Record, k int, now time.Time) *failure {
	last := resendDecision(history, k-1)
	if k > 1 && last.Event == nil {
		return resendUnderWay
	}
	if refused, ok := last.Event.(events.ResendRefused); ok {
		age := now.Sub(last.Stored)
		wait := time.Duration(refused.RetrySeconds)*time.Second - age
		if refused.Code == events.ResendClosed || wait > 0 && age < refusalStands {
			return wordResend(refused, wait)
		}
	}
	if k > mostResends {
		return tooMany("this registration had too many resends; register again", 24*time.Hour)
	}
	return nil
}

// refusalStands is how long a refused resend answers for the next ones, at most: accounts may
// see fit to allow one earlier than it said.
const refusalStands = time.Hour

func wordResend(refused events.ResendRefused, wait time.Duration) *failure {
	if refused.Code == events.ResendClosed {
		return fail(http.StatusConflict, "not-awaiting-activation", "the account is not waiting for its activation; read its status")
	}
	return tooMany("no further mail now ("+refused.Code+"); retry later", wait)
}

func resendAnswer(w http.ResponseWriter, id string, decision events.Event) {
	w.Header().Set("X-Registration-ID", id)
	if refused, ok := decision.(events.ResendRefused); ok {
		nativeFail(w, wordResend(refused, time.Duration(refused.RetrySeconds)*time.Second))
		return
	}
	w.Header().Set("Location", statusPath(id))
	writeJSON(w, http.StatusAccepted, map[string]any{"id": id, "statusUrl": statusPath(id)})
}
