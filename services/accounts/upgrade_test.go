package accounts

import (
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// outdate stores an account as versions did that knew neither ends nor what hashes cost.
func (w *world) outdate(id string, change func(*account)) {
	w.t.Helper()
	a, err := w.accounts.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	a.Value.Expiry, a.Value.MaxTries, a.Value.TriesPerDay, a.Value.Argon2 = expiry{}, 0, 0, tenant.Argon2{}
	change(&a.Value)
	old := store.NewDocs(w.backend, accountSchema, func(a account) store.Fields {
		f := store.Fields{"tenant": a.Tenant}
		for name, mac := range a.Claims {
			f[name] = mac
		}
		return f
	})
	if _, err := old.Update(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
}

func TestAccountsOfAnEarlierVersionEndAndTheirWeakHashesAreFound(t *testing.T) {
	w := newWorld(t)
	w.config = version("v", waits(72*time.Hour, 0, false))
	for id, change := range map[string]func(*account){
		"waits": func(*account) {}, "active": func(a *account) { a.State = active }, "half": func(a *account) { a.State, a.Password = creating, "" },
	} {
		w.create(id, id+"@example.com")
		w.outdate(id, change)
	}
	being, err := w.accounts.Get(t.Context(), "half")
	if err != nil {
		t.Fatal(err)
	}
	stronger := tenant.Demo().Tenants[0]
	w.hasher.override = nil // from now on the parameters of the tenant count
	if err := w.markWeak(t.Context(), stronger); err != nil || w.stored("waits").Rehash {
		t.Fatalf("found without being upgraded, %v: the test is blind", err)
	}
	start := noon.Add(30 * 24 * time.Hour)
	w.time = start
	for range 2 { // replicas, and a start after a kill
		if err := w.upgradeOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if a := w.stored("waits"); a.Expiry.At != start.Add(72*time.Hour).UnixMilli() || a.MaxTries == 0 || a.Argon2.MemoryKiB != 8 {
		t.Errorf("it ends at %d, %d tries, hashed with %+v", a.Expiry.At, a.MaxTries, a.Argon2)
	}
	if a := w.stored("active"); a.Expiry.DueAt != 0 || a.Argon2.MemoryKiB != 8 {
		t.Errorf("an active one: %+v", a.Expiry)
	}
	if a, err := w.accounts.Get(t.Context(), "half"); err != nil || a.Version != being.Version {
		t.Errorf("one that is being made was changed under whoever makes it: version %d, %v", a.Version, err)
	}
	if err := w.markWeak(t.Context(), stronger); err != nil || !w.stored("waits").Rehash || !w.stored("active").Rehash {
		t.Errorf("weak hashes are not found: %v", err)
	}
	w.sweepAt(start.Add(72 * time.Hour))
	if w.stored("waits").State != expired || len(eventsOf[events.Expired](w, "waits")) != 1 || w.stored("active").State != active {
		t.Errorf("it is %s, the active one %s", w.stored("waits").State, w.stored("active").State)
	}
}

func TestAnUpgradeThatCannotEndIsNotTakenForDone(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.outdate("r1", func(a *account) { a.Tenant = "gone" })
	for range 2 {
		if err := w.upgradeOnce(t.Context()); err == nil {
			t.Fatal("an account of a tenant that is not configured is upgraded")
		}
	}
}
