package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

var deliverySchema = store.Schema{Collection: "webhook_deliveries", Index: [][]string{
	{"endpoint", "at"}, {"endpoint", "state", "at"}, {"endpoint", "nextAt"}, {"registration", "at"}, {"expiresAt"},
}}

// Outcome is what has become of a delivery.
type Outcome string

// Outcomes of a delivery.
const (
	Pending   Outcome = "pending"
	Delivered Outcome = "delivered"
	Failed    Outcome = "failed" // given up; a replay sends it again
)

// Outcomes lists them.
var Outcomes = []Outcome{Pending, Delivered, Failed}

// Delivery is one event for one endpoint: an entry of its log and, while pending, what is still to
// be done. Times are Unix milliseconds.
type Delivery struct {
	Endpoint string    `json:"endpoint"`
	Sequence uint64    `json:"sequence"` // of the event in the tenant's feed
	Event    string    `json:"event"`    // its id
	Type     string    `json:"type"`
	State    Outcome   `json:"state"`
	Attempts []Attempt `json:"attempts"` // the last of them
	Tries    int       `json:"tries"`    // since it began, or was asked for anew
	Began    int64     `json:"began"`    // the first of these tries
	At       int64     `json:"at"`       // of the newest attempt, or when it was asked for
	NextAt   int64     `json:"nextAt,omitempty"`
}

// Attempt is one request and its answer.
type Attempt struct {
	At       int64  `json:"at"`
	Duration int64  `json:"duration"`         // milliseconds
	Status   int    `json:"status,omitempty"` // of HTTP; 0 where there was no answer
	Error    string `json:"error,omitempty"`  // in words; empty where it was delivered
	outcome  string // for metrics
	answer   string // the beginning of the answer's body
	// retryAfter is when the receiver wants to be asked again; zero where it does not say.
	retryAfter time.Time
}

func (a Attempt) ok() bool { return a.Error == "" }

// How long deliveries stay in the log.
const (
	keepDelivered = 24 * time.Hour
	keepFailed    = 30 * 24 * time.Hour
)

func (d Delivery) fields() store.Fields {
	f := store.Fields{"endpoint": d.Endpoint, "state": string(d.State), "at": d.At}
	if about, err := events.ParseSubject(d.Event); err == nil && about.Registration != "" {
		f["registration"] = registrationField(about.Tenant, about.Registration)
	}
	switch d.State {
	case Pending:
		f["nextAt"] = d.NextAt
	case Delivered:
		f["expiresAt"] = d.At + keepDelivered.Milliseconds()
	default:
		f["expiresAt"] = d.At + keepFailed.Milliseconds()
	}
	return f
}

func registrationField(tenant, registration string) string { return tenant + "." + registration }

func deliveryID(endpoint string, sequence uint64) string {
	return fmt.Sprintf("%s.%020d", endpoint, sequence)
}

// took adds an attempt. What was done with begins anew.
func (d *Delivery) took(a Attempt) {
	if d.State != Pending {
		d.Tries = 0
	}
	if d.Tries++; d.Tries == 1 {
		d.Began = a.At
	}
	d.Attempts = append(d.Attempts, a)
	d.Attempts = d.Attempts[max(0, len(d.Attempts)-mostAttempts):]
	d.At, d.State, d.NextAt = a.At, Delivered, 0
	if !a.ok() {
		d.State, d.NextAt = Pending, nextTry(d.Tries, a).UnixMilli()
	}
}

// change edits the delivery of an event, or makes it.
func change(ctx context.Context, docs *store.Docs[Delivery], made Delivery, edit func(*Delivery)) (Delivery, error) {
	id := deliveryID(made.Endpoint, made.Sequence)
	first := made
	edit(&first)
	for range changeTries {
		s, inserted, err := docs.InsertOrGet(ctx, id, first)
		if inserted || err != nil {
			return s.Value, err
		}
		edit(&s.Value)
		if s, err = docs.Update(ctx, s); !errors.Is(err, store.ErrConflict) {
			return s.Value, err
		}
	}
	return Delivery{}, errContention
}
