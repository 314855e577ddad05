package fincode

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

// FieldError is one thing to mend. It never holds the value that was sent.
type FieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error reads as a sentence: the field, then the message.
func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

type failure struct {
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Errors  []FieldError `json:"errors"`
}

// Error renders an error answer.
func Error(code, message string, errs ...FieldError) []byte {
	return encode(failure{code, message, append([]FieldError{}, errs...)})
}

// Invalid renders a 400 for errors of which the client can mend every one.
func Invalid(errs []FieldError) []byte {
	return Error("VALIDATION_FAILED", "Validation failed", errs...)
}

// Malformed renders the error of Decode and the status it goes with: 400, or 413 for a body
// that is too large.
func Malformed(err error) (status int, body []byte) {
	var p *jsonbody.Problem
	var e *FieldError
	switch {
	case errors.As(err, &e) && e.Code == events.CodeRequired:
		return http.StatusBadRequest, Invalid([]FieldError{*e})
	case errors.As(err, &e):
		return http.StatusBadRequest, Error(e.Code, sentence(e), *e)
	case !errors.As(err, &p):
		return http.StatusBadRequest, Error(codeMalformed, "The body cannot be read")
	case p.TooLarge:
		return http.StatusRequestEntityTooLarge, Error("TOO_LARGE", p.Error())
	case p.Field == "":
		return http.StatusBadRequest, Error(codeMalformed, p.Error())
	}
	return http.StatusBadRequest, Error(codeMalformed, p.Error(), FieldError{p.Field, codeMalformed, p.Detail})
}

// sentence is the message at the top for an error that answers alone.
func sentence(e *FieldError) string {
	if e.Code == codeDecryption {
		return e.Message
	}
	return e.Field + " " + strings.ToLower(e.Message[:1]) + e.Message[1:]
}

// Rejected renders why a registration was turned down and the status it goes with: 409 where
// something is taken, 422 for a refusal or a reused key, else 400 with everything to mend.
func Rejected(violations []events.Violation, r events.Registration) (status int, body []byte) {
	var all []FieldError
	for _, v := range violations {
		switch v.Code {
		case events.CodeRefused:
			return refused()
		case events.CodeIdempotencyKeyReused:
			return http.StatusUnprocessableEntity, Error(v.Code, "Idempotency-Key was used for other content, send a new key")
		case events.CodeExpiredRegistration:
			return http.StatusUnprocessableEntity, Error(v.Code, "The registration with this Idempotency-Key was not activated in time, send a new key")
		case events.CodeDuplicateEmail, events.CodeDuplicateUsername, events.CodeDuplicateMember, events.CodeDuplicateNationalID:
			return http.StatusConflict, Error(v.Code, "Customer already exists", Errors(v, r)...)
		}
		all = append(all, Errors(v, r)...)
	}
	if len(all) == 0 {
		return refused()
	}
	return http.StatusBadRequest, Invalid(all)
}

// refused says no more on purpose.
func refused() (status int, body []byte) {
	return http.StatusUnprocessableEntity, Error(events.CodeRefused, "Registration could not be completed")
}

type customer struct {
	CustomerID string `json:"customerId"`
	Status     string `json:"status"`
	Message    string `json:"message"`
}

// Success renders the 200: the account exists and waits for its activation.
func Success(id string) []byte {
	return encode(customer{id, "PENDING_ACTIVATION", "Customer registered successfully"})
}

// InReview renders the 202 of a registration that a person has to decide.
func InReview(id string) []byte {
	return encode(customer{id, "PENDING_REVIEW", "Registration is under review"})
}

// InProgress renders the 202 of a registration without an outcome in time.
func InProgress(id string) []byte {
	return encode(customer{id, "REGISTRATION_PENDING", "Registration is accepted and in progress"})
}

// encode leaves <, > and & as they are: no answer is HTML. It cannot fail: the values it is
// given hold nothing that JSON lacks.
func encode(v any) []byte {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n"))
}
