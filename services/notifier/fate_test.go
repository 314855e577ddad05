package notifier

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/services/notifier/mail"
)

var errNotNow = fmt.Errorf("greylisted: %w", mail.ErrTemporary)

// isLater reports whether err parks a message.
func isLater(err error) bool { return err != nil && err.Error() == bus.Later(time.Time{}).Error() }

func TestALetterParkedForDaysBringsNoDeadCode(t *testing.T) {
	type outcome struct {
		state state
		event string // type and code
	}
	for name, c := range map[string]struct {
		epochOfFirst int
		meanwhile    func(w *world)
		want         outcome
	}{
		"its code still works":                  {1, func(w *world) { w.now = w.now.Add(time.Hour) }, outcome{sent, "activation.sent "}},
		"its code ran out since the first mail": {1, func(w *world) { w.now = w.now.Add(25 * time.Hour) }, outcome{refused, "activation.failed CODE_EXPIRED"}},
		"a later epoch replaced its code": {1, func(w *world) {
			w.now = w.now.Add(time.Hour)
			_, _ = w.issued(2, 2)
		}, outcome{withdrawn, ""}},
		"the account is active": {1, func(w *world) {
			w.now = w.now.Add(time.Hour)
			w.activated()
		}, outcome{withdrawn, ""}},
		"the account has ended": {1, func(w *world) {
			w.now = w.now.Add(time.Hour)
			w.ended()
		}, outcome{erased, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.created(); err != nil {
				t.Fatal(err)
			}
			w.server.answer = errNotNow
			if _, err := w.issued(1, c.epochOfFirst); !isLater(err) {
				t.Fatalf("not parked: %v", err)
			}
			c.meanwhile(w)
			w.server.answer = nil
			e, err := w.issued(1, c.epochOfFirst)
			if err != nil {
				t.Fatal(err)
			}
			got := outcome{state: w.stored("code1").Value.State}
			switch e := e.(type) {
			case events.ActivationSent:
				got.event = e.Type() + " "
			case events.ActivationFailed:
				got.event = e.Type() + " " + e.Code
			}
			if got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if mails := len(w.server.taken); (mails == 2) != (c.want.state == sent) {
				t.Errorf("%d mails were sent", mails)
			}
		})
	}
}

func TestAResendThatRacesWithTheActivationMailsNobodyAndKeepsNoRecipient(t *testing.T) {
	w := newWorld(t)
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	first := w.stored("created")
	w.activated()
	// The resend read the first letter before the activation and writes its own after it.
	l := letter{Tenant: cloudVault, Registration: "r1", Cause: "code1", Epoch: 1, Validity: 86400, State: pending, Recipient: first.Value.Recipient, FirstTry: w.now.UnixMilli()}
	e, err := w.handle(t.Context(), l.id(), func() (store.Stored[letter], error) {
		stored, _, err := w.mails.InsertOrGet(t.Context(), l.id(), l)
		return stored, err
	})
	if e != nil || err != nil || len(w.server.taken) != 1 {
		t.Errorf("%v, %v, %d mails", e, err, len(w.server.taken))
	}
	if w.stored("code1").Value.Recipient != nil {
		t.Error("the recipient is kept")
	}
}

func TestAnActivationMeansThatAMailWasTakenThoughItsMarkIsLost(t *testing.T) {
	w := newWorld(t)
	w.server.answer = errNotNow // taken, and the answer was lost
	if _, err := w.created(); !isLater(err) {
		t.Fatal(err)
	}
	w.activated()
	w.now = w.now.Add(time.Hour)
	e, err := w.created()
	if told, ok := e.(events.ActivationSent); err != nil || !ok || told.Vault != 7 {
		t.Errorf("%v, %v", e, err)
	}
}

func TestAMessageThatComesTooEarlyOrTwiceIsNoOtherMail(t *testing.T) {
	w := newWorld(t)
	w.server.answer = errNotNow
	if _, err := w.created(); !isLater(err) {
		t.Fatal(err)
	}
	w.server.answer = nil
	if _, err := w.created(); !isLater(err) || len(w.server.taken) != 0 {
		t.Errorf("before its time: %v, %d mails", err, len(w.server.taken))
	}
	w.now = w.now.Add(time.Minute)
	w.server.meanwhile = func() {
		if e, err := w.created(); e != nil || !errors.Is(err, errInHand) {
			t.Errorf("delivered again while it is handled: %v, %v", e, err)
		}
	}
	if _, err := w.created(); err != nil || len(w.server.taken) != 1 {
		t.Errorf("%v, %d mails", err, len(w.server.taken))
	}
}

