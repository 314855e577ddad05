package notifier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/notifier/mail"
)

var mailSchema = store.Schema{Collection: "mails", Index: [][]string{{"registration"}, {"waits", "due"}}}

// State of a letter.
type state string

const (
	pending state = "PENDING"
	sent    state = "SENT"   // the server has taken it; it is never sent again
	refused state = "FAILED" // no server will take it, or its code expired while none did

	// withdrawn is a letter that nobody needs any more: a code of a later epoch replaced its own, or
	// the account is active or has ended. No event tells of it: the later letter's, account.activated
	// or registration.expired says more.
	withdrawn state = "WITHDRAWN"

	// erased is a tombstone: the person is to stay erased, whatever comes.
	erased state = "ERASED"
)

// letter is one mail of a registration, one for each cause.
type letter struct {
	Tenant       string `json:"tenant"`
	Registration string `json:"registration"`
	Cause        string `json:"cause"`
	Epoch        int    `json:"epoch"`
	Validity     int    `json:"validitySeconds"`
	State        state  `json:"state"`
	Attempts     int    `json:"attempts"`
	FirstTry     int64  `json:"firstTry,omitempty"` // when it was written; this and the next in Unix milliseconds
	NextTry      int64  `json:"nextTry,omitempty"`  // not before
	SentAt       int64  `json:"sentAt,omitempty"`
	Code         string `json:"code,omitempty"`      // why it failed
	Answer       string `json:"answer,omitempty"`    // the server's last, without its text
	Recipient    []byte `json:"recipient,omitempty"` // sealed; dropped when the registration is done
	ExpiresAt    int64  `json:"expiresAt,omitempty"` // of the account, in a reminder
	Vault        uint64 `json:"vault"`
	// Ended is how the registration ended, and the recipient was dropped with that; "" while it is open.
	Ended events.Outcome `json:"ended,omitempty"`
}

// fields of a letter that waits name its tenant, and when it is due.
func (l letter) fields() store.Fields {
	if l.State == pending {
		return store.Fields{"registration": l.Registration, "waits": l.Tenant, "due": l.NextTry}
	}
	return store.Fields{"registration": l.Registration}
}

func (l letter) id() string { return l.Registration + "/" + l.Cause }

func (l letter) kind() mail.Kind {
	switch {
	case l.Cause == causeReminder:
		return mail.Reminder
	case l.notice():
		return mail.Notice
	}
	return mail.Activation
}

// messageID is the same for every sending of this letter.
func (l letter) messageID() string { return l.Registration + "." + l.Cause + "@usher" }

// event tells how the letter ended; nil for nothing. Of one that is erased the caller tells.
func (l letter) event() events.Event {
	switch l.State {
	case refused:
		return events.ActivationFailed{Cause: l.Cause, Epoch: l.Epoch, MessageID: l.messageID(), Attempts: l.Attempts, Answer: l.Answer, Code: l.Code}
	case withdrawn, erased:
		return nil
	}
	return events.ActivationSent{Cause: l.Cause, Epoch: l.Epoch, MessageID: l.messageID(), Attempts: l.Attempts, Answer: l.Answer, Vault: l.Vault}
}

// fate decides, before a letter is sent, whether it still should be: pending if so. all are the
// registration's letters.
//
//	the account has ended                             withdrawn
//	the account is active, and no letter was marked   the first was sent: a code leaves in letters
//	                                                  only, so that one was taken and the mark lost
//	the account is active                             withdrawn
//	a code of a later epoch was issued                withdrawn
//	the code ran out, from its first mail on          refused, CODE_EXPIRED
func (l letter) fate(all []store.Stored[letter], now time.Time) (end state, code string) {
	active, replaced, anySent, ended := l.Recipient == nil, false, false, l.Ended == events.OutcomeExpired
	var since int64
	for _, other := range all {
		o := other.Value
		if o.notice() {
			continue
		}
		active = active || o.Cause == causeCreated && o.Recipient == nil
		ended = ended || o.Ended == events.OutcomeExpired
		replaced = replaced || o.Epoch > l.Epoch
		anySent = anySent || o.State == sent
		if o.Epoch == l.Epoch && o.SentAt > 0 && (since == 0 || o.SentAt < since) {
			since = o.SentAt
		}
	}
	switch {
	case ended:
		return withdrawn, ""
	case active && !anySent && l.Cause == causeCreated:
		return sent, ""
	case active, replaced:
		return withdrawn, ""
	case since > 0 && now.Sub(time.UnixMilli(since)) > time.Duration(l.Validity)*time.Second:
		return refused, events.CodeExpired
	}
	return pending, ""
}

// close ends a letter unsent. The recipient of the first is kept for later letters.
func (l *letter) close(end state, code string) {
	l.State, l.Code = end, code
	if l.Cause != causeCreated {
		l.Recipient = nil
	}
}

// recipient is all that a letter keeps of a person.
type recipient struct {
	Email string `json:"email"`
	Name  string `json:"name"`
	Phone string `json:"phone,omitempty"` // only where a webhook could need it
}

// recipientOf keeps of an applicant what the tenant's way of delivery can need; of a tenant that is not
// configured yet, all.
func (s *service) recipientOf(tenantID string, a events.Applicant) recipient {
	r := recipient{Email: a.Email, Name: a.GivenName, Phone: a.Phone}
	if t, known := s.config.Tenant(tenantID); known && t.Delivery.By != tenant.ByWebhook {
		r.Phone = ""
	}
	return r
}

func aad(tenant, registration string) string { return tenant + "|" + registration + "|recipient" }

func (s *service) seal(tenant, registration string, r recipient) ([]byte, error) {
	plain, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode recipient: %w", err)
	}
	return s.keys.Seal(keys.Data, tenant, aad(tenant, registration), plain)
}

func (s *service) open(l letter) (recipient, error) {
	var r recipient
	plain, err := s.keys.Open(keys.Data, l.Tenant, aad(l.Tenant, l.Registration), l.Recipient)
	if err != nil {
		return r, fmt.Errorf("open recipient: %w", err)
	}
	return r, json.Unmarshal(plain, &r)
}

func (s *service) lettersOf(ctx context.Context, registration string) ([]store.Stored[letter], error) {
	letters, _, err := s.mails.Find(ctx, store.Query{Where: store.Fields{"registration": registration}, Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("find letters: %w", err)
	}
	return letters, nil
}

// forget drops the recipient from every letter of a registration that has ended, from the first before it looks
// for others: whoever writes another looks at the first afterwards.
func (s *service) forget(ctx context.Context, registration string, ended events.Outcome) error {
	first, err := s.mails.Get(ctx, registration+"/"+causeCreated)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read first letter: %w", err)
	}
	if err == nil {
		if err := s.dropRecipient(ctx, first, ended); err != nil {
			return err
		}
	}
	letters, err := s.lettersOf(ctx, registration)
	if err != nil {
		return err
	}
	for _, l := range letters {
		if err := s.dropRecipient(ctx, l, ended); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) dropRecipient(ctx context.Context, l store.Stored[letter], ended events.Outcome) error {
	if l.Value.Recipient == nil {
		return nil
	}
	l.Value.Recipient, l.Value.Ended = nil, ended
	if _, err := s.mails.Update(ctx, l); err != nil {
		return fmt.Errorf("forget recipient: %w", err)
	}
	return nil
}
