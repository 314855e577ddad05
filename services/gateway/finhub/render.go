package finhub

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

type failure struct {
	Code    int      `json:"code"`
	Message string   `json:"message"`
	Errors  []string `json:"errors"`
}

// Error renders an error answer. Without errors the message is the only one.
func Error(code int, message string, errs []string) []byte {
	if len(errs) == 0 {
		errs = []string{message}
	}
	return encode(failure{Code: code, Message: message, Errors: errs})
}

// Malformed renders the error of Decode and the status it goes with: 400, or 413 for a body
// that is too large.
func Malformed(err error) (status int, body []byte) {
	var p *jsonbody.Problem
	switch {
	case !errors.As(err, &p):
		return http.StatusBadRequest, Error(http.StatusBadRequest, "The body cannot be read", nil)
	case p.TooLarge:
		return http.StatusRequestEntityTooLarge, Error(http.StatusRequestEntityTooLarge, p.Error(), nil)
	}
	return http.StatusBadRequest, Error(http.StatusBadRequest, p.Error(), nil)
}

// Rejected renders why a registration was turned down and the status it goes with: 409 where
// something is taken, 422 for a refusal or a reused key, else 400. The first violation is the
// message.
func Rejected(violations []events.Violation, r events.Registration) (status int, body []byte) {
	var messages []string
	status = http.StatusBadRequest
	for i, v := range violations {
		if i == 0 {
			status = statusOf(v.Code)
		}
		if m := Message(v, r); !slices.Contains(messages, m) {
			messages = append(messages, m)
		}
	}
	if len(messages) == 0 {
		messages = []string{Message(events.Violation{Code: events.CodeRefused}, r)}
		status = http.StatusUnprocessableEntity
	}
	return status, Error(status, messages[0], messages)
}

func statusOf(code string) int {
	switch code {
	case events.CodeDuplicateEmail, events.CodeDuplicateUsername, events.CodeDuplicateMember, events.CodeDuplicateNationalID:
		return http.StatusConflict
	case events.CodeRefused, events.CodeIdempotencyKeyReused, events.CodeExpiredRegistration:
		return http.StatusUnprocessableEntity
	}
	return http.StatusBadRequest
}

// encode cannot fail: the types it is given hold nothing that JSON lacks.
func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return body
}
