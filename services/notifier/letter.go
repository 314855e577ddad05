package notifier

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
)

var mailSchema = store.Schema{Collection: "mails", Index: [][]string{{"registration"}}}

// State of a letter.
type state string

const (
	pending state = "PENDING"
	sent    state = "SENT"   // the server has taken it; it is never sent again
	refused state = "FAILED" // the server will never take it
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
	FirstTry     int64  `json:"firstTry,omitempty"`  // Unix milliseconds
	Code         string `json:"code,omitempty"`      // why it failed
	Recipient    []byte `json:"recipient,omitempty"` // sealed; dropped when the registration is done
	Vault        uint64 `json:"vault"`
}

func (l letter) fields() store.Fields { return store.Fields{"registration": l.Registration} }

func (l letter) id() string { return l.Registration + "/" + l.Cause }

// messageID is the same for every sending of this letter.
func (l letter) messageID() string { return l.Registration + "." + l.Cause + "@usher" }

func (l letter) event() events.Event {
	if l.State == refused {
		return events.ActivationFailed{Cause: l.Cause, Epoch: l.Epoch, MessageID: l.messageID(), Code: l.Code}
	}
	return events.ActivationSent{Cause: l.Cause, Epoch: l.Epoch, MessageID: l.messageID(), Vault: l.Vault}
}

// recipient is all that a letter keeps of a person.
type recipient struct {
	Email string `json:"email"`
	Name  string `json:"name"`
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

// forget drops the recipient from every letter of a registration.
func (s *service) forget(ctx context.Context, registration string) error {
	letters, _, err := s.mails.Find(ctx, store.Query{Where: store.Fields{"registration": registration}, Limit: 1000})
	if err != nil {
		return fmt.Errorf("find letters: %w", err)
	}
	for _, l := range letters {
		if l.Value.Recipient == nil {
			continue
		}
		l.Value.Recipient = nil
		if _, err := s.mails.Update(ctx, l); err != nil {
			return fmt.Errorf("forget recipient: %w", err)
		}
	}
	return nil
}
