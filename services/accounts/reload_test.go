package accounts

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// version is the demonstration changed, as another version.
func version(name string, change func(*tenant.Tenant)) *tenant.Config {
	c := *tenant.Demo()
	t := *c.Tenants[0]
	t.ConfigVersion, c.Version = name, name
	change(&t)
	c.Tenants = []*tenant.Tenant{&t}
	return &c
}

func tries(n int) func(*tenant.Tenant) { return func(t *tenant.Tenant) { t.Activation.MaxTries = n } }

func TestARefusedCodeStaysRefusedWhenMoreTriesAreAllowedLater(t *testing.T) {
	w := newWorld(t)
	w.config = version("strict", tries(1))
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	if got := w.present("r1", "w", "AAAA", noon); got != events.WrongCode {
		t.Fatalf("a wrong code: %q", got)
	}
	right := w.code("r1", 1)
	if got := w.present("r1", "q", right, noon); got != events.CodeLocked {
		t.Fatalf("the right code after it: %q", got)
	}
	w.config = version("lenient", tries(10))
	if got := w.present("r1", "q", right, noon); got != events.CodeLocked {
		t.Errorf("its redelivery under the new version: %q, and the account is %s", got, w.stored("r1").State)
	}
	if issued, ok := w.resend("r1", 1, noon.Add(time.Hour)).(events.CodeIssued); !ok || issued.Epoch != 2 {
		t.Errorf("a resend under the new version does not unlock: %v", issued)
	}
}

func TestAnAccountOfTheVersionBeforeTakesItsTenantsRules(t *testing.T) {
	w := newWorld(t)
	w.config = version("strict", tries(1))
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	old, err := w.accounts.Get(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	old.Value.MaxTries, old.Value.Argon2 = 0, tenant.Argon2{}
	if _, err := w.accounts.Update(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	w.config = version("lenient", tries(2))
	for i := range 2 {
		if got := w.present("r1", fmt.Sprint("w", i), "AAAA", noon); got != events.WrongCode {
			t.Errorf("try %d: %q", i, got)
		}
	}
	if got := w.present("r1", "q", w.code("r1", 1), noon); got != events.CodeLocked {
		t.Errorf("after two tries: %q", got)
	}
	if got := w.stored("r1").MaxTries; got != 2 {
		t.Errorf("it keeps %d tries", got)
	}
}

func TestThePasswordIsHashedAsTheVersionSaysThatClaimedTheAccount(t *testing.T) {
	w := newWorld(t)
	w.hasher.override = nil
	w.config = version("first", func(t *tenant.Tenant) { t.Argon2 = tenant.Argon2{MemoryKiB: 16, Time: 1, Lanes: 1} })
	w.register("r1", "a@example.com", "seven quiet lanterns")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the process ends before it hashes
	full := w.fill()
	e := events.Categorized{Carried: events.Carried{MAC: "mac", Vault: 7}}
	in := bus.In[events.Categorized]{Record: record("r1", e, noon), Data: e}
	if _, err := w.claim(t.Context(), in, w.reader(t.Context(), in)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.onRegistrationCategorized(ctx, in); err == nil {
		t.Fatal("hashed before its turn")
	}
	full()
	w.config = version("second", func(t *tenant.Tenant) { t.Argon2 = tenant.Argon2{MemoryKiB: 32, Time: 1, Lanes: 1} })
	if _, err := w.onRegistrationCategorized(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if a := w.stored("r1"); a.Versions.Config != "first" || !strings.Contains(a.Password, "$m=16,t=1,p=1$") {
		t.Errorf("claimed under %s, hashed as %s", a.Versions.Config, a.Password)
	}
}

// together gives out a tenant once both replicas have asked: each then decides under its own
// version before either has stored anything.
type together struct {
	tenants
	both *sync.WaitGroup
}

func (c together) Tenant(id string) (*tenant.Tenant, bool) {
	t, known := c.tenants.Tenant(id)
	c.both.Done()
	c.both.Wait()
	return t, known
}

func TestReplicasUnderTwoVersionsMakeOneAccount(t *testing.T) {
	w := newWorld(t)
	w.create("before", "a@example.com")
	w.register("r1", "a@example.com", "seven quiet lanterns")
	var both sync.WaitGroup
	both.Add(2)
	unique, shared := *w.service, *w.service
	unique.config = together{version("unique", func(*tenant.Tenant) {}), &both}
	shared.config = together{version("shared", func(t *tenant.Tenant) { t.Unique = nil }), &both}
	e := events.Categorized{Carried: events.Carried{MAC: "mac", Vault: 7}}
	in := bus.In[events.Categorized]{Record: record("r1", e, noon), Data: e}
	outcomes := make(chan events.Event, 2)
	for _, s := range []*service{&unique, &shared} {
		go func() {
			e, err := s.onRegistrationCategorized(context.Background(), in)
			if err != nil {
				t.Error(err)
			}
			outcomes <- e
		}()
	}
	first, second := <-outcomes, <-outcomes
	if first.Type() != second.Type() {
		t.Fatalf("one says %s, the other %s", first.Type(), second.Type())
	}
	a := w.stored("r1")
	switch r, rejected := first.(events.Rejected); {
	case rejected && (r.Versions.Config != "unique" || r.Violations[0].Code != events.CodeDuplicateEmail):
		t.Errorf("rejected %+v", r)
	case !rejected && (a.Versions.Config != "shared" || len(a.Claims) != 0):
		t.Errorf("created under %s with claims %v", a.Versions.Config, a.Claims)
	}
}
