package accounts

import (
	"reflect"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

func (w *world) erase(id string) {
	w.t.Helper()
	e := events.ErasureRequested{Actor: "admin"}
	for range 2 {
		out, err := w.onErasureRequested(w.t.Context(), bus.In[events.ErasureRequested]{Record: record(id, e, noon), Data: e})
		if err != nil || out != events.ErasedBy(events.Accounts) {
			w.t.Fatalf("got %v, %v", out, err)
		}
	}
	if got, want := w.stored(id), (account{Tenant: cloudVault, State: erased}); !reflect.DeepEqual(got, want) {
		w.t.Errorf("of %s is left %+v", id, got)
	}
}

func TestAnErasedAccountStaysErasedAndItsAddressIsFree(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.erase("r1")
	if e := w.create("r1", "a@example.com"); e != events.StillErased(events.Accounts, 7) {
		t.Errorf("a request that comes again gives %v", e)
	}
	if _, ok := w.create("r2", "a@example.com").(events.AccountCreated); !ok {
		t.Error("the erased account's address is still taken")
	}
	w.erase("r3")
	if e := w.create("r3", "c@example.com"); e != events.StillErased(events.Accounts, 7) {
		t.Errorf("one that was erased before it had an account gives %v", e)
	}
}

func TestAnErasureWhileThePasswordIsHashedCounts(t *testing.T) {
	w := newWorld(t)
	w.register("r1", "a@example.com", "seven quiet lanterns")
	e := events.Categorized{Carried: events.Carried{MAC: "mac", Vault: 7}}
	in := bus.In[events.Categorized]{Record: record("r1", e, noon), Data: e}
	read := w.reader(t.Context(), in)
	claimed, err := w.claim(t.Context(), in, read)
	if err != nil {
		t.Fatal(err)
	}
	w.erase("r1")
	completed, err := w.complete(t.Context(), in, claimed, read)
	if err != nil || completed.Value.State != erased {
		t.Errorf("state %s, %v", completed.Value.State, err)
	}
}

func TestNoCodeAndNoResendWakesAnErasedAccount(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.erase("r1")
	presented := events.ActivationRequested{RequestID: "q", CodeHash: "h"}
	out, err := w.onActivationRequested(t.Context(), bus.In[events.ActivationRequested]{Record: record("r1", presented, noon), Data: presented})
	if _, refused := out.(events.ActivationRefused); err != nil || !refused {
		t.Errorf("a code gives %v, %v", out, err)
	}
	resend := events.ResendRequested{K: 1}
	out, err = w.onResendRequested(t.Context(), bus.In[events.ResendRequested]{Record: record("r1", resend, noon), Data: resend})
	if e, refused := out.(events.ResendRefused); err != nil || !refused || e.Code != events.ResendClosed {
		t.Errorf("a resend gives %v, %v", out, err)
	}
}

func TestAnErasureUnderAnotherTenantLeavesTheAccountAlone(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	before := w.stored("r1")
	e := events.ErasureRequested{Actor: "admin"}
	of := events.Record{Subject: events.SubjectOf("another", "r1", e), Event: e}
	out, err := w.onErasureRequested(t.Context(), bus.In[events.ErasureRequested]{Record: of, Data: e})
	if err != nil || out != nil {
		t.Errorf("got %v, %v", out, err)
	}
	if after := w.stored("r1"); !reflect.DeepEqual(before, after) {
		t.Errorf("of the account is left %+v", after)
	}
}
