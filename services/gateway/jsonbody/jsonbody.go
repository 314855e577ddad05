// Package jsonbody decodes JSON that comes from outside. It is stricter than encoding/json:
// what two readers could understand differently is refused, with the field and the mend.
package jsonbody

import (
	"fmt"
	"reflect"
	"unicode/utf8"
)

// Limits of a body. An object or array at the top has depth 1.
const (
	MaxBytes = 256 << 10
	MaxDepth = 32
	MaxItems = 1000 // of an array that the target names
)

// Problem is why a body was refused. Field is the path of the member, such as
// "applicant.addresses[0].city", empty for the body as a whole. Detail says what is wrong and
// what to send instead; it never holds a value of the body.
type Problem struct {
	Field  string
	Detail string
	// TooLarge marks a body above MaxBytes, which HTTP answers with its own status.
	TooLarge bool
}

// Error reads as a sentence: the field, then the detail.
func (p *Problem) Error() string {
	if p.Field == "" {
		return p.Detail
	}
	return p.Field + " " + p.Detail
}

// Option changes how Decode reads a body.
type Option func(*decoder)

// RefuseUnknown refuses members that the target does not name. Without it they are checked for
// well-formedness and ignored.
func RefuseUnknown() Option { return func(d *decoder) { d.refuseUnknown = true } }

// OnlyXML refuses text that XML 1.0 cannot hold, in members that the target names.
func OnlyXML() Option { return func(d *decoder) { d.xmlOnly = true } }

// Decode reads one JSON value into the struct that into points to. Members match `json` tags
// exactly, upper and lower case included. Targets are strings, booleans, int64, float64,
// structs, pointers, slices, maps with string keys and json.RawMessage; other target types
// panic, as the mistake is the programmer's. null leaves its target as it is.
//
// Refused are: more than MaxBytes, more than MaxDepth or MaxItems, duplicate names, invalid UTF-8, NUL also
// where it is escaped, lone surrogates (RFC 8259 section 8.2), text after the value, numbers out
// of range, wrong types and null as the whole body. The error is always a *Problem, the first one met.
func Decode(body []byte, into any, options ...Option) error {
	if len(body) > MaxBytes {
		return &Problem{Detail: fmt.Sprintf("the body must not be larger than %d KiB", MaxBytes>>10), TooLarge: true}
	}
	if !utf8.Valid(body) {
		return &Problem{Detail: "the body must be valid UTF-8"}
	}
	d := &decoder{body: body}
	for _, o := range options {
		o(d)
	}
	if p := d.document(reflect.ValueOf(into).Elem()); p != nil {
		return p
	}
	return nil
}

func (d *decoder) document(target reflect.Value) *Problem {
	d.space()
	if d.pos == len(d.body) {
		return &Problem{Detail: "the body is empty, send one JSON object"}
	}
	if d.peek() == 'n' {
		return &Problem{Detail: "the body must be one JSON object, not null"}
	}
	if p := d.value(target); p != nil {
		return p
	}
	d.space()
	if d.pos < len(d.body) {
		return &Problem{Detail: fmt.Sprintf("the body must end after its JSON value, but goes on at byte %d", d.pos+1)}
	}
	return nil
}
