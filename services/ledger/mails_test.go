package ledger

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
)

func TestMailsAreAsTheirEventsSayInWhateverOrderTheseArrive(t *testing.T) {
	created := events.AccountCreated{Epoch: 1}
	sent := func(cause string) events.Event { return events.ActivationSent{Cause: cause, Attempts: 1} }
	failed := func(cause string) events.Event { return events.ActivationFailed{Cause: cause, Code: "SMTP_550"} }
	active := events.AccountActivated{RequestID: "r"}
	for name, test := range map[string]struct {
		history []events.Event
		mails   string
		last    string
	}{
		"none is asked for":              {[]events.Event{events.Requested{}}, "", ""},
		"the first is on its way":        {[]events.Event{created}, "created PENDING", mailPending},
		"the first is sent":              {[]events.Event{created, sent("created")}, "created SENT", mailSent},
		"the first has failed":           {[]events.Event{created, failed("created")}, "created FAILED", mailFailed},
		"another is on its way":          {[]events.Event{created, failed("created"), events.CodeIssued{K: 1}}, "created FAILED, code1 PENDING", mailPending},
		"the first ends after the other": {[]events.Event{created, events.CodeIssued{K: 2}, sent("code2"), failed("created")}, "created FAILED, code2 SENT", mailSent},
		"a refused resend is no mail":    {[]events.Event{created, sent("created"), events.ResendRefused{K: 1}}, "created SENT", mailSent},
		"an operator tried once more":    {[]events.Event{created, failed("created"), events.ActivationSent{Cause: "created", K: 1}}, "created SENT", mailSent},
		"active while one is on its way": {[]events.Event{created, sent("created"), events.CodeIssued{K: 1}, active}, "created SENT, code1 WITHDRAWN", mailWithdrawn},
		"a reminder":                     {[]events.Event{created, sent("created"), events.ReminderDue{}}, "created SENT, reminder PENDING", mailPending},
		"a notice is not the last":       {[]events.Event{created, sent("created"), active, events.NoticeDue{Day: "20260615"}, failed("notice20260615")}, "created SENT, notice20260615 FAILED", mailSent},
	} {
		t.Run(name, func(t *testing.T) {
			m := newReadModel(open(t))
			var records []events.Record
			for i, e := range test.history {
				data, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				records = append(records, events.Record{Subject: events.SubjectOf(acme, "r1", e), Event: e, Sequence: uint64(i + 1), Stored: noon, Data: data})
			}
			rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
			for _, r := range records {
				if err := until(t.Context(), m, r); err != nil {
					t.Fatal(err)
				}
			}
			stored, _, err := m.get(t.Context(), acme, "r1")
			if err != nil {
				t.Fatal(err)
			}
			var mails []string
			for _, mail := range messagesOf(stored.History, stored.Outcome) {
				mails = append(mails, fmt.Sprint(mail.cause, " ", mail.state))
			}
			if got := strings.Join(mails, ", "); got != test.mails || stored.Mail != test.last {
				t.Errorf("got %s, the last %s", got, stored.Mail)
			}
		})
	}
}
