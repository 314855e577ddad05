package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/vault"
)

func TestTheGatewayAnswersAnErasureLastAndLeavesTheVaultEmpty(t *testing.T) {
	w := newWorld(t)
	const key = "erased one"
	a := w.do("POST", "/v1/registrations", person("ingrid@example.com"), "Idempotency-Key", key)
	id := a.field("id")
	path := "/v1/registrations/" + id + "/personal-data"
	for name, test := range map[string]struct {
		token, path string
		status      int
	}{
		"a channel":               {"Bearer channel", path, http.StatusForbidden},
		"an auditor":              {"Bearer auditor", path, http.StatusForbidden},
		"an unknown registration": {"Bearer admin", strings.Replace(path, id, "00000000-0000-8000-8000-000000000000", 1), http.StatusNotFound},
	} {
		if a := w.do("DELETE", test.path, nil, "Authorization", test.token); a.status != test.status {
			t.Errorf("%s is answered %d %s", name, a.status, a.body)
		}
	}
	if n := w.entries(); n != 1 {
		t.Fatalf("%d entries in the vault", n)
	}
	if a := w.do("DELETE", path, nil); a.status != http.StatusAccepted || a.field("status") != "RECEIVED" {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	w.eventually("the vault is empty", func() bool { return w.entries() == 0 })
	if a := w.do("POST", "/v1/registrations", person("ingrid@example.com"), "Idempotency-Key", key); a.status != http.StatusUnprocessableEntity || a.field("type") != "urn:usher:problem:erased" {
		t.Errorf("the request that comes again is answered %d %s", a.status, a.body)
	}
	if n := w.entries(); n != 0 {
		t.Errorf("the request that comes again leaves %d entries in the vault", n)
	}
	for _, s := range events.Services[1:] {
		if status := w.do("GET", "/v1/registrations/"+id, nil).field("status"); status == "ERASED" {
			t.Fatalf("erased before %s has answered", s)
		}
		w.publish(w.bus(s), id, events.ErasedBy(s))
	}
	w.eventually("it is erased", func() bool { return w.do("GET", "/v1/registrations/"+id, nil).field("status") == "ERASED" })
	if a := w.do("DELETE", path, nil, "Prefer", "wait=5"); a.status != http.StatusOK || a.field("status") != "ERASED" {
		t.Errorf("a second erasure is answered %d %s", a.status, a.body)
	}
	stored, err := w.bus(events.Ledger).StoredAt(t.Context(), events.SubjectOf(cloudVault, id, events.ErasureRequested{}))
	if err != nil || stored.Event != (events.ErasureRequested{Actor: "admin"}) {
		t.Errorf("stored %v, %v", stored.Event, err)
	}
}

func TestALateAnswerOfAStageTakesItsEntryOutOfTheVault(t *testing.T) {
	w := newWorld(t)
	id := w.do("POST", "/v1/registrations", person("ingrid@example.com")).field("id")
	w.publish(w.bus(events.Validator), id, events.StillErased(events.Validator, 1))
	w.eventually("the vault is empty", func() bool { return w.entries() == 0 })
	if status := w.do("GET", "/v1/registrations/"+id, nil).field("status"); status != "ERASED" {
		t.Errorf("status is %s", status)
	}
}

// entries counts what the vault holds.
func (w *world) entries() uint64 {
	w.t.Helper()
	s, err := w.bus(events.Ledger).JetStream().Stream(w.t.Context(), bus.VaultStream)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func TestAGatewayThatStartsTakesAwayWhatAnotherLeftOfTheErased(t *testing.T) {
	w := newWorld(t)
	id := w.do("POST", "/v1/registrations", person("ingrid@example.com")).field("id")
	w.do("POST", "/v1/registrations", person("other@example.com"))
	if a := w.do("DELETE", "/v1/registrations/"+id+"/personal-data", nil); a.status != http.StatusAccepted {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	w.eventually("one entry is left in the vault", func() bool { return w.entries() == 1 })
	if _, err := w.gateway.env.Vault.Put(t.Context(), cloudVault, id, vault.Entry{}); err != nil {
		t.Fatal(err)
	}
	if err := newErasure(w.gateway.env).sweepOnce(t.Context()); err != nil || w.entries() != 1 {
		t.Errorf("%d entries are left in the vault, %v", w.entries(), err)
	}
}

func TestAnErasureUnderAnotherTenantLeavesThePersonInTheVault(t *testing.T) {
	w := newWorld(t)
	id := w.do("POST", "/v1/registrations", person("ingrid@example.com")).field("id")
	e := newErasure(w.gateway.env)
	requested := events.ErasureRequested{Actor: "admin"}
	for _, erasure := range []struct {
		tenant string
		left   uint64
	}{{finsei, 1}, {cloudVault, 0}, {finsei, 0}} {
		in := bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf(erasure.tenant, id, requested), Event: requested}, Data: requested}
		if _, err := e.onErasureRequested(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if err := e.sweepOnce(t.Context()); err != nil || w.entries() != erasure.left {
			t.Errorf("after the erasure under %s %d entries are left, %v", erasure.tenant, w.entries(), err)
		}
	}
	if _, err := w.gateway.env.Vault.Put(t.Context(), cloudVault, id, vault.Entry{}); err != nil {
		t.Fatal(err)
	}
	if err := e.sweepOnce(t.Context()); err != nil || w.entries() != 0 {
		t.Errorf("of the erased %d entries are left, %v", w.entries(), err)
	}
}
