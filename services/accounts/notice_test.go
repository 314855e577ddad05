package accounts

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/keys/keystest"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// duplicate registers with an address that is taken, and delivers that twice.
func (w *world) duplicate(id, email string, at time.Time) {
	w.t.Helper()
	w.register(id, email, "seven quiet lanterns")
	e := events.Categorized{Carried: events.Carried{MAC: "mac", Vault: 7}}
	for range 2 {
		out, err := w.onRegistrationCategorized(w.t.Context(), bus.In[events.Categorized]{Record: record(id, e, at), Data: e})
		if r, ok := out.(events.Rejected); err != nil || !ok || r.Violations[0].Code != events.CodeDuplicateEmail {
			w.t.Fatalf("got %v, %v", out, err)
		}
	}
}

func TestAnOwnerIsToldOfAttemptsOnceADayAndOnlyWhereTheTenantWantsIt(t *testing.T) {
	for name, test := range map[string]struct {
		wanted, active bool
		notices        int
	}{
		"the tenant wants it":             {true, true, 2},
		"the tenant does not want it":     {false, true, 0},
		"the owner has not activated yet": {true, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config = version("v", func(t *tenant.Tenant) { t.Mail.DuplicateNotice = test.wanted })
			w.create("owner", "Zoe@Example.com")
			w.sent("owner", 1, noon)
			if test.active && w.present("owner", "q", w.code("owner", 1), noon) != "" {
				t.Fatal("not activated")
			}
			for i := range 5 {
				w.duplicate(fmt.Sprint("a", i), "zoe@example.com", noon.Add(time.Duration(i)*time.Hour))
			}
			delete(w.people, "owner") // mailed
			w.duplicate("b", "zoe@example.com", noon.Add(24*time.Hour))
			notices := eventsOf[events.NoticeDue](w, "owner")
			if len(notices) != test.notices {
				t.Fatalf("told %+v", notices)
			}
			if test.notices == 0 {
				return
			}
			if notices[0].Day != "20260615" || notices[1].Day != "20260616" {
				t.Errorf("told %+v", notices)
			}
			if to := w.people["owner"].Registration.Applicant; to.Email != "Zoe@Example.com" || to.CanonicalEmail != "" {
				t.Error("the vault has another address than the owner's, or more than a mail needs")
			}
		})
	}
}

func TestWhoTakesAUserNameThatIsNotFreeTroublesNobody(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", func(t *tenant.Tenant) { t.Mail.DuplicateNotice = true })
	for _, id := range []string{"owner", "r2"} {
		w.register(id, id+"@example.com", "seven quiet lanterns")
		e := w.people[id]
		e.Registration.Username = "zoe"
		w.people[id] = e
		if _, err := w.categorize(id, "mac"); err != nil {
			t.Fatal(err)
		}
		if id == "owner" {
			w.sent(id, 1, noon)
			w.stream.all[id] = append(w.stream.all[id], record(id, events.AccountCreated{Carried: events.Carried{Vault: 7}}, noon))
			if got := w.present(id, "q", w.code(id, 1), noon); got != "" {
				t.Fatal(got)
			}
		}
	}
	if n := len(eventsOf[events.NoticeDue](w, "owner")); n != 0 || w.stored("r2").State != rejected {
		t.Errorf("%d notices, the second is %s", n, w.stored("r2").State)
	}
}

func TestANoticeThatWasFasterLeavesNoSecondEntryInTheVault(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", func(t *tenant.Tenant) { t.Mail.DuplicateNotice = true })
	w.create("owner", "zoe@example.com")
	w.sent("owner", 1, noon)
	if got := w.present("owner", "q", w.code("owner", 1), noon); got != "" {
		t.Fatal(got)
	}
	w.service.stream = &overtaken{published: w.stream}
	w.duplicate("r2", "zoe@example.com", noon)
	if _, kept := w.people["owner"]; kept {
		t.Error("the entry of the slower one is kept")
	}
	if n := len(eventsOf[events.NoticeDue](w, "owner")); n != 1 {
		t.Errorf("%d notices", n)
	}
}

// overtaken is a stream in which another replica publishes the notice first.
type overtaken struct{ *published }

func (o *overtaken) StoredAt(ctx context.Context, s events.Subject) (events.Record, error) {
	r, err := o.published.StoredAt(ctx, s)
	if err != nil && s.Step == events.StepNotice {
		_ = o.Publish(ctx, s.Tenant, s.Registration, events.NoticeDue{Day: s.N, Vault: 99})
	}
	return r, err
}

// marked is a vault that keeps entries as the real one does: one for each registration and mark.
type marked struct {
	people
	entries map[string]uint64
}

func (m *marked) PutBack(ctx context.Context, tenant, registration, mark string, e vault.Entry) (uint64, error) {
	at, is := m.entries[registration+" "+mark]
	if !is {
		at = uint64(100 + len(m.entries))
		m.entries[registration+" "+mark] = at
	}
	_, err := m.people.PutBack(ctx, tenant, registration, mark, e)
	return at, err
}

func TestAKillBeforeANoticeIsPublishedLeavesOneEntryInTheVault(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", func(t *tenant.Tenant) { t.Mail.DuplicateNotice = true })
	w.create("owner", "zoe@example.com")
	w.sent("owner", 1, noon)
	if got := w.present("owner", "q", w.code("owner", 1), noon); got != "" {
		t.Fatal(got)
	}
	m := &marked{w.people, map[string]uint64{}}
	w.persons = m
	w.register("r2", "zoe@example.com", "seven quiet lanterns")
	w.stream.away = true
	if _, err := w.categorize("r2", "mac"); err == nil {
		t.Fatal("the notice is published")
	}
	w.stream.away = false
	w.duplicate("r2", "zoe@example.com", noon)
	w.duplicate("r3", "zoe@example.com", noon.Add(24*time.Hour))
	if notices := eventsOf[events.NoticeDue](w, "owner"); len(notices) != 2 || notices[0].Vault != 100 || notices[1].Vault != 101 || len(m.entries) != 2 {
		t.Errorf("told %+v, put in %v", notices, m.entries)
	}
}

func TestAnOwnerWhosePersonDoesNotOpenStopsNobodysRegistration(t *testing.T) {
	for name, sealed := range map[string]func(person []byte) []byte{
		"because it is damaged": func(person []byte) []byte {
			damaged := bytes.Clone(person)
			damaged[len(damaged)-1] ^= 1
			return damaged
		},
		"because its key is gone": func([]byte) []byte { return sealedElsewhere(t) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config = version("v", func(t *tenant.Tenant) { t.Mail.DuplicateNotice = true })
			w.create("owner", "zoe@example.com")
			w.sent("owner", 1, noon)
			if got := w.present("owner", "q", w.code("owner", 1), noon); got != "" {
				t.Fatal(got)
			}
			owner, err := w.accounts.Get(t.Context(), "owner")
			if err != nil {
				t.Fatal(err)
			}
			owner.Value.Person = sealed(owner.Value.Person)
			if _, err := w.accounts.Update(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
			w.duplicate("r2", "zoe@example.com", noon)
			if n := len(eventsOf[events.NoticeDue](w, "owner")); n != 0 {
				t.Errorf("%d notices", n)
			}
		})
	}
}

// sealedElsewhere is the owner's person sealed with keys that the service does not have.
func sealedElsewhere(t *testing.T) []byte {
	t.Helper()
	ring := keystest.Ring(t)
	sealed, err := ring.Seal(keys.Data, cloudVault, cloudVault+"|owner|person", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}
