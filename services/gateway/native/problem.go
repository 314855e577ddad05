package native

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Problem is an error answer as RFC 9457 has it.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
	// RetryAfter is in seconds: what the header of that name says where there is one.
	RetryAfter int `json:"retryAfter,omitempty"`
}

// FieldError is one thing to mend. It never holds the value that was sent.
type FieldError struct {
	Code   string `json:"code"`
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}

// NewProblem makes the problem of a status. kind is its lower-case name, the end of its type.
func NewProblem(status int, kind, detail string) Problem {
	return Problem{Type: "urn:usher:problem:" + kind, Title: http.StatusText(status), Status: status, Detail: detail}
}

// Malformed renders the error of Decode: 400, or 413 for a body that is too large.
func Malformed(err error) Problem {
	var p *jsonbody.Problem
	if !errors.As(err, &p) {
		return NewProblem(http.StatusBadRequest, "malformed", "The body cannot be read.")
	}
	if p.TooLarge {
		return NewProblem(http.StatusRequestEntityTooLarge, "too-large", sentence(p.Detail))
	}
	answer := NewProblem(http.StatusBadRequest, "malformed", sentence(p.Error()))
	answer.Errors = []FieldError{{Code: "MALFORMED", Field: p.Field, Detail: sentence(p.Error())}}
	return answer
}

// Rejected renders why a registration was turned down: 409 where something is taken, else 422.
func Rejected(violations []events.Violation) Problem {
	p := NewProblem(http.StatusUnprocessableEntity, "rejected", "The registration was turned down, see errors.")
	if slices.ContainsFunc(violations, isDuplicate) {
		p = NewProblem(http.StatusConflict, "duplicate", "The applicant is registered already, see errors.")
	}
	for _, v := range violations {
		p.Errors = append(p.Errors, FieldError{Code: v.Code, Field: fieldOf(v), Detail: detail(v)})
	}
	return p
}

// JSON returns the body of p.
func (p Problem) JSON() []byte { return encode(p) }

// Receipt answers for a registration that is stored.
type Receipt struct {
	ID         string        `json:"id"`
	Status     events.Status `json:"status"`
	StatusURL  string        `json:"statusUrl"`
	AcceptedAt time.Time     `json:"acceptedAt"`
}

// JSON returns the body of r.
func (r Receipt) JSON() []byte { return encode(r) }

// encode cannot fail: the types it is given hold nothing that JSON lacks.
func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(body, '\n')
}

func isDuplicate(v events.Violation) bool {
	return slices.Contains([]string{events.CodeDuplicateEmail, events.CodeDuplicateUsername,
		events.CodeDuplicateMember, events.CodeDuplicateNationalID}, v.Code)
}

// MediaTypeLines is the media type of a batch and of its answer.
const MediaTypeLines = "application/x-ndjson"

// Result answers for one line of a batch: with the id of what is stored, or with a problem.
type Result struct {
	Line    int           `json:"line"`
	ID      string        `json:"id,omitempty"`
	Status  events.Status `json:"status,omitempty"`
	Problem *Problem      `json:"problem,omitempty"`
}

// Stored is the result of a line whose registration is stored.
func Stored(line int, id string) Result {
	return Result{Line: line, ID: id, Status: events.StatusReceived}
}

// JSON returns r as one line.
func (r Result) JSON() []byte { return encode(r) }
