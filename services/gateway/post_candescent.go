package gateway

import (
	"context"
	"mime"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/candescent"
)

// candescentPath names the tenant by its institution id.
const candescentPath = "/registration/v4/fis/{fiId}/fiCustomers"

// candescentFail tells of an outage with 500, the only status the vendor has for one.
func candescentFail(w http.ResponseWriter, f *failure) {
	f.header(w)
	status, message := f.status, f.detail
	if status == http.StatusServiceUnavailable {
		status, message = http.StatusInternalServerError, candescent.Unavailable
	}
	candescentAnswer(w, status, candescent.Error(f.kind, message))
}

func candescentAnswer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// postCandescent answers with what became of the registration, or 202 where that takes longer
// than the tenant's time.
func (g *gateway) postCandescent(w http.ResponseWriter, r *http.Request) {
	if s, ok := g.decodeCandescent(w, r); ok {
		g.answerVendor(w, r, s, candescentNotStored, func(history []events.Record) {
			g.candescentAudit(r.Context(), s)
			candescentOutcome(w, s, history)
		})
	}
}

// candescentNotStored is candescentFail, but for a record that the store refuses.
func candescentNotStored(w http.ResponseWriter, f *failure) {
	if f.status == http.StatusRequestEntityTooLarge {
		candescentAnswer(w, http.StatusBadRequest, candescent.StoreRefused())
		return
	}
	candescentFail(w, f)
}

// candescentAudit logs an accepted registration under the vendor's name for it.
func (g *gateway) candescentAudit(ctx context.Context, s submission) {
	g.env.Log.InfoContext(ctx, s.audit.Event, "channelType", s.audit.ChannelType, "userProduct", s.audit.UserProduct,
		"tenant", s.tenant.ID, "registration", s.id)
}

// decodeCandescent checks and decodes a request; where it cannot, it has answered.
func (g *gateway) decodeCandescent(w http.ResponseWriter, r *http.Request) (submission, bool) {
	c, f := g.access.enterInstitution(r, mux.Vars(r)["fiId"], tenant.Channel)
	if f == nil {
		f = g.intakeOpen(r.Context(), c.tenant, true)
	}
	if f != nil {
		candescentFail(w, f)
		return submission{}, false
	}
	client, wrong := candescent.Headers(r.Header)
	if len(wrong) > 0 {
		candescentAnswer(w, http.StatusBadRequest, candescent.BadHeaders(wrong))
		return submission{}, false
	}
	decode, f := candescentDecoder(r.Header)
	if f != nil {
		candescentFail(w, f)
		return submission{}, false
	}
	body, f := readBeginning(w, r)
	if f != nil {
		candescentFail(w, f)
		return submission{}, false
	}
	registration, password, err := decode(body)
	if err != nil {
		status, answer := candescent.Malformed(err)
		candescentAnswer(w, status, answer)
		return submission{}, false
	}
	registration.Client = client
	registration.Client.Address = g.access.address(r)
	s, f := g.submissionOf(r, c, registration, password)
	if f != nil {
		candescentFail(w, f)
		return submission{}, false
	}
	s.audit = &candescent.Audit
	return s, true
}

// candescentDecoder is that of the request's media type; a body is UTF-8.
func candescentDecoder(h http.Header) (func([]byte) (events.Registration, string, error), *failure) {
	media, parameters, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if f := takes(media, h); f != nil {
		return nil, candescentMedia
	}
	if charset, named := parameters["charset"]; named && !strings.EqualFold(charset, "utf-8") {
		return nil, candescentMedia
	}
	switch media {
	case "application/json":
		return candescent.DecodeJSON, nil
	case "application/xml", "text/xml":
		return candescent.DecodeXML, nil
	}
	return nil, candescentMedia
}

var candescentMedia = fail(http.StatusUnsupportedMediaType, "unsupported-media-type",
	"send one header Content-Type: application/json or application/xml, in UTF-8, and the body without Content-Encoding")

func candescentOutcome(w http.ResponseWriter, s submission, history []events.Record) {
	view := candescent.View{InstitutionID: s.tenant.Dialects.Candescent.InstitutionID, Registration: s.registration}
	rejected, _, refused := find[events.Rejected](history)
	_, _, created := find[events.AccountCreated](history)
	_, _, review := find[events.ReviewRequired](history)
	switch {
	case refused:
		status, body := candescent.Rejected(rejected.Violations)
		candescentAnswer(w, status, body)
	case created:
		view.CustomerID = s.id
		candescentAnswer(w, http.StatusOK, candescent.Customer(view))
	case !review && events.Fold(history).Status == events.StatusFailed:
		candescentFail(w, unavailable("the registration is stored and will be completed"))
	default:
		w.Header().Set("Location", statusPath(s.id))
		candescentAnswer(w, http.StatusAccepted, candescent.Customer(view))
	}
}
