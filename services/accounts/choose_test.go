package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// createWithoutPassword makes an account of a registration whose credential cannot be opened.
func (w *world) createWithoutPassword(id, email string) {
	w.t.Helper()
	w.people[id] = vault.Entry{Credential: []byte("{}x"), Registration: events.Registration{Channel: "native",
		Applicant: events.Applicant{GivenName: "Ingrid", FamilyName: "Solveig", Email: email, CanonicalEmail: strings.ToLower(email)}}}
	created := mustEvent(w.categorize(id, "mac")).(events.AccountCreated)
	if !created.PasswordRequired {
		w.t.Fatal("a password is there")
	}
	w.stream.all[id] = append(w.stream.all[id], record(id, created, noon))
	w.sent(id, 1, noon)
}

func (w *world) seal(id, password string) []byte {
	w.t.Helper()
	sealed, err := w.keys.SealCredential(cloudVault, id, []byte(password))
	if err != nil {
		w.t.Fatal(err)
	}
	return sealed
}

const chosenAt = 99 // sequence of the vault

// activation is a presented code with a password in the vault, or without where sealed is nil.
func (w *world) activation(id, request, code string, sealed []byte, at time.Time) bus.In[events.ActivationRequested] {
	e := events.ActivationRequested{RequestID: request, CodeHash: keys.HashCode(id, code)}
	if sealed != nil {
		w.people[id] = vault.Entry{Credential: sealed}
		e.Vault = chosenAt
	}
	return bus.In[events.ActivationRequested]{Record: record(id, e, at), Data: e}
}

func (w *world) presentWith(id, request, code string, sealed []byte, at time.Time) string {
	e, err := w.onActivationRequested(w.t.Context(), w.activation(id, request, code, sealed, at))
	if err != nil {
		w.t.Error(err)
		return "error"
	}
	if sealed != nil && e.(interface{ Releases() uint64 }).Releases() != chosenAt {
		w.t.Error("the entry of the password is not released")
	}
	if refused, ok := e.(events.ActivationRefused); ok {
		return refused.Code
	}
	return ""
}

func TestAnAccountWithoutAPasswordIsActivatedWithTheOneThatComesWithTheCode(t *testing.T) {
	w := newWorld(t)
	w.createWithoutPassword("r1", "ingrid@example.com")
	right, other := w.code("r1", 1), newWorld(t)
	for i, step := range []struct {
		name, code string
		sealed     []byte
		want       string
	}{
		{"the code alone", right, nil, events.PasswordRequired},
		{"a wrong code with a good password", "AAAA", w.seal("r1", "seven quiet lanterns"), events.WrongCode},
		{"a password that cannot be opened", right, []byte("{}x"), events.PasswordRequired},
		{"an empty password", right, w.seal("r1", ""), events.PasswordRequired},
		{"one of another registration", right, w.seal("r2", "seven quiet lanterns"), events.PasswordRequired},
		{"too short a password", right, w.seal("r1", "lantern"), events.CodeTooShort},
		{"a common password", right, w.seal("r1", "Password123!"), events.CodePasswordCommon},
		{"one with the customer's name, whom only the account knows", right, w.seal("r1", "my solveig song"), events.CodePasswordResembles},
		{"a good password", right, w.seal("r1", "seven quiet lanterns"), ""},
		{"another one afterwards", right, w.seal("r1", "eight loud lanterns"), events.AlreadyActive},
	} {
		if got := w.presentWith("r1", fmt.Sprint("q", i), step.code, step.sealed, noon); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	a := w.stored("r1")
	if a.State != active || a.NoPassword || len(a.Activation.Tries) != 1 {
		t.Errorf("state %s, password required %v, wrong %v", a.State, a.NoPassword, a.Activation.Tries)
	}
	verify(t, a.Password, "seven quiet lanterns")

	w.createWithoutPassword("r3", "other@example.com")
	w.people["r3"] = vault.Entry{Credential: other.seal("r3", "seven quiet lanterns")}
	in := w.activation("r3", "q", w.code("r3", 1), other.seal("r3", "seven quiet lanterns"), noon)
	if _, err := w.onActivationRequested(t.Context(), in); !errors.Is(err, keys.ErrUnknownKey) {
		t.Errorf("a key that is not here yet is not tried again: %v", err)
	}
	delete(w.people, "r3")
	if e, ok := mustEvent(w.onActivationRequested(t.Context(), in)).(events.ActivationRefused); !ok || e.Code != events.PasswordRequired {
		t.Errorf("an entry that is gone: %v", e)
	}
}

func TestAPasswordThatIsThereIsNotReplacedByOneWithTheCode(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	before := w.stored("r1").Password
	if got := w.presentWith("r1", "q", w.code("r1", 1), w.seal("r1", "eight loud lanterns"), noon); got != "" {
		t.Errorf("refused: %q", got)
	}
	if a := w.stored("r1"); a.Password != before || a.State != active {
		t.Errorf("the password was replaced, the account is %s", a.State)
	}
}

// dying is a store that dies before or after a write.
type dying struct {
	store.Backend
	before, after bool
}

var errDied = errors.New("the process died")

func (d *dying) Write(ctx context.Context, collection string, ops []store.Op) []error {
	if d.before {
		d.before = false
		return []error{errDied}
	}
	errs := d.Backend.Write(ctx, collection, ops)
	if d.after {
		d.after = false
		return []error{errDied}
	}
	return errs
}

func TestAChosenPasswordSurvivesADeathAtAnyPoint(t *testing.T) {
	for name, die := range map[string]func(*dying){
		"before the account is stored":                   func(d *dying) { d.before = true },
		"after the account is stored, before the answer": func(d *dying) { d.after = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.createWithoutPassword("r1", "a@example.com")
			d := &dying{Backend: w.backend}
			w.accounts = store.NewDocs[account](d, accountSchema, account.fields)
			in := w.activation("r1", "q", w.code("r1", 1), w.seal("r1", "seven quiet lanterns"), noon)
			die(d)
			if _, err := w.onActivationRequested(t.Context(), in); !errors.Is(err, errDied) {
				t.Fatalf("it did not die: %v", err)
			}
			for range 2 { // the second is a redelivery after the entry was deleted
				e, ok := mustEvent(w.onActivationRequested(t.Context(), in)).(events.AccountActivated)
				if !ok || e.Vault != chosenAt {
					t.Errorf("a redelivery gave %v", e)
				}
				delete(w.people, "r1")
			}
			a := w.stored("r1")
			if a.State != active || a.NoPassword || a.Activation.By != "q" {
				t.Errorf("state %s, password required %v, by %q", a.State, a.NoPassword, a.Activation.By)
			}
			verify(t, a.Password, "seven quiet lanterns")
		})
	}
}

