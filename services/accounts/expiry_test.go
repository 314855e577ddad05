package accounts

import (
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

func waits(d, remind time.Duration, keep bool) func(*tenant.Tenant) {
	return func(t *tenant.Tenant) {
		t.Activation.ExpireAfter, t.Activation.RemindBefore, t.Activation.KeepUnique = tenant.Duration(d), tenant.Duration(remind), keep
	}
}

// sweepAt sweeps as often as crashes and redeliveries could make it.
func (w *world) sweepAt(at time.Time) {
	w.t.Helper()
	w.time = at
	for range 3 {
		if err := w.sweepOnce(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

func eventsOf[E events.Event](w *world, id string) (found []E) {
	for _, r := range w.stream.all[id] {
		if e, is := r.Event.(E); is {
			found = append(found, e)
		}
	}
	return found
}

func TestAnAccountThatNobodyActivatesEndsOnceAndForgetsThePerson(t *testing.T) {
	for name, keep := range map[string]bool{"what is unique is released": false, "what is unique stays taken": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config = version("v", waits(72*time.Hour, 0, keep))
			w.create("r1", "a@example.com")
			w.sent("r1", 1, noon)
			w.sweepAt(noon.Add(72*time.Hour - time.Second))
			if len(eventsOf[events.Expired](w, "r1")) != 0 || w.stored("r1").State != created {
				t.Fatal("it has ended too early")
			}
			w.sweepAt(noon.Add(72 * time.Hour))
			ended := eventsOf[events.Expired](w, "r1")
			if len(ended) != 1 || ended[0].Reason != events.NotActivated || ended[0].Vault != 7 {
				t.Errorf("told %+v", ended)
			}
			if a := w.stored("r1"); a.State != expired || a.Person != nil || a.Password != "" || a.Expiry.DueAt != 0 || (a.Claims != nil) != keep {
				t.Errorf("the document is %s, due at %d, claims %v, person of %d bytes", a.State, a.Expiry.DueAt, a.Claims, len(a.Person))
			}
			if _, kept := w.people["r1"]; kept {
				t.Error("the vault keeps the person")
			}
			if got := w.present("r1", "q", w.code("r1", 1), noon.Add(73*time.Hour)); got != events.CodeExpiredRegistration {
				t.Errorf("its code: %q", got)
			}
			if refused, _ := w.resend("r1", 1, noon.Add(73*time.Hour)).(events.ResendRefused); refused.Code != events.ResendClosed {
				t.Errorf("a resend: %+v", refused)
			}
			rejected, again := w.create("r2", "a@example.com").(events.Rejected)
			if again != keep || keep && rejected.Violations[0].Code != events.CodeDuplicateEmail {
				t.Errorf("another registration of the address: rejected %v, %v", again, rejected.Violations)
			}
			if once, ok := mustEvent(w.categorize("r1", "mac")).(events.Rejected); !ok || once.Violations[0].Code != events.CodeExpiredRegistration {
				t.Errorf("the same registration once more: %v", once)
			}
		})
	}
}

func TestAnAccountThatEndedUnderAnEarlierVersionForgetsTheRestToo(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 0, false))
	w.create("r1", "a@example.com")
	w.sweepAt(noon.Add(72 * time.Hour))
	old, err := w.accounts.Get(t.Context(), "r1")
	if err != nil || old.Value.MAC != "" {
		t.Fatalf("of the request is left %q, %v", old.Value.MAC, err)
	}
	old.Value.MAC = "mac"
	if _, err := w.accounts.Update(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	e := events.Expired{Reason: events.NotActivated}
	for range 2 {
		out, err := w.onRegistrationExpired(t.Context(), bus.In[events.Expired]{Record: record("r1", e, noon), Data: e})
		if err != nil || out != events.ForgottenBy(events.Accounts) {
			t.Fatalf("got %v, %v", out, err)
		}
	}
	if a := w.stored("r1"); a.MAC != "" || a.State != expired {
		t.Errorf("left is %+v", a)
	}
}

func TestWhatIsKeptUniqueOfAnEndedAccountIsFreeWhenItIsErased(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 0, true))
	w.create("r1", "a@example.com")
	w.sweepAt(noon.Add(72 * time.Hour))
	if _, taken := w.create("r2", "a@example.com").(events.Rejected); !taken {
		t.Fatal("the address is free")
	}
	w.erase("r1")
	if _, free := w.create("r3", "a@example.com").(events.AccountCreated); !free {
		t.Error("the address is still taken")
	}
}

func TestAnActivatedAccountDoesNotEnd(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 24*time.Hour, false))
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	if got := w.present("r1", "q", w.code("r1", 1), noon); got != "" {
		t.Fatal(got)
	}
	w.sweepAt(noon.Add(100 * time.Hour))
	if w.stored("r1").State != active || len(eventsOf[events.Expired](w, "r1"))+len(eventsOf[events.ReminderDue](w, "r1")) > 0 {
		t.Error("it has ended, or its owner was reminded")
	}
}

