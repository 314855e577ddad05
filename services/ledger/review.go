package ledger

import (
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

var reviewSchema = store.Schema{
	Collection: "reviews",
	Index: [][]string{
		{"tenant", "openedAt"}, {"tenant", "state", "openedAt"}, {"tenant", "assignee", "openedAt"},
		{"tenant", "state", "assignee", "openedAt"}, {"registration"},
	},
}

// ReviewState is how it stands with a case.
type ReviewState string

// States of a case. All but the first are final.
const (
	ReviewOpen      ReviewState = "OPEN"
	ReviewApproved  ReviewState = "APPROVED"
	ReviewRejected  ReviewState = "REJECTED"
	ReviewWithdrawn ReviewState = "WITHDRAWN" // its registration is being erased
)

// ReviewStates lists them all.
var ReviewStates = []ReviewState{ReviewOpen, ReviewApproved, ReviewRejected, ReviewWithdrawn}

// review is one case: what risk asked and what became of it, from the events of the registration
// in whatever order they came, and what the reviewers added here.
type review struct {
	Tenant       string      `json:"tenant"`
	Registration string      `json:"registration"`
	Case         int         `json:"case"` // version that the decision has
	State        ReviewState `json:"state"`
	Asked        *asked      `json:"asked,omitempty"` // nil while only the decision has come; withdrawn, only when
	Decided      *decided    `json:"decided,omitempty"`
	Erased       bool        `json:"erased,omitempty"`
	Assignee     string      `json:"assignee,omitempty"`
	Notes        []note      `json:"notes,omitempty"`
}

type asked struct {
	At int64 `json:"at"` // Unix milliseconds, the stream's clock
	events.ReviewRequired
}

type decided struct {
	At int64 `json:"at"`
	events.ReviewDecided
}

// note is a reviewer's words, sealed: they may name the person.
type note struct {
	At     int64  `json:"at"`
	By     string `json:"by"`
	Sealed []byte `json:"sealed"`
}

func (r review) fields() store.Fields {
	f := store.Fields{"tenant": r.Tenant, "registration": r.Registration, "state": string(r.State), "assignee": r.Assignee, "openedAt": int64(0)}
	if r.Asked != nil {
		f["openedAt"] = r.Asked.At
	}
	return f
}

// settle derives the state. Of a case that is withdrawn it leaves when it was opened.
func (r *review) settle() {
	switch {
	case r.Erased:
		r.State, r.Decided, r.Assignee, r.Notes = ReviewWithdrawn, nil, "", nil
		if r.Asked != nil {
			r.Asked = &asked{At: r.Asked.At}
		}
	case r.Decided == nil:
		r.State = ReviewOpen
	case r.Decided.Approved:
		r.State = ReviewApproved
	default:
		r.State = ReviewRejected
	}
}

// decideBy is until when a person may decide; zero where the events do not tell.
func (r review) decideBy() time.Time {
	if r.Asked == nil || r.Asked.MaxReviewSeconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(r.Asked.At).UTC().Add(time.Duration(r.Asked.MaxReviewSeconds) * time.Second)
}