func TestAPasswordIsHashedInItsNormalForm(t *testing.T) {
	w := newWorld(t)
	w.register("r1", "a@example.com", "Zu\u0308rich am See")
	if _, err := w.categorize("r1", "mac"); err != nil {
		t.Fatal(err)
	}
	verify(t, w.stored("r1").Password, "Z\u00fcrich am See")
}

func TestAccountsAreMarkedWhenTheirTenantsParametersRise(t *testing.T) {
	w := newWorld(t)
	w.hasher.override = nil
	low, high := tenant.Argon2{MemoryKiB: 16, Time: 1, Lanes: 1}, tenant.Argon2{MemoryKiB: 16, Time: 3, Lanes: 1}
	under := func(p tenant.Argon2) *tenant.Tenant {
		w.config = version("v", func(t *tenant.Tenant) { t.Argon2 = p })
		tt, _ := w.config.Tenant(cloudVault)
		return tt
	}
	marked := func() (n int) {
		for i := range 5 {
			if s, err := w.accounts.Get(t.Context(), fmt.Sprint("r", i)); err == nil && s.Value.Rehash {
				n++
			}
		}
		return n
	}
	of := under(low)
	for i := range 3 {
		w.create(fmt.Sprint("r", i), fmt.Sprint(i, "@example.com"))
	}
	w.createWithoutPassword("r3", "3@example.com")
	for _, step := range []struct {
		name   string
		tenant *tenant.Tenant
		want   int
	}{
		{"the same parameters", of, 0}, {"lower ones", under(tenant.Argon2{MemoryKiB: 8, Time: 1, Lanes: 1}), 0}, {"higher ones", under(high), 3}, {"once more", under(high), 3},
	} {
		if err := w.markWeak(t.Context(), step.tenant); err != nil {
			t.Fatal(err)
		}
		if n := marked(); n != step.want {
			t.Errorf("%s: %d are marked, want %d", step.name, n, step.want)
		}
	}
	w.create("r4", "4@example.com")
	if err := w.markWeak(t.Context(), under(high)); err != nil || w.stored("r4").Rehash {
		t.Errorf("%v; an account of the new parameters is marked: %v", err, w.stored("r4").Rehash)
	}
	version := func() int64 { s, _ := w.accounts.Get(t.Context(), "r0"); return s.Version }
	before := version()
	if err := w.markWeak(t.Context(), under(high)); err != nil || version() != before {
		t.Errorf("%v; a marked account is written again", err)
	}
}
