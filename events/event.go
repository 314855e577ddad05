package events

import (
	"errors"
	"fmt"
	"strings"
)

// Event is one fact about a registration, or about a tenant. No event carries a person: neither name, address,
// contact, birth date nor national id, nor a hash of one.
type Event interface {
	// Type is the constant wire name (ce-type). It never follows a Go name.
	Type() string
	// Step is the position in the history where the event stands. An event that can be the
	// outcome of several stages returns the one it was made for.
	Step() Step
	// N tells apart the events of one step; "1" where a step happens once.
	N() string
}

// Carried are the facts that every stage hands on to the next one.
type Carried struct {
	Channel  string `json:"channel"`           // native, finhub, fincode, candescent
	UserID   string `json:"userId"`            // ours, derived from the registration id
	PersonID string `json:"personId"`          // ours, derived from the registration id
	Vault    uint64 `json:"vault"`             // sequence of the sealed person in stream VAULT
	MAC      string `json:"requestMac"`        // keyed MAC of the whole decoded request, hex
	Config   string `json:"config"`            // version of the tenant configuration at receipt
	Dialect  string `json:"dialect,omitempty"` // variant of the channel, e.g. a second path of a vendor
}

// Subject is where an event stands: reg.<tenant>.<registration>.<step>.<n>, or, without a
// registration, tenant.<tenant>.<kind>.<n>. It is also the event's id (ce-id), so a fact can be
// stored only once.
type Subject struct {
	Tenant       string
	Registration string // empty: a fact about the tenant
	Step         Step
	N            string
}

// ErrSubject is returned for a subject that is neither a registration's nor a tenant's.
var ErrSubject = errors.New("not a subject of an event")

// ValidToken reports whether s can stand as a tenant, a registration or an n in a subject: 1 to
// 64 of A–Z, a–z, 0–9, _ and -.
func ValidToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

// SubjectOf returns where e of the given registration is stored.
func SubjectOf(tenant, registration string, e Event) Subject {
	return Subject{Tenant: tenant, Registration: registration, Step: e.Step(), N: e.N()}
}

func (s Subject) String() string {
	if s.Registration == "" {
		return "tenant." + s.Tenant + "." + string(s.Step) + "." + s.N
	}
	return "reg." + s.Tenant + "." + s.Registration + "." + string(s.Step) + "." + s.N
}

// Template is the subject without its ids: the low-cardinality name for spans and metrics.
func (s Subject) Template() string {
	if s.Registration == "" {
		return "tenant.{tenant}." + string(s.Step) + ".{n}"
	}
	return "reg.{tenant}.{registration}." + string(s.Step) + ".{n}"
}

// ParseSubject is the inverse of String. Its error wraps ErrSubject.
func ParseSubject(subject string) (Subject, error) {
	t := strings.Split(subject, ".")
	ofTenant := len(t) == 4 && t[0] == "tenant"
	if !ofTenant && (len(t) != 5 || t[0] != "reg") {
		return Subject{}, fmt.Errorf("%w: want reg.<tenant>.<registration>.<step>.<n> or tenant.<tenant>.<kind>.<n>", ErrSubject)
	}
	for _, part := range t[1:] {
		if !ValidToken(part) {
			return Subject{}, fmt.Errorf("%w: a token is not of A-Z a-z 0-9 _ -, 1 to 64 long", ErrSubject)
		}
	}
	if ofTenant {
		return Subject{Tenant: t[1], Step: Step(t[2]), N: t[3]}, nil
	}
	return Subject{t[1], t[2], Step(t[3]), t[4]}, nil
}
