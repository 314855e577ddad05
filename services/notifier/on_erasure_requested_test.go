package notifier

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/notifier/mail"
)

// captured are the registrations whose captured mails were asked to be forgotten.
type captured []string

func (c *captured) Forget(_ context.Context, registration string) error {
	*c = append(*c, registration)
	return nil
}

func (w *world) erase() (events.Event, error) {
	e := events.ErasureRequested{Actor: "admin"}
	return w.onErasureRequested(w.t.Context(), bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e})
}

func (w *world) mustErase() {
	w.t.Helper()
	for range 2 {
		if out, err := w.erase(); err != nil || out != events.ErasedBy(events.Notifier) {
			w.t.Fatalf("got %v, %v", out, err)
		}
	}
}

func (w *world) checkTombstone(cause string) {
	w.t.Helper()
	if got, want := w.stored(cause).Value, (letter{Tenant: cloudVault, Registration: "r1", Cause: cause, State: erased}); !reflect.DeepEqual(got, want) {
		w.t.Errorf("of the letter %s is left %+v", cause, got)
	}
}

func TestErasedLettersStayErasedAndAreSentNoMore(t *testing.T) {
	w := newWorld(t)
	var forgotten captured
	w.captures = &forgotten
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.issued(1, 1); err != nil {
		t.Fatal(err)
	}
	w.mustErase()
	w.checkTombstone("created")
	w.checkTombstone("code1")
	if len(forgotten) == 0 || forgotten[0] != "r1" {
		t.Errorf("captures of %v were forgotten", forgotten)
	}
	taken := len(w.server.taken)
	if e, err := w.created(); err != nil || e != events.StillErased(events.Notifier, 7) {
		t.Errorf("account.created that comes again gives %v, %v", e, err)
	}
	for k := 1; k <= 2; k++ {
		if e, err := w.issued(k, 1); err != nil || e != nil {
			t.Errorf("code %d that comes again gives %v, %v", k, e, err)
		}
	}
	if len(w.server.taken) != taken {
		t.Error("a mail was sent to who is erased")
	}
}

func TestAMailThatWaitsIsNotSentAfterAnErasure(t *testing.T) {
	w := newWorld(t)
	w.server.answer = mail.ErrTemporary
	if _, err := w.created(); err == nil {
		t.Fatal("the mail does not wait")
	}
	w.mustErase()
	w.server.answer, w.now = nil, w.now.Add(giveUpAfter/2)
	if e, err := w.created(); err != nil || e != events.StillErased(events.Notifier, 7) || len(w.server.taken) != 0 {
		t.Errorf("got %v, %v and %d mails", e, err, len(w.server.taken))
	}
}

func TestAnErasureWaitsForTheMailThatIsOnItsWay(t *testing.T) {
	w := newWorld(t)
	var forgotten captured
	w.captures = &forgotten
	w.server.meanwhile = func() {
		if _, err := w.erase(); !errors.Is(err, errInHand) || len(forgotten) > 0 {
			t.Errorf("while the mail is handed over: %v, %d forgotten", err, len(forgotten))
		}
	}
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	w.mustErase()
	w.checkTombstone("created")
}

func TestARegistrationThatIsErasedBeforeItsFirstMailGetsNone(t *testing.T) {
	w := newWorld(t)
	w.mustErase()
	if e, err := w.created(); err != nil || e != events.StillErased(events.Notifier, 7) || len(w.server.taken) != 0 {
		t.Errorf("got %v, %v and %d mails", e, err, len(w.server.taken))
	}
}

func TestAnErasureUnderAnotherTenantLeavesTheLettersAlone(t *testing.T) {
	w := newWorld(t)
	var forgotten captured
	w.captures = &forgotten
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	before := w.stored("created").Value
	w.documents = store.NewMemory()
	e := events.ErasureRequested{Actor: "admin"}
	in := bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf("another", "r1", e), Event: e}, Data: e}
	if out, err := w.onErasureRequested(t.Context(), in); err != nil || out != nil {
		t.Errorf("got %v, %v", out, err)
	}
	if after := w.stored("created").Value; !reflect.DeepEqual(before, after) || len(forgotten) > 0 {
		t.Errorf("of the letter is left %+v; captures of %v were forgotten", after, forgotten)
	}
}

// nobody is a vault that holds nobody.
type nobody struct{ onePerson }

func (nobody) Get(context.Context, string, string, uint64) (vault.Entry, error) {
	return vault.Entry{}, vault.ErrMissing
}

func TestNoNoticeIsSentToAnErasedOwner(t *testing.T) {
	e := events.NoticeDue{Day: "20260615", Vault: 9}
	due := bus.In[events.NoticeDue]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e}
	for name, test := range map[string]struct {
		waits bool // the notice waits for its server when the owner is erased
		gone  bool // its entry of the vault is, when it comes
	}{
		"who is erased when it comes":                    {},
		"whose entry of the vault is gone when it comes": {gone: true},
		"who is erased while it waits for its server":    {waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.created(); err != nil {
				t.Fatal(err)
			}
			w.activated()
			taken := len(w.server.taken)
			if test.waits {
				w.server.answer = mail.ErrTemporary
				if _, err := w.onNoticeDue(t.Context(), due); err == nil {
					t.Fatal("the notice does not wait")
				}
				w.server.answer, w.now = nil, w.now.Add(giveUpAfter/2)
			}
			w.mustErase()
			if test.gone {
				w.persons = nobody{}
			}
			for range 2 {
				if out, err := w.onNoticeDue(t.Context(), due); err != nil || out != events.StillErased(events.Notifier, 9) {
					t.Errorf("got %v, %v", out, err)
				}
			}
			if n := len(w.server.taken) - taken; n != 0 {
				t.Errorf("%d mails were sent to who is erased", n)
			}
			w.checkTombstone("notice20260615")
		})
	}
}

// A notice that an erasure did not find, because it was stored meanwhile, finds the erasure.
func TestANoticeThatIsStoredWhileItsOwnerIsErasedIsNotSent(t *testing.T) {
	w := newWorld(t)
	w.mustErase()
	unsent := letter{Tenant: cloudVault, Registration: "r1", Cause: causeNotice + "20260615", State: pending, Recipient: []byte("sealed"), Vault: 9}
	if err := w.mails.Insert(t.Context(), unsent.id(), unsent); err != nil {
		t.Fatal(err)
	}
	e := events.NoticeDue{Day: "20260615", Vault: 9}
	due := bus.In[events.NoticeDue]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e}
	if out, err := w.onNoticeDue(t.Context(), due); err != nil || out != events.StillErased(events.Notifier, 9) || len(w.server.taken) != 0 {
		t.Errorf("got %v, %v and %d mails", out, err, len(w.server.taken))
	}
	if l := w.stored(unsent.Cause).Value; l.State != erased || l.Recipient != nil {
		t.Errorf("it is %s, with a recipient: %v", l.State, l.Recipient != nil)
	}
}
