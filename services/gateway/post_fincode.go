package gateway

import (
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/fincode"
)

func fincodeFail(w http.ResponseWriter, f *failure) {
	f.header(w)
	fincodeAnswer(w, f.status, fincode.Error(strings.ToUpper(strings.ReplaceAll(f.kind, "-", "_")), f.detail))
}

func fincodeAnswer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// postFincode answers POST /api/v6/services/usermanagement/register-customer with what became
// of the registration, or 202 where that takes longer than the tenant's time.
func (g *gateway) postFincode(w http.ResponseWriter, r *http.Request) {
	if s, ok := g.decodeFincode(w, r); ok {
		g.answerVendor(w, r, s, fincodeFail, func(history []events.Record) { fincodeOutcome(w, s, history) })
	}
}

// decodeFincode checks and decodes a request; where it cannot, it has answered.
func (g *gateway) decodeFincode(w http.ResponseWriter, r *http.Request) (submission, bool) {
	c, f := g.access.enterFincode(r)
	if f == nil {
		f = g.intakeOpen(r.Context(), c.tenant, true)
	}
	if f != nil {
		fincodeFail(w, f)
		return submission{}, false
	}
	body, f := readBody(w, r)
	if f != nil {
		fincodeFail(w, f)
		return submission{}, false
	}
	client, wrong := fincode.Headers(r.Header, c.tenant.Dialects.Fincode.Platform)
	if len(wrong) > 0 {
		fincodeAnswer(w, http.StatusBadRequest, fincode.Invalid(wrong))
		return submission{}, false
	}
	registration, password, err := fincode.Decode(body, fincode.Settings{
		AllowPlain: c.tenant.Dialects.Fincode.AllowPlain,
		Keys:       func() ([]*rsa.PrivateKey, error) { return g.env.Keys.RSAKeys(c.tenant.ID) },
	})
	if err != nil {
		g.fincodeMalformed(w, r, err)
		return submission{}, false
	}
	client.Platform, client.Address = registration.Client.Platform, g.access.address(r)
	registration.Client = client
	s, f := g.submissionOf(r, c, registration, password)
	if f != nil {
		fincodeFail(w, f)
		return submission{}, false
	}
	return s, true
}

func (g *gateway) fincodeMalformed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, fincode.ErrKeys) {
		g.env.Log.ErrorContext(r.Context(), "passwords cannot be decrypted; `usher keys rsa add` makes the tenant's key", "error", err)
		fincodeFail(w, unavailable("encrypted passwords cannot be read now; retry with the same Idempotency-Key"))
		return
	}
	status, body := fincode.Malformed(err)
	fincodeAnswer(w, status, body)
}

func fincodeOutcome(w http.ResponseWriter, s submission, history []events.Record) {
	rejected, _, refused := find[events.Rejected](history)
	_, _, created := find[events.AccountCreated](history)
	_, _, review := find[events.ReviewRequired](history)
	switch {
	case refused:
		status, body := fincode.Rejected(rejected.Violations, s.registration)
		fincodeAnswer(w, status, body)
	case created:
		fincodeAnswer(w, http.StatusOK, fincode.Success(s.id))
	case review:
		w.Header().Set("Location", statusPath(s.id))
		fincodeAnswer(w, http.StatusAccepted, fincode.InReview(s.id))
	case events.Fold(history).Status == events.StatusFailed:
		fincodeFail(w, unavailable("the registration is stored and will be completed; retry with the same Idempotency-Key"))
	default:
		w.Header().Set("Location", statusPath(s.id))
		fincodeAnswer(w, http.StatusAccepted, fincode.InProgress(s.id))
	}
}
