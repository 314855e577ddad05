package validator

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys/keystest"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// people is a vault by registration.
type people map[string]events.Registration

func (p people) Get(_ context.Context, _, registration string, _ uint64) (vault.Entry, error) {
	r, ok := p[registration]
	if !ok {
		return vault.Entry{}, vault.ErrMissing
	}
	return vault.Entry{Registration: r}, nil
}

// latest are the newest events by tenant and registration, as the leader of the stream has them.
type latest map[string]events.Event

func (l latest) Latest(_ context.Context, tenant, registration string) (events.Record, error) {
	e, ok := l[tenant+"/"+registration]
	if !ok {
		return events.Record{}, bus.ErrAbsent
	}
	return events.Record{Event: e}, nil
}

// world is a validator with real documents and keys.
type world struct {
	*service
	t      *testing.T
	people people
	latest latest
	clock  time.Duration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b := storetest.Embedded(t, Service.Schemas...)
	ring := keystest.Ring(t)
	p, l := people{}, latest{}
	return &world{t: t, people: p, latest: l, service: &service{
		config: tenant.Demo(), persons: p, decisions: store.NewDocs(b, decisionSchema, decision.fields),
		marks: &marks{docs: store.NewDocs(b, markSchema, mark.fields), histories: l, keys: ring},
	}}
}

// request is a registration as the stream hands it over, later than every one before.
type request struct {
	tenant, id string
	at         time.Time
}

func (w *world) request(tenant, id, ssn, member string) request {
	r := customer()
	r.Applicant.NationalID.Value, r.MemberNumber = ssn, member
	w.people[id] = r
	w.latest[tenant+"/"+id] = events.Requested{}
	w.clock++
	return request{tenant, id, receipt.Add(w.clock)}
}

func (w *world) decideOn(q request) (events.Event, error) {
	e := events.Requested{Carried: events.Carried{Channel: candescent, MAC: q.id, Vault: 7}}
	subject := events.Subject{Tenant: q.tenant, Registration: q.id, Step: events.StepRequested, N: "1"}
	return w.onRegistrationRequested(w.t.Context(), bus.In[events.Requested]{Record: events.Record{Subject: subject, Event: e, Stored: q.at}, Data: e})
}

// outcome is "validated", or the field that is in progress.
func (w *world) outcome(q request) string {
	w.t.Helper()
	e, err := w.decideOn(q)
	if err != nil {
		w.t.Fatal(err)
	}
	return told(w.t, e)
}

func told(t *testing.T, e events.Event) string {
	t.Helper()
	switch e := e.(type) {
	case events.Validated:
		return "validated"
	case events.Rejected:
		if len(e.Violations) == 1 && e.Violations[0].Code == events.CodeInProgress {
			return e.Violations[0].Field
		}
	}
	t.Fatalf("got %v", e)
	return ""
}

