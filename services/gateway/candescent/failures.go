package candescent

import (
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

type failures struct {
	XMLName xml.Name  `xml:"Errors"`
	Errors  []failure `xml:"Error"`
}

type failure struct {
	Code    string `xml:"errorCode"`
	Message string `xml:"errorMessage"`
	// Field names every place of the request that the code is about, with commas between them.
	Field string `xml:"field,omitempty"`
}

// Unavailable is the vendor's text for an outage.
const Unavailable = "Backend server does not respond, or some of the service is down."

// Error renders an answer about the request as a whole. kind is in lower-case words with hyphens.
func Error(kind, message string) []byte {
	return encode(failures{Errors: []failure{{Code: upper(kind), Message: message}}})
}

func upper(kind string) string { return strings.ToUpper(strings.ReplaceAll(kind, "-", "_")) }

// BadHeaders renders what Headers found.
func BadHeaders(found []HeaderProblem) []byte {
	var f failures
	for _, h := range found {
		f.Errors = append(f.Errors, failure{"MALFORMED", h.Message, h.Header})
	}
	return encode(f)
}

// Malformed renders the error of a decoder and the status it goes with: 400, or 413 for a body
// that is too large.
func Malformed(err error) (status int, body []byte) {
	var p *jsonbody.Problem
	switch {
	case !errors.As(err, &p):
		return http.StatusBadRequest, Error("malformed", "the body cannot be read")
	case p.TooLarge:
		return http.StatusRequestEntityTooLarge, Error("too-large", p.Error())
	}
	field := strings.TrimPrefix(p.Field, root+".")
	return http.StatusBadRequest, encode(failures{Errors: []failure{{"MALFORMED", p.Error(), field}}})
}

// StoreRefused renders that the store takes no such record.
func StoreRefused() (body []byte) {
	refused := codes[slices.IndexFunc(codes, func(c code) bool { return c.number == storeRefused })]
	return encode(failures{Errors: []failure{{Code: refused.number, Message: refused.printed}}})
}

// Rejected renders why a registration was turned down, in the order of the vendor's table, and
// the status it goes with: 409 for a person who is in progress or registered, which answers
// alone; 422 for a reused key; else 400.
func Rejected(violations []events.Violation) (status int, body []byte) {
	if len(violations) == 0 {
		violations = []events.Violation{{Code: events.CodeRefused}}
	}
	var all failures
	for _, c := range codes {
		if f, applies := c.failure(violations); applies {
			all.Errors = append(all.Errors, f)
		}
	}
	for _, f := range all.Errors {
		switch f.Code {
		case inProgress, alreadyRegistered:
			return http.StatusConflict, encode(failures{Errors: []failure{f}})
		case events.CodeIdempotencyKeyReused, events.CodeExpiredRegistration:
			return http.StatusUnprocessableEntity, encode(all)
		}
	}
	return http.StatusBadRequest, encode(all)
}

// failure tells once of all violations that the code is for. The printed text goes before ours.
func (c code) failure(violations []events.Violation) (f failure, applies bool) {
	var places []string
	for _, v := range violations {
		if !slices.Contains(numbers(v), c.number) {
			continue
		}
		if text := c.text(v); f.Message == "" || text == c.printed {
			f.Message = text
		}
		if v.Field != "" && !slices.Contains(places, v.Field) {
			places = append(places, v.Field)
		}
	}
	f.Code, f.Field = c.number, strings.Join(places, ", ")
	return f, f.Message != ""
}
