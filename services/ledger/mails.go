package ledger

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/usherhq/usher/events"
)

// State of a message to an applicant.
const (
	mailPending   = "PENDING"   // asked for; the server has not taken it yet
	mailSent      = "SENT"      // taken by the server
	mailFailed    = "FAILED"    // no server will take it
	mailWithdrawn = "WITHDRAWN" // not sent, since nobody needs it any more
)

var mailStates = []string{mailPending, mailSent, mailFailed, mailWithdrawn}

// message is one mail as the events tell of it. Each has one cause: created, code<k>, reminder or
// notice<yyyymmdd>.
type message struct {
	cause string
	asked entry
	ended *entry // what became of it, by the last try of an operator
	state string
}

// messagesOf lists the mails of a registration in the order in which they were asked for. It decodes
// nothing, so that it can be part of each fold.
func messagesOf(history []entry, outcome events.Outcome) []message {
	sorted := slices.Clone(history)
	slices.SortFunc(sorted, func(a, b entry) int { return cmp.Compare(a.Sequence, b.Sequence) })
	var all []message
	ended := map[string]*entry{}
	for i, e := range sorted {
		if e.Step == events.StepMail {
			ended[e.N[:max(strings.LastIndexByte(e.N, '-'), 0)]] = &sorted[i]
			continue
		}
		if cause := causeOf(e); cause != "" {
			all = append(all, message{cause: cause, asked: e})
		}
	}
	for i := range all {
		all[i].ended = ended[all[i].cause]
		all[i].state = stateOf(all[i].ended, outcome)
	}
	return all
}

// causeOf is the cause of the mail that an event asks for, or "".
func causeOf(e entry) string {
	switch e.Type {
	case events.AccountCreated{}.Type():
		return "created"
	case events.CodeIssued{}.Type():
		return "code" + e.N
	case events.ReminderDue{}.Type():
		return "reminder"
	case events.NoticeDue{}.Type():
		return "notice" + e.N
	}
	return ""
}

func stateOf(ended *entry, outcome events.Outcome) string {
	switch {
	case ended == nil && outcome != "":
		return mailWithdrawn
	case ended == nil:
		return mailPending
	case ended.Type == events.ActivationSent{}.Type():
		return mailSent
	}
	return mailFailed
}

// lastMail is the state of the newest mail that has a code, or "".
func lastMail(history []entry, outcome events.Outcome) string {
	for _, m := range slices.Backward(messagesOf(history, outcome)) {
		if m.asked.Step != events.StepNotice {
			return m.state
		}
	}
	return ""
}

// mailView is a mail as operators see it.
type mailView struct {
	Registration string `json:"registration"`
	Cause        string `json:"cause"`
	State        string `json:"state"`
	// Attempts and Answer are known once the mail has ended: how often the server was tried, and its
	// last answer, code and enhanced code.
	Attempts  int        `json:"attempts,omitempty"`
	Answer    string     `json:"answer,omitempty"`
	Code      string     `json:"code,omitempty"` // why it failed
	MessageID string     `json:"messageId,omitempty"`
	AskedAt   time.Time  `json:"askedAt"`
	EndedAt   *time.Time `json:"endedAt,omitempty"`
}

func (m message) view(tenant, id string) mailView {
	v := mailView{Registration: id, Cause: m.cause, State: m.state, AskedAt: m.asked.Stored.UTC()}
	if m.ended == nil {
		return v
	}
	at := m.ended.Stored.UTC()
	v.EndedAt = &at
	r, err := m.ended.record(tenant, id)
	if err != nil {
		return v // of a newer version
	}
	switch e := r.Event.(type) {
	case events.ActivationSent:
		v.Attempts, v.Answer, v.MessageID = e.Attempts, e.Answer, e.MessageID
	case events.ActivationFailed:
		v.Attempts, v.Answer, v.MessageID, v.Code = e.Attempts, e.Answer, e.MessageID, e.Code
	}
	return v
}