// kept counts the marks.
func (w *world) kept() int64 {
	w.t.Helper()
	n, err := w.marks.docs.Count(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestASecondRegistrationOfAPersonInFlightIsInProgress(t *testing.T) {
	for name, c := range map[string]struct{ tenant, ssn, member, want string }{
		"the same person":                       {institution, "123456789", "M1", "memberNumber"},
		"the same social security number":       {institution, "123456789", "M2", "person.ssn"},
		"the same member number, in lower case": {institution, "987654321", "m1", "memberNumber"},
		"another person":                        {institution, "987654321", "M2", "validated"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if got := w.outcome(w.request(institution, "first", "123456789", "M1")); got != "validated" {
				t.Fatalf("the first: %s", got)
			}
			if got := w.outcome(w.request(c.tenant, "second", c.ssn, c.member)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestInstitutionsDoNotKnowEachOthersPersons(t *testing.T) {
	w := newWorld(t)
	c := tenant.Demo()
	other := *c.Tenants[3]
	other.ID = "02222"
	c.Tenants = append(c.Tenants, &other)
	w.config = c
	for _, id := range []string{institution, "02222"} {
		if got := w.outcome(w.request(id, "r-"+id, "123456789", "M1")); got != "validated" {
			t.Errorf("%s: %s", id, got)
		}
	}
	if n := w.kept(); n != 4 {
		t.Errorf("%d marks, want 4", n)
	}
}

func TestAMarkIsJudgedByTheHistoryOfItsRegistration(t *testing.T) {
	for name, c := range map[string]struct {
		latest events.Event // nil where the stream has forgotten it
		want   string
	}{
		"validated":           {events.Validated{}, "memberNumber"},
		"categorized":         {events.Categorized{}, "memberNumber"},
		"in review":           {events.ReviewRequired{}, "memberNumber"},
		"waiting for lists":   {events.ScreeningWait{}, "memberNumber"},
		"decided by a person": {events.ReviewDecided{}, "memberNumber"},
		"with its account":    {events.AccountCreated{}, "validated"},
		"with its mail":       {events.ActivationSent{}, "validated"},
		"activated":           {events.AccountActivated{}, "validated"},
		"rejected":            {events.Rejected{At: events.StepRisk}, "validated"},
		"failed":              {events.Failed{}, "validated"},
		"expired":             {events.Expired{}, "validated"},
		"forgotten":           {nil, "validated"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.outcome(w.request(institution, "first", "123456789", "M1"))
			w.latest[institution+"/first"] = c.latest
			if c.latest == nil {
				delete(w.latest, institution+"/first")
			}
			if got := w.outcome(w.request(institution, "second", "123456789", "M1")); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestNoRedeliveryTakesAMarkBack(t *testing.T) {
	w := newWorld(t)
	first := w.request(institution, "first", "123456789", "M1")
	w.outcome(first)
	w.latest[institution+"/first"] = events.Rejected{At: events.StepRisk}
	if got := w.outcome(w.request(institution, "second", "123456789", "M1")); got != "validated" {
		t.Fatalf("the second: %s", got)
	}
	// A replica that stopped before it stored its decision goes on now: its document is not there yet.
	own := mark{Tenant: first.tenant, Registration: first.id, Receipt: first.at.UnixNano()}
	ids, err := w.marks.of(institution, w.people[first.id])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.marks.take(t.Context(), own, ids); err != nil {
		t.Fatal(err)
	}
	if got := w.outcome(first); got != "validated" {
		t.Errorf("a redelivery of the first: %s", got)
	}
	for _, id := range ids {
		if stored, err := w.marks.docs.Get(t.Context(), id.id); err != nil || stored.Value.Registration != "second" {
			t.Errorf("%s: %+v, %v", id.field, stored.Value, err)
		}
	}
}

func TestWhoIsTurnedDownHoldsNoMark(t *testing.T) {
	w := newWorld(t)
	w.outcome(w.request(institution, "first", "123456789", "M1"))
	second := w.request(institution, "second", "123456789", "M2") // takes the member number, then finds the person in progress
	if got := w.outcome(second); got != "person.ssn" {
		t.Fatal(got)
	}
	w.latest[institution+"/second"] = events.Rejected{At: events.StepValidation}
	if got := w.outcome(w.request(institution, "fourth", "987654321", "M2")); got != "validated" {
		t.Errorf("the member number of one who was turned down: %s", got)
	}
	invalid := w.request(institution, "fifth", "1", "M5")
	if e, err := w.decideOn(invalid); err != nil || reflect.TypeOf(e) != reflect.TypeFor[events.Rejected]() {
		t.Fatal(e, err)
	}
	if n := w.kept(); n != 4 {
		t.Errorf("%d marks, want the four of two persons", n)
	}
}

func TestOfTwentyAtOnceOneIsValidated(t *testing.T) {
	w := newWorld(t)
	var requests []request
	for i := range 20 {
		requests = append(requests, w.request(institution, fmt.Sprint("r", i), "123456789", "M1"))
	}
	var wg sync.WaitGroup
	for _, q := range requests {
		for range 2 { // each also on another replica
			wg.Go(func() {
				if _, err := w.decideOn(q); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	validated := 0
	for _, q := range requests {
		if w.outcome(q) == "validated" {
			validated++
		}
	}
	if validated != 1 || w.kept() != 2 {
		t.Errorf("%d validated, %d marks", validated, w.kept())
	}
}

func TestMarksAndDecisionsHoldNoPerson(t *testing.T) {
	w := newWorld(t)
	w.outcome(w.request(institution, "first", "123456789", "M468531842"))
	page, _, err := w.marks.docs.Find(t.Context(), store.Query{Limit: 10})
	if err != nil || len(page) != 2 {
		t.Fatalf("%d marks, %v", len(page), err)
	}
	stored, err := w.decisions.Get(t.Context(), "first")
	if err != nil {
		t.Fatalf("%+v, %v", stored, err)
	}
	all := fmt.Sprint(page, stored)
	for _, secret := range []string{"123456789", "M468531842", "Smith"} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is in clear", secret)
		}
	}
}

func TestTheAcceptedDisclosuresAreToldWithTheValidation(t *testing.T) {
	w := newWorld(t)
	q := w.request(institution, "first", "123456789", "M1")
	r := w.people["first"]
	r.Consents = append(r.Consents, events.Consent{ID: "what the client made up", Version: "9"})
	w.people["first"] = r
	e, err := w.decideOn(q)
	want := []events.Consent{{ID: "online-banking-agreement", Version: "1"}}
	if v, ok := e.(events.Validated); err != nil || !ok || !reflect.DeepEqual(v.Disclosures, want) {
		t.Errorf("got %v, %v", e, err)
	}
}
