package validator

import (
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

func (w *world) erase(id string) {
	w.t.Helper()
	w.documents = store.NewMemory()
	e := events.ErasureRequested{Actor: "admin"}
	in := bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf(institution, id, e), Event: e}, Data: e}
	for range 2 {
		if out, err := w.onErasureRequested(w.t.Context(), in); err != nil || out != events.ErasedBy(events.Validator) {
			w.t.Fatalf("got %v, %v", out, err)
		}
	}
}

func TestAnErasedRegistrationHoldsNoMarkAndStaysErased(t *testing.T) {
	w := newWorld(t)
	q := w.request(institution, "r1", "123456789", "M1")
	w.outcome(q)
	if w.kept() != 2 {
		t.Fatalf("%d marks", w.kept())
	}
	w.erase("r1")
	if w.kept() != 0 {
		t.Errorf("%d marks are left", w.kept())
	}
	if e, err := w.decideOn(q); err != nil || e != events.StillErased(events.Validator, 7) {
		t.Errorf("the request that comes again gives %v, %v", e, err)
	}
	if w.kept() != 0 {
		t.Errorf("the request that comes again leaves %d marks", w.kept())
	}
	if got := w.outcome(w.request(institution, "r2", "123456789", "M1")); got != "validated" {
		t.Errorf("the same person under a new registration is in progress by %s", got)
	}
}

func TestWhomNobodyActivatedHoldsNoMarkEither(t *testing.T) {
	w := newWorld(t)
	w.documents = store.NewMemory()
	q := w.request(institution, "r1", "123456789", "M1")
	w.outcome(q)
	e := events.Expired{Reason: events.NotActivated}
	in := bus.In[events.Expired]{Record: events.Record{Subject: events.SubjectOf(institution, "r1", e), Event: e}, Data: e}
	if out, err := w.onRegistrationExpired(t.Context(), in); err != nil || out != events.ForgottenBy(events.Validator) {
		t.Fatalf("got %v, %v", out, err)
	}
	if w.kept() != 0 {
		t.Errorf("%d marks are left", w.kept())
	}
	if e, err := w.decideOn(q); err != nil || e != events.StillErased(events.Validator, 7) {
		t.Errorf("the request that comes again gives %v, %v", e, err)
	}
}

func TestAnErasureBeforeTheDecisionWins(t *testing.T) {
	w := newWorld(t)
	q := w.request(institution, "r1", "123456789", "M1")
	w.erase("r1")
	delete(w.people, "r1")
	if e, err := w.decideOn(q); err != nil || e != events.StillErased(events.Validator, 7) {
		t.Errorf("got %v, %v", e, err)
	}
}

func TestAnErasureUnderAnotherTenantLeavesTheDecisionAlone(t *testing.T) {
	w := newWorld(t)
	q := w.request(institution, "r1", "123456789", "M1")
	w.outcome(q)
	w.documents = store.NewMemory()
	e := events.ErasureRequested{Actor: "admin"}
	in := bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf("another", "r1", e), Event: e}, Data: e}
	if out, err := w.onErasureRequested(t.Context(), in); err != nil || out != nil {
		t.Errorf("got %v, %v", out, err)
	}
	if got := w.outcome(q); got != "validated" || w.kept() != 2 {
		t.Errorf("it is %s, with %d marks", got, w.kept())
	}
}

func TestAnErasureUnderAnotherTenantBeforeTheRightOneStandsInNobodysWay(t *testing.T) {
	w := newWorld(t)
	w.documents = store.NewMemory()
	for _, tenant := range []string{"another", institution} {
		e := events.ErasureRequested{Actor: "admin"}
		in := bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf(tenant, "r1", e), Event: e}, Data: e}
		if out, err := w.onErasureRequested(t.Context(), in); err != nil || out != events.ErasedBy(events.Validator) {
			t.Errorf("under %s: %v, %v", tenant, out, err)
		}
	}
}
