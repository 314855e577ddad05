package ledger

import (
	"context"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

func newTestCases(t *testing.T) *cases {
	t.Helper()
	b := open(t)
	if err := b.Ensure(t.Context(), caseSchema); err != nil {
		t.Fatal(err)
	}
	return &cases{docs: store.NewDocs(b, caseSchema, tenantCase.fields), registrations: newReadModel(b)}
}

var (
	caseOpened = events.CaseOpened{Case: "c1", Version: 1, NextVersion: 2, Registration: "r1", Hit: events.Hit{List: "un", Entry: "e1", Score: 912}, Lists: "un=1", Vault: 7}
	confirmed  = events.CaseDecided{Case: "c1", Version: 3, Actor: "rita", Reason: events.ReasonTrueMatch}
)

func TestACaseIsWhatItsEventsTellWhateverTheirOrder(t *testing.T) {
	again := caseOpened
	again.Version, again.NextVersion, again.Vault = 2, 3, 9
	cleared := events.CaseDecided{Case: "c1", Version: 3, Cleared: true, Actor: "rita", Reason: events.ReasonFalsePositive}
	closed := events.CaseClosed{Case: "c1", Version: 4, Registration: "r1", Cleared: true}
	after := map[string]time.Duration{"case.opened": 0, "case.decided": 3 * time.Hour, "case.closed": 4 * time.Hour}
	for sentence, test := range map[string]struct {
		told  []events.Event
		state CaseState
		vault uint64
	}{
		"opened":                        {[]events.Event{caseOpened}, CaseOpen, 7},
		"opened again":                  {[]events.Event{caseOpened, again}, CaseOpen, 9},
		"opened again, told before":     {[]events.Event{again, caseOpened}, CaseOpen, 9},
		"cleared":                       {[]events.Event{caseOpened, again, cleared}, CaseCleared, 9},
		"cleared, told before":          {[]events.Event{cleared, again, caseOpened}, CaseCleared, 9},
		"confirmed":                     {[]events.Event{caseOpened, again, confirmed}, CaseConfirmed, 9},
		"closed":                        {[]events.Event{caseOpened, again, cleared, closed}, CaseCleared, 9},
		"closed, told in the reverse":   {[]events.Event{closed, cleared, again, caseOpened}, CaseCleared, 9},
		"closed and decided by nobody":  {[]events.Event{caseOpened, closed}, CaseWithdrawn, 7},
		"closed first, and by nobody":   {[]events.Event{closed, caseOpened}, CaseWithdrawn, 7},
		"everything twice":              {[]events.Event{caseOpened, cleared, again, closed, caseOpened, cleared, again, closed}, CaseCleared, 9},
		"what is not of a case besides": {[]events.Event{events.ListActivated{List: "un"}, caseOpened}, CaseOpen, 7},
	} {
		t.Run(sentence, func(t *testing.T) {
			m := newTestCases(t)
			for _, e := range test.told {
				r := told("", after[e.Type()], e)
				if o, is := e.(events.CaseOpened); is {
					r.Stored = noon.Add(time.Duration(o.Version-1) * time.Hour)
				}
				if err := m.onCaseEvent(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			page, _, err := m.list(t.Context(), acme, test.state, "", 10)
			if err != nil || len(page) != 1 {
				t.Fatalf("%d cases, %v", len(page), err)
			}
			if c := page[0]; c.Opened.Vault != test.vault || c.Opened.Registration != "r1" || c.OpenedAt != noon.UnixMilli() {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func TestACaseTellsNothingOfAnErasedRegistration(t *testing.T) {
	erasure := events.ErasureRequested{Actor: "admin"}
	for sentence, late := range map[string]bool{"erased after the case": false, "the case comes after the erasure": true} {
		t.Run(sentence, func(t *testing.T) {
			m := newTestCases(t)
			tell := func() {
				for _, e := range []events.Event{caseOpened, confirmed} {
					if err := m.onCaseEvent(t.Context(), told("", time.Minute, e)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !late {
				tell()
			}
			in := bus.In[events.ErasureRequested]{Record: told("r1", time.Hour, erasure), Data: erasure}
			in.Record.Data = []byte(`{"actor":"admin"}`)
			for range 2 { // handlers run twice
				if out, err := (forgetter{m.registrations, []func(context.Context, string) error{m.withdraw}}).onErasureRequested(t.Context(), in); err != nil || out != events.ErasedBy(events.Ledger) {
					t.Fatalf("got %v, %v", out, err)
				}
			}
			tell() // late, or again
			c, err := m.get(t.Context(), acme, "c1")
			left := tenantCase{Tenant: acme, State: CaseWithdrawn, OpenedAt: noon.Add(time.Minute).UnixMilli(), Opened: events.CaseOpened{Case: "c1", Registration: "r1"}, Erased: true}
			if err != nil || c != left {
				t.Errorf("left is %+v, %v", c, err)
			}
		})
	}
}
