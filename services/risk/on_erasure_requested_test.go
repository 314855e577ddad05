package risk

import (
	"reflect"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

func (h *harness) erase() {
	h.t.Helper()
	h.documents = store.NewMemory()
	e := events.ErasureRequested{Actor: "admin"}
	in := bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf(demoTenant().ID, "r1", e), Event: e}, Data: e}
	for range 2 {
		if out, err := h.onErasureRequested(h.t.Context(), in); err != nil || out != events.ErasedBy(events.Risk) {
			h.t.Fatalf("got %v, %v", out, err)
		}
	}
	tombstone := decision{Tenant: demoTenant().ID, Erased: true}
	for _, id := range []string{"r1", "r1/2"} {
		if s, err := h.decisions.Get(h.t.Context(), id); err != nil && id == "r1" || err == nil && !reflect.DeepEqual(s.Value, tombstone) {
			h.t.Errorf("of %s is left %+v, %v", id, s.Value, err)
		}
	}
}

func TestAnErasureEndsAReviewThatWaits(t *testing.T) {
	h := newHarness(t, listed)
	if e, waits := h.handle(); !waits || e == nil {
		t.Fatalf("got %v", e)
	}
	h.erase()
	if e, waits := h.handle(); waits || e != events.StillErased(events.Risk, 7) {
		t.Errorf("the parked message gives %v", e)
	}
	if e := h.decidedBy(events.ReviewDecided{Case: 2, Approved: true, Actor: "reviewer"}); e.Type() != (events.Erased{}).Type() {
		t.Errorf("an approval gives %v", e)
	}
}

func TestAnErasureWhileADecisionIsMadeLeavesNothingOfThePersonInTheVault(t *testing.T) {
	h := newHarness(t, listed)
	h.erase()
	if e, waits := h.handle(); waits || e != events.StillErased(events.Risk, 7) {
		t.Errorf("got %v", e)
	}
	delete(h.entries, 7)
	if len(h.entries) != 0 {
		t.Errorf("%d entries of a person who was to be reviewed are left", len(h.entries))
	}
}

func TestAnErasureUnderAnotherTenantLeavesTheReviewAlone(t *testing.T) {
	h := newHarness(t, listed)
	told, _ := h.handle()
	sighted := sighting{At: 1, Marks: map[string]string{byPhone: "mark"}}
	if err := h.sightings.Put(t.Context(), "r1", sighted); err != nil {
		t.Fatal(err)
	}
	h.documents = store.NewMemory()
	e := events.ErasureRequested{Actor: "admin"}
	in := bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf("another", "r1", e), Event: e}, Data: e}
	if out, err := h.onErasureRequested(t.Context(), in); err != nil || out != nil {
		t.Errorf("got %v, %v", out, err)
	}
	if again, waits := h.handle(); !waits {
		t.Errorf("after %v it tells %v", told, again)
	}
	if after, err := h.sightings.Get(t.Context(), "r1"); err != nil || !reflect.DeepEqual(after.Value, sighted) {
		t.Errorf("it is found by %+v, %v", after, err)
	}
	if kept, err := h.customers.docs.Get(t.Context(), "r1"); err != nil || kept.Value.State != applicant {
		t.Errorf("the applicant is %+v, %v", kept, err)
	}
}
