package gateway

import (
	"net/http"

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

// finhubPath is what the vendor's two paths differ in.
type finhubPath struct {
	lenient  bool // demand the fewest headers, whatever the tenant says
	success  func(finhub.View) []byte
	accepted func(finhub.View, finhub.Pending) []byte
}

var (
	// POST /api/v2.1/customer/individual/registration
	finhubSingular = finhubPath{false, finhub.Success, finhub.Accepted}
	// POST /api/v2.1/customers/individual/register
	finhubPlural = finhubPath{true, finhub.SmartSuccess, finhub.SmartAccepted}
)

// postFinHub answers with what became of the registration, or 202 where that takes longer than
// the tenant's time.
func (g *gateway) postFinHub(p finhubPath) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s, ok := g.decodeFinHub(w, r, p.lenient); ok {
			g.answerVendor(w, r, s, finhubFail, func(history []events.Record) { g.finhubOutcome(w, s, history, p) })
		}
	}
}

// decodeFinHub checks and decodes a request; where it cannot, it has answered.
func (g *gateway) decodeFinHub(w http.ResponseWriter, r *http.Request, lenient bool) (submission, bool) {
	c, f := g.access.enter(r, tenant.Channel)
	if f == nil {
		f = g.intakeOpen(r.Context(), c.tenant, c.tenant.Dialects.FinHub != nil)
	}
	if f != nil {
		finhubFail(w, f)
		return submission{}, false
	}
	client, missing := finhub.Headers(r.Header, lenient || c.tenant.Dialects.FinHub.LenientHeaders)
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

func (g *gateway) finhubOutcome(w http.ResponseWriter, s submission, history []events.Record, p finhubPath) {
	view, view200 := g.finhubView(s, history)
	rejected, _, refused := find[events.Rejected](history)
	_, _, review := find[events.ReviewRequired](history)
	switch {
	case refused:
		status, body := finhub.Rejected(rejected.Violations, s.registration)
		finhubAnswer(w, status, body)
	case view200:
		finhubAnswer(w, http.StatusOK, p.success(view))
	case review:
		w.Header().Set("Location", statusPath(s.id))
		finhubAnswer(w, http.StatusAccepted, p.accepted(view, finhub.InReview))
	case events.Fold(history).Status == events.StatusFailed:
		finhubFail(w, unavailable("the registration is stored and will be completed; retry with the same Idempotency-Key"))
	default:
		w.Header().Set("Location", statusPath(s.id))
		finhubAnswer(w, http.StatusAccepted, p.accepted(view, finhub.InProgress))
	}
}

// getHierarchy answers with the categories of the tenant, which the path may name again.
func (g *gateway) getHierarchy(render func(*tenant.Tenant) []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, f := g.access.enter(r, tenant.Channel, tenant.Operator)
		named, has := mux.Vars(r)["tenantId"]
		switch {
		case f != nil:
		case c.tenant.Dialects.FinHub == nil:
			f = fail(http.StatusForbidden, "dialect-disabled", "the tenant does not use this dialect")
		case has && named != c.tenant.ID:
			f = fail(http.StatusForbidden, "forbidden", "the path names another tenant than X-Tenant-ID")
		}
		if f != nil {
			finhubFail(w, f)
			return
		}
		finhubAnswer(w, http.StatusOK, render(c.tenant))
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

// postFinHubActivation answers POST /api/v2.1/customer/individual/{id}/activation; the id may
// have the prefix of the plural path.
func (g *gateway) postFinHubActivation(w http.ResponseWriter, r *http.Request) {
	r = mux.SetURLVars(r, map[string]string{"id": finhub.OwnCustomer(mux.Vars(r)["id"])})
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
	result, f := g.activate(r, c.tenant, mux.Vars(r)["id"], request.Code, "")
	if f != nil {
		finhubFail(w, f)
		return
	}
	finhubAnswer(w, http.StatusOK, finhub.Activated(result.at))
}
