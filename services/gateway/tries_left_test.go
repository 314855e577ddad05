package gateway

import (
	"errors"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/vault"
)

// Each try of a request puts an entry into the vault before the registration is stored.
func TestOfTheTriesOfARequestOneEntryStays(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, i *intake, s submission){
		"nothing": func(*testing.T, *intake, submission) {},
		"a try that stored only its entry": func(t *testing.T, i *intake, s submission) {
			put(t, i, s)
		},
		"two of them": func(t *testing.T, i *intake, s submission) {
			put(t, i, s)
			put(t, i, s)
		},
		"one, and then one that stored the registration": func(t *testing.T, i *intake, s submission) {
			put(t, i, s)
			request(t, i, s, put(t, i, s))
		},
		"one that stored the registration and was not answered": func(t *testing.T, i *intake, s submission) {
			request(t, i, s, put(t, i, s))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			i := w.gateway.intake
			demo, _ := i.config.Tenant(cloudVault)
			s := submission{tenant: demo, id: "r1", registration: events.Registration{Channel: "native", Dialect: "native"}, password: "seven quiet lanterns"}
			before(t, i, s)
			for range 2 {
				if _, f := i.accept(t.Context(), s); f != nil {
					t.Fatal(f)
				}
			}
			stored, err := i.bus.StoredAt(t.Context(), events.SubjectOf(cloudVault, s.id, events.Requested{}))
			if err != nil {
				t.Fatal(err)
			}
			at := stored.Event.(events.Requested).Vault
			if _, err := i.vault.Get(t.Context(), cloudVault, s.id, at); err != nil {
				t.Errorf("the entry of the registration: %v", err)
			}
			if err := i.vault.Withdraw(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			if n, err := i.vault.Count(t.Context(), cloudVault); n != 0 || err != nil {
				t.Errorf("%d registrations count as unfinished when it is done, %v", n, err)
			}
		})
	}
}

func put(t *testing.T, i *intake, s submission) uint64 {
	t.Helper()
	entry, err := i.entry(s)
	if err != nil {
		t.Fatal(err)
	}
	at, err := i.vault.PutFirst(t.Context(), cloudVault, s.id, entry)
	if errors.Is(err, vault.ErrOccupied) {
		at, err = i.vault.Put(t.Context(), cloudVault, s.id, entry)
	}
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func request(t *testing.T, i *intake, s submission, at uint64) {
	t.Helper()
	requested, err := i.requested(s)
	if err != nil {
		t.Fatal(err)
	}
	requested.Vault = at
	if err := i.bus.Publish(t.Context(), cloudVault, s.id, requested); err != nil {
		t.Fatal(err)
	}
}
