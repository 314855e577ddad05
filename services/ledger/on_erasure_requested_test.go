package ledger

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

func TestAnErasedRegistrationKeepsThatThingsWereAndWhen(t *testing.T) {
	for name, late := range map[string]bool{"erased after its history": false, "its history comes after the erasure": true} {
		t.Run(name, func(t *testing.T) {
			q, _, _ := newTestQueue(t)
			m := q.model
			told := history("r1")
			erasure := events.ErasureRequested{Actor: "admin"}
			data, err := json.Marshal(erasure)
			if err != nil {
				t.Fatal(err)
			}
			record := events.Record{Subject: events.SubjectOf(acme, "r1", erasure), Event: erasure, Sequence: 90, Stored: noon.Add(time.Hour), Data: data}
			steps := []func(){
				func() {
					for _, r := range told {
						if err := m.onAnyEvent(t.Context(), r); err != nil {
							t.Fatal(err)
						}
					}
				},
				func() {
					out, err := (forgetter{q.model, []func(context.Context, string) error{q.withdraw}}).onErasureRequested(t.Context(), bus.In[events.ErasureRequested]{Record: record, Data: erasure})
					if err != nil || out != events.ErasedBy(events.Ledger) {
						t.Fatalf("got %v, %v", out, err)
					}
				},
			}
			if late {
				slices.Reverse(steps)
			}
			for _, step := range steps {
				step()
			}
			for i, s := range events.Services {
				e := events.ErasedBy(s)
				data, _ := json.Marshal(e)
				if err := m.onAnyEvent(t.Context(), events.Record{Subject: events.SubjectOf(acme, "r1", e), Event: e, Sequence: uint64(91 + i), Stored: noon.Add(time.Hour), Data: data}); err != nil {
					t.Fatal(err)
				}
			}
			r, ok, err := m.get(t.Context(), acme, "r1")
			if err != nil || !ok || r.Status != events.StatusErased || !r.Erased || r.AcceptedAt != noon.UnixMilli() {
				t.Fatalf("got %v %s %v, %v", ok, r.Status, r.Erased, err)
			}
			state := events.Fold(r.records("r1"))
			if state.Status != events.StatusErased || len(state.Stages) != len(told)+7 {
				t.Errorf("its history is %d events long and amounts to %s", len(state.Stages), state.Status)
			}
			if body, _ := json.Marshal(r); strings.Contains(string(body), `"requestMac"`) || strings.Contains(string(body), `"codeHash"`) {
				t.Errorf("left is %s", body)
			}
		})
	}
}

func TestAnErasureUnderAnotherTenantLeavesTheRegistrationAlone(t *testing.T) {
	m := newReadModel(open(t))
	for _, r := range history("r1") {
		if err := m.onAnyEvent(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	before, _, err := m.get(t.Context(), acme, "r1")
	if err != nil {
		t.Fatal(err)
	}
	e := events.ErasureRequested{Actor: "admin"}
	in := bus.In[events.ErasureRequested]{Record: events.Record{Subject: events.SubjectOf("another", "r1", e), Event: e, Sequence: 90, Data: []byte("{}")}, Data: e}
	if out, err := (forgetter{model: m}).onErasureRequested(t.Context(), in); err != nil || out != nil {
		t.Fatalf("got %v, %v", out, err)
	}
	if after, ok, err := m.get(t.Context(), acme, "r1"); err != nil || !ok || !reflect.DeepEqual(before, after) {
		t.Errorf("it is %s of %s, %v", after.Status, after.Tenant, err)
	}
}
