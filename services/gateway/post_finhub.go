package gateway

import (
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/finhub"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

func finhubFail(w http.ResponseWriter, f *failure) {
	f.header(w)
	finhubAnswer(w, f.status, finhub.Error(f.status, f.detail, nil))
}

func finhubAnswer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// postFinHub answers POST /api/v2.1/customer/individual/registration with what became of the
// registration, or 202 where that takes longer than the tenant's time.
func (g *gateway) postFinHub(w http.ResponseWriter, r *http.Request) {
	s, ok := g.decodeFinHub(w, r)
	if !ok {
		return
	}
	prefer := preferenceOf(r)
	most := time.Duration(s.tenant.SyncTimeout)
	wait := min(prefer.within(most), most)
	a, f := g.submit(r.Context(), s, wait)
	if f != nil {
		finhubFail(w, f)
		return
	}
	defer a.stop()
	w.Header().Set("X-Registration-ID", s.id)
	prefer.header(w)
	g.finhubOutcome(w, s, a.outcome(r.Context(), wait))
}

// decodeFinHub checks and decodes a request; where it cannot, it has answered.
func (g *gateway) decodeFinHub(w http.ResponseWriter, r *http.Request) (submission, bool) {
	c, f := g.access.enter(r, tenant.Channel)
	if f == nil {
		f = g.intakeOpen(r.Context(), c.tenant, c.tenant.Dialects.FinHub != nil)
	}
	if f != nil {
		finhubFail(w, f)
		return submission{}, false
	}
	client, missing := finhub.Headers(r.Header, c.tenant.Dialects.FinHub.LenientHeaders)
	if len(missing) > 0 {
		finhubAnswer(w, http.StatusBadRequest, finhub.Error(http.StatusBadRequest, missing[0], missing))
		return submission{}, false
	}
	body, f := readBody(w, r)
	if f != nil {
		finhubFail(w, f)
		return submission{}, false
	}
	registration, password, err := finhub.Decode(body, finhub.Settings{FlatBody: c.tenant.Dialects.FinHub.FlatBody})
	if err != nil {
		status, answer := finhub.Malformed(err)
		finhubAnswer(w, status, answer)
		return submission{}, false
	}
	registration.Client = client
	registration.Client.Address = g.access.address(r)
	s, f := g.submissionOf(r, c, registration, password)
	if f != nil {
		finhubFail(w, f)
		return submission{}, false
	}
	return s, true
}

func (g *gateway) finhubOutcome(w http.ResponseWriter, s submission, history []events.Record) {
	view, view200 := g.finhubView(s, history)
	rejected, _, refused := find[events.Rejected](history)
	_, _, review := find[events.ReviewRequired](history)
	switch {
	case refused:
		status, body := finhub.Rejected(rejected.Violations, s.registration)
		finhubAnswer(w, status, body)
	case view200:
		finhubAnswer(w, http.StatusOK, finhub.Success(view))
	case review:
		w.Header().Set("Location", statusPath(s.id))
		finhubAnswer(w, http.StatusAccepted, finhub.Accepted(view, finhub.InReview))
	case events.Fold(history).Status == events.StatusFailed:
		finhubFail(w, unavailable("the registration is stored and will be completed; retry with the same Idempotency-Key"))
	default:
		w.Header().Set("Location", statusPath(s.id))
		finhubAnswer(w, http.StatusAccepted, finhub.Accepted(view, finhub.InProgress))
	}
}

// finhubView is what a FinHub answer shows; created reports whether the account exists.
func (g *gateway) finhubView(s submission, history []events.Record) (v finhub.View, created bool) {
	v = finhub.View{CustomerID: s.id, TenantID: s.tenant.ID, Registration: s.registration}
	v.UserID, _ = g.env.Keys.UserID(s.id) // the key has just made the registration's own id
	v.PersonID, _ = g.env.Keys.PersonID(s.id)
	if categorized, _, ok := find[events.Categorized](history); ok {
		v.Category, v.Features = categorized.Category, categorized.Features
	}
	_, stored, created := find[events.AccountCreated](history)
	v.CreatedAt, v.UpdatedAt = stored.Stored.UTC(), stored.Stored.UTC()
	return v, created
}

// postFinHubActivation answers POST /api/v2.1/customer/individual/{id}/activation.
func (g *gateway) postFinHubActivation(w http.ResponseWriter, r *http.Request) {
	c, history, f := g.read(r)
	if f != nil {
		finhubFail(w, f)
		return
	}
	body, f := readBody(w, r)
	if f != nil {
		finhubFail(w, f)
		return
	}
	var request struct {
		UserID string `json:"userId"`
		Code   string `json:"code"`
	}
	if err := jsonbody.Decode(body, &request); err != nil {
		status, answer := finhub.Malformed(err)
		finhubAnswer(w, status, answer)
		return
	}
	if !finhub.OwnUser(request.UserID, events.Fold(history).Carried.UserID) {
		finhubFail(w, fail(http.StatusNotFound, "not-found", "userId is not this customer's user"))
		return
	}
	result, f := g.activate(r, c.tenant, mux.Vars(r)["id"], request.Code)
	if f != nil {
		finhubFail(w, f)
		return
	}
	finhubAnswer(w, http.StatusOK, finhub.Activated(result.at))
}