func TestAMarkThatFailsIsRepeatedAndNotTheMail(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.server.meanwhile = cancel // the store refuses the mark
	e := events.AccountCreated{Carried: events.Carried{Vault: 7}, Epoch: 1, ValiditySeconds: 86400}
	in := bus.In[events.AccountCreated]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e}
	if _, err := w.onAccountCreated(ctx, in); err == nil {
		t.Fatal("the mark did not fail")
	}
	if out, err := w.created(); err != nil || out == nil || len(w.server.taken) != 1 || w.stored("created").Value.State != sent {
		t.Errorf("%v, %v, %d mails", out, err, len(w.server.taken))
	}
	// Whoever drops the recipient while the mail is sent does not repeat it either.
	w = newWorld(t)
	w.server.meanwhile = w.activated
	if out, err := w.created(); err != nil || out == nil || len(w.server.taken) != 1 {
		t.Errorf("%v, %v, %d mails", out, err, len(w.server.taken))
	}
}

func TestWaitingForAPlaceIsNoTry(t *testing.T) {
	w := newWorld(t)
	w.server.answer = &mail.BusyError{At: w.now.Add(time.Minute)}
	if _, err := w.created(); !isLater(err) {
		t.Fatal(err)
	}
	if l := w.stored("created").Value; l.Attempts != 0 || l.NextTry != w.now.Add(time.Minute).UnixMilli() {
		t.Errorf("%d attempts, next at %d", l.Attempts, l.NextTry)
	}
	w.now = w.now.Add(giveUpAfter + time.Minute)
	if e, err := w.created(); err != nil || e.(events.ActivationFailed).Code != "NOT_DELIVERED_IN_TIME" {
		t.Errorf("after three days without a place: %v, %v", e, err)
	}
}

func TestALetterOfATenantThatIsNotConfiguredIsParkedAtOnce(t *testing.T) {
	w := newWorld(t)
	e := events.AccountCreated{Carried: events.Carried{Vault: 7}, Epoch: 1, ValiditySeconds: 86400}
	in := bus.In[events.AccountCreated]{Record: events.Record{Subject: events.SubjectOf("nobody", "r1", e), Event: e}, Data: e}
	if _, err := w.onAccountCreated(t.Context(), in); !isLater(err) {
		t.Errorf("got %v", err)
	}
}

func TestAFirstLetterThatNoServerTookIsNotToldAsSentWhenTheAccountEnds(t *testing.T) {
	w := newWorld(t)
	w.server.answer = errNotNow
	if _, err := w.created(); !isLater(err) {
		t.Fatalf("not parked: %v", err)
	}
	w.now = w.now.Add(time.Hour)
	w.ended()
	w.server.answer = nil
	if e, err := w.created(); e != events.StillErased(events.Notifier, 7) || err != nil {
		t.Errorf("got %v, %v", e, err)
	}
	if l := w.stored("created").Value; l.State != erased || l.Recipient != nil || len(w.server.taken) != 0 {
		t.Errorf("the letter is %s, %d mails", l.State, len(w.server.taken))
	}
}

func TestAReminderGoesToTheRecipientOfTheFirstLetterAndSaysWhenTheAccountEnds(t *testing.T) {
	w := newWorld(t)
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	e := events.ReminderDue{Epoch: 2, ValiditySeconds: 3600, ExpiresAt: w.now.Add(time.Hour)}
	in := bus.In[events.ReminderDue]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e}
	for range 2 {
		out, err := w.onReminderDue(t.Context(), in)
		if told, ok := out.(events.ActivationSent); err != nil || !ok || told.N() != "reminder-0" || told.Epoch != 2 {
			t.Fatalf("got %v, %v", out, err)
		}
	}
	if n := len(w.server.taken); n != 2 {
		t.Fatalf("%d mails", n)
	}
	first, reminder := w.server.taken[0], w.server.taken[1]
	if reminder.Kind != mail.Reminder || reminder.To != first.To || reminder.Code == first.Code || !reminder.ExpiresAt.Equal(e.ExpiresAt) || reminder.Hours() != 1 {
		t.Error("the reminder is not one to the same person")
	}
	w.ended()
	if out, err := w.issued(1, 2); out != nil || err != nil {
		t.Errorf("after the end: %v, %v", out, err)
	}
}

func TestANoticeIsSentOnceToTheOwnerWhoseAccountIsActiveAndForgotten(t *testing.T) {
	w := newWorld(t)
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	w.activated()
	e := events.NoticeDue{Day: "20260615", Vault: 9}
	in := bus.In[events.NoticeDue]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e}
	w.server.answer = errNotNow
	if _, err := w.onNoticeDue(t.Context(), in); !isLater(err) || w.stored("notice20260615").Value.Recipient == nil {
		t.Fatalf("not parked: %v", err)
	}
	w.server.answer, w.now = nil, w.now.Add(time.Hour)
	for range 2 {
		out, err := w.onNoticeDue(t.Context(), in)
		if told, ok := out.(events.ActivationSent); err != nil || !ok || told.N() != "notice20260615-0" || told.Vault != 9 {
			t.Fatalf("got %v, %v", out, err)
		}
	}
	if n := len(w.server.taken); n != 2 || w.server.taken[1].Kind != mail.Notice || w.server.taken[1].Code != "" || w.server.taken[1].Link != "" {
		t.Errorf("%d mails, or one that has a code", n)
	}
	if w.stored("notice20260615").Value.Recipient != nil {
		t.Error("the recipient is kept")
	}
}
