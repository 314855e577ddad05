package notifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys/keystest"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/notifier/mail"
)

const cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"

type onePerson struct{}

func (onePerson) Delete(context.Context, string, string, uint64) error { return nil }

func (onePerson) Get(context.Context, string, string, uint64) (vault.Entry, error) {
	return vault.Entry{Registration: events.Registration{Applicant: events.Applicant{Email: "zoe@example.com", GivenName: "Zoë", Phone: "+37061234567"}}}, nil
}

// server records what it takes and answers what it is told to, after what happens meanwhile.
type server struct {
	taken     []mail.Letter
	answer    error
	meanwhile func()
}

func (s *server) Send(_ context.Context, l mail.Letter) error {
	if s.meanwhile != nil {
		s.meanwhile()
	}
	if s.answer == nil {
		s.taken = append(s.taken, l)
	}
	return s.answer
}

type world struct {
	*service
	t      *testing.T
	server *server
	now    time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b := storetest.Embedded(t, mailSchema)
	ring := keystest.Ring(t)
	public, _ := url.Parse("https://usher.example")
	w := &world{t: t, server: &server{}, now: time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)}
	w.service = &service{config: tenant.Demo(), keys: ring, persons: onePerson{}, sender: w.server, public: public,
		now: func() time.Time { return w.now }, log: slog.New(slog.DiscardHandler), desk: newDesk(), mails: store.NewDocs(b, mailSchema, letter.fields), documents: b}
	return w
}

func (w *world) created() (events.Event, error) {
	e := events.AccountCreated{Carried: events.Carried{Vault: 7}, Epoch: 1, ValiditySeconds: 86400}
	return w.onAccountCreated(w.t.Context(), bus.In[events.AccountCreated]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e})
}

func (w *world) issued(k, epoch int) (events.Event, error) {
	e := events.CodeIssued{K: k, Epoch: epoch, ValiditySeconds: 86400}
	return w.onCodeIssued(w.t.Context(), bus.In[events.CodeIssued]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e})
}

func (w *world) activated() {
	w.t.Helper()
	e := events.AccountActivated{RequestID: "q"}
	if _, err := w.onAccountActivated(w.t.Context(), bus.In[events.AccountActivated]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ended() {
	w.t.Helper()
	e := events.Expired{Reason: events.NotActivated}
	in := bus.In[events.Expired]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e}, Data: e}
	for range 2 {
		if out, err := w.onRegistrationExpired(w.t.Context(), in); err != nil || out != events.ForgottenBy(events.Notifier) {
			w.t.Fatalf("got %v, %v", out, err)
		}
	}
}

func (w *world) stored(cause string) store.Stored[letter] {
	w.t.Helper()
	s, err := w.mails.Get(w.t.Context(), "r1/"+cause)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestALetterThatWasTakenIsNeverSentAgain(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		e, err := w.created()
		if sent, ok := e.(events.ActivationSent); err != nil || !ok || sent.Vault != 7 || sent.N() != "created-0" {
			t.Fatalf("got %v, %v", e, err)
		}
	}
	if len(w.server.taken) != 1 {
		t.Errorf("%d mails were sent", len(w.server.taken))
	}
	if stored := w.stored("created").Value; len(stored.Recipient) == 0 || stored.State != sent {
		t.Errorf("stored %s", stored.State)
	}
}

func TestACrashBetweenTheServersAnswerAndTheMarkRepeatsTheSameMail(t *testing.T) {
	w := newWorld(t)
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	unmarked := w.stored("created")
	unmarked.Value.State = pending
	if _, err := w.mails.Update(t.Context(), unmarked); err != nil {
		t.Fatal(err)
	}
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	if n := len(w.server.taken); n != 2 {
		t.Fatalf("%d mails", n)
	}
	a, b := w.server.taken[0], w.server.taken[1]
	if a.MessageID != b.MessageID || a.Code != b.Code || a.To != b.To {
		t.Error("the second mail differs from the first")
	}
}

func TestARefusalForGoodIsAnEventAndARefusalForNowIsParked(t *testing.T) {
	w := newWorld(t)
	w.server.answer = fmt.Errorf("greylisted: %w", mail.ErrTemporary)
	for i := range 5 {
		e, err := w.created()
		if e != nil || err == nil || err.Error() != bus.Later(w.now).Error() {
			t.Fatalf("try %d: %v, %v", i+1, e, err)
		}
		if got := w.stored("created").Value; got.Attempts != i+1 || got.State != pending {
			t.Errorf("attempt %d is stored as %d, %s", i+1, got.Attempts, got.State)
		} else {
			w.now = time.UnixMilli(got.NextTry)
		}
	}
	w.now = w.now.Add(giveUpAfter + time.Minute)
	if e, err := w.created(); err != nil || e.(events.ActivationFailed).Code != "NOT_DELIVERED_IN_TIME" {
		t.Errorf("after three days: %v, %v", e, err)
	}

	w = newWorld(t)
	w.server.answer = &mail.PermanentError{Code: 550}
	if e, err := w.created(); err != nil || e.(events.ActivationFailed).Code != "SMTP_550" {
		t.Errorf("a 550: %v, %v", e, err)
	}
	w = newWorld(t)
	w.server.answer = errors.New("our own fault")
	if e, err := w.created(); e != nil || err == nil {
		t.Errorf("our own fault: %v, %v", e, err)
	}
}

func TestAnotherMailGoesToTheSamePersonUntilTheAccountIsActive(t *testing.T) {
	w := newWorld(t)
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	issue := func(k, epoch int) events.Event {
		t.Helper()
		out, err := w.issued(k, epoch)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if sent, ok := issue(1, 2).(events.ActivationSent); !ok || sent.N() != "code1-0" || sent.Epoch != 2 {
		t.Errorf("got %v", sent)
	}
	first, second := w.server.taken[0], w.server.taken[1]
	if second.To != first.To || second.Code == first.Code || second.MessageID == first.MessageID {
		t.Error("the second mail is not another one to the same person")
	}
	w.activated()
	for _, cause := range []string{"created", "code1"} {
		if w.stored(cause).Value.Recipient != nil {
			t.Errorf("the recipient of %s is kept", cause)
		}
	}
	if out := issue(2, 2); out != nil || len(w.server.taken) != 2 {
		t.Errorf("after the activation: %v, %d mails", out, len(w.server.taken))
	}
}