func TestAnActivationAndTheEndHaveOneWinner(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	before, err := w.accounts.Get(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.present("r1", "q", w.code("r1", 1), noon); got != "" {
		t.Fatal(got)
	}
	if err := w.expire(t.Context(), before); err == nil {
		t.Error("an end that was decided before the activation is stored after it")
	}
	if w.stored("r1").State != active || len(eventsOf[events.Expired](w, "r1")) != 0 {
		t.Error("the account has ended")
	}
}

func TestAnEndThatCouldNotBeToldIsToldLater(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 0, false))
	w.create("r1", "a@example.com")
	w.stream.away = true
	w.sweepAt(noon.Add(72 * time.Hour))
	if w.stored("r1").State != expired || len(eventsOf[events.Expired](w, "r1")) != 0 {
		t.Fatalf("the account is %s", w.stored("r1").State)
	}
	w.stream.away = false
	w.sweepAt(noon.Add(72*time.Hour + aside))
	if len(eventsOf[events.Expired](w, "r1")) != 1 || w.stored("r1").Expiry.DueAt != 0 {
		t.Error("its end is not told")
	}
}

func TestAnAccountDoesNotEndBeforeOthersKnowOfIt(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 0, false))
	w.create("r1", "a@example.com")
	told := w.stream.all["r1"]
	w.stream.all["r1"] = []events.Record{record("r1", events.Requested{}, noon)}
	w.sweepAt(noon.Add(72 * time.Hour))
	if w.stored("r1").State != created {
		t.Fatalf("the account is %s", w.stored("r1").State)
	}
	w.stream.all["r1"] = told
	w.sweepAt(noon.Add(72*time.Hour + aside))
	if w.stored("r1").State != expired {
		t.Errorf("the account is %s", w.stored("r1").State)
	}
}

func TestTheOwnerIsRemindedOnceWithACodeThatWorks(t *testing.T) {
	remindAt := noon.Add(48 * time.Hour)
	for name, test := range map[string]struct {
		before func(w *world)
		epoch  int
	}{
		"the code has run out":     {func(*world) {}, 2},
		"another one works":        {func(w *world) { w.resend("r1", 1, remindAt.Add(-time.Hour)); w.sent("r1", 2, remindAt.Add(-time.Hour)) }, 2},
		"no mail could be sent":    {func(w *world) { w.stream.all["r1"] = w.stream.all["r1"][:1] }, 1},
		"the stream was forgetful": {func(w *world) { delete(w.stream.all, "r1") }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config = version("v", waits(72*time.Hour, 24*time.Hour, false))
			w.create("r1", "a@example.com")
			w.sent("r1", 1, noon)
			test.before(w)
			w.sweepAt(remindAt)
			reminders := eventsOf[events.ReminderDue](w, "r1")
			if len(reminders) != 1 || reminders[0].Epoch != test.epoch || reminders[0].ValiditySeconds != 86400 || !reminders[0].ExpiresAt.Equal(noon.Add(72*time.Hour)) {
				t.Fatalf("told %+v", reminders)
			}
			w.sent("r1", test.epoch, remindAt)
			if got := w.present("r1", "q", w.code("r1", test.epoch), remindAt.Add(time.Hour)); got != "" {
				t.Errorf("its code: %q", got)
			}
		})
	}
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 24*time.Hour, false))
	w.create("r1", "a@example.com")
	w.sweepAt(remindAt)
	w.sweepAt(noon.Add(72 * time.Hour))
	if len(eventsOf[events.ReminderDue](w, "r1")) != 1 || len(eventsOf[events.Expired](w, "r1")) != 1 {
		t.Error("not reminded once and ended once")
	}
}

func TestAReminderThatWasLostIsRepeatedWithItsCode(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 24*time.Hour, false))
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	w.stream.away = true
	w.sweepAt(noon.Add(48 * time.Hour))
	w.stream.away = false
	w.sweepAt(noon.Add(48*time.Hour + aside))
	if reminders := eventsOf[events.ReminderDue](w, "r1"); len(reminders) != 1 || reminders[0].Epoch != 2 {
		t.Errorf("told %+v", reminders)
	}
}

func TestAWrongCodeIsAnsweredAsBeforeWhenItsDeliveryComesAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 0, false))
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	if got := w.present("r1", "w", "AAAA", noon); got != events.WrongCode {
		t.Fatal(got)
	}
	w.sweepAt(noon.Add(72 * time.Hour))
	e := events.ActivationRequested{RequestID: "w"}
	out := mustEvent(w.onActivationRequested(t.Context(), bus.In[events.ActivationRequested]{Record: record("r1", e, noon), Data: e}))
	if refused, _ := out.(events.ActivationRefused); refused.Code != events.WrongCode {
		t.Errorf("got %+v", out)
	}
}
