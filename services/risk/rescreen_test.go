package risk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// demoBank is the tenant of these tests, which nobody changes.
var demoBank = demoTenant()

// watchlist is a version of the policy's list: its names, by the ids of their entries.
func watchlist(version string, entries ...lists.Entry) *lists.Set {
	return &lists.Set{Lists: []*lists.List{{ID: "demo", Hash: version, Entries: entries}}}
}

func person(id, name string) lists.Entry {
	return lists.Entry{ID: id, Kind: lists.Individual, Names: []lists.Name{{Text: name}}}
}

// office is one tenant's customers, and what the stream and the vault have. Each process of risk
// has its own lists.
type office struct {
	*harness
	runs *store.Docs[Rescreening]
	fail func(events.Event) error // of a publish
}

func newOffice(t *testing.T) *office {
	b := store.NewMemory()
	if err := b.Ensure(t.Context(), Service.Schemas...); err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, stored: map[events.Subject]events.Record{}, entries: map[uint64]vault.Entry{}, marks: map[string]uint64{}, clock: noon}
	h.service = &service{config: tenant.Demo(), history: h, persons: h, now: func() time.Time { return h.clock }}
	h.customers = &customers{docs: store.NewDocs(b, customerSchema, customer.fields), keys: testKeys(t), persons: h, now: h.now}
	h.documents, h.decisions = b, store.NewDocs(b, decisionSchema, decision.fields)
	h.sightings, h.clearances = store.NewDocs(b, sightingSchema, sighting.fields), store.NewDocs(b, clearanceSchema, clearance.fields)
	o := &office{harness: h, runs: store.NewDocs(b, rescreeningSchema, Rescreening.fields), fail: func(events.Event) error { return nil }}
	return o
}

// Publish implements teller.
func (o *office) Publish(_ context.Context, tenant, registration string, e events.Event) error {
	if err := o.fail(e); err != nil {
		return err
	}
	s := events.SubjectOf(tenant, registration, e)
	if _, told := o.stored[s]; told {
		return bus.ErrExists
	}
	o.stored[s] = events.Record{Subject: s, Event: e, Stored: o.clock}
	return nil
}

// process is one replica of risk.
func (o *office) process(name string, set *lists.Set) *rescreener {
	r := o.replica(name, &screener{})
	o.use(r, set)
	return r
}

// replica is a process that has lists already.
func (o *office) replica(name string, lists *screener) *rescreener {
	return &rescreener{
		config: tenant.Demo, lists: lists, customers: o.customers, runs: o.runs, history: o, teller: o, pace: time.Microsecond,
		log: quiet, now: o.now, me: name, noticed: map[string]notice{},
	}
}

// use makes a process load another set.
func (o *office) use(r *rescreener, set *lists.Set) {
	r.lists.Use(set)
	r.lists.status = func() (all []lists.Status) {
		for _, l := range set.Lists {
			all = append(all, lists.Status{List: l.ID, State: lists.Current, Version: l.Version(), Entries: len(l.Entries), Confirmed: time.Now()})
		}
		return all
	}
	o.clock = o.clock.Add(time.Second)
}

// keep remembers an applicant of the tenant.
func (o *office) keep(id string, a events.Applicant, found screened) error {
	_, err := o.customers.keep(o.t.Context(), demoBank.ID, id, a, demoBank.Policy.Screening, found)
	return err
}

// customer is decided on by a process under its lists and gets an account.
func (o *office) customer(id, given, family string, under *rescreener) {
	o.t.Helper()
	a := events.Applicant{Type: "INDIVIDUAL", GivenName: given, FamilyName: family}
	found, err := under.lists.screen(demoBank.Policy.Screening, a)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, err := range []error{
		o.keep(id, a, found), o.customers.admit(o.t.Context(), id),
	} {
		if err != nil {
			o.t.Fatal(err)
		}
	}
	o.clock = o.clock.Add(settled + time.Second)
}

// sealed is what is kept of a customer.
func (o *office) sealed(id, given, family string) []byte {
	o.t.Helper()
	b, err := o.customers.keys.Seal(keys.Data, demoBank.ID, aad(demoBank.ID, id), fmt.Appendf(nil, `{"type":"INDIVIDUAL","givenName":%q,"familyName":%q}`, given, family))
	if err != nil {
		o.t.Fatal(err)
	}
	return b
}

// advance lets a process work until all who are customers now have been looked at.
func (o *office) advance(r *rescreener) {
	o.t.Helper()
	for range 2 {
		for more := true; more; {
			var err error
			if more, err = r.advance(o.t.Context(), demoBank); err != nil {
				o.t.Fatal(err)
			}
		}
		o.clock = o.clock.Add(settled)
	}
}

// opened are the cases that were opened, by registration and entry; one opened twice is there twice.
func (o *office) opened() (all []string) {
	for _, r := range o.stored {
		if e, is := r.Event.(events.CaseOpened); is {
			all = append(all, e.Registration+" "+e.Hit.Entry)
		}
	}
	return all
}

func (o *office) expectCases(want ...string) {
	o.t.Helper()
	got := o.opened()
	found := map[string]int{}
	for _, c := range got {
		found[c]++
	}
	for _, c := range want {
		found[c]--
	}
	for c, n := range found {
		if n != 0 {
			o.t.Errorf("cases are %q, want %q: %s", got, want, c)
		}
	}
}

func (o *office) progress() Rescreening {
	o.t.Helper()
	s, err := o.runs.Get(o.t.Context(), demoBank.ID)
	if err != nil {
		o.t.Fatal(err)
	}
	return s.Value
}

func TestNewHitsOfCustomersBecomeCasesOnce(t *testing.T) {
	o := newOffice(t)
	r := o.process("a", watchlist("1", person("e1", "Arkady Volkharin")))
	o.advance(r)
	o.customer("jane", "Jane", "Appleby", r)
	o.customer("arkady", "Arkady", "Volkharin", r) // whoever decided has seen the hit
	o.advance(r)
	o.expectCases()

	o.use(r, watchlist("2", person("e1", "Arkady Volkharin"), person("e2", "Jane Appleby")))
	o.advance(r)
	o.expectCases("jane e2")
	if p := o.progress(); p.Looked != 2 || p.Opened != 1 || p.Completed == 0 || p.Left() != 0 {
		t.Errorf("progress is %+v", p)
	}
	o.use(r, watchlist("3", person("e1", "Arkady Volkharin"), person("e2", "Jane Appleby"), person("e3", "Somebody Else")))
	o.advance(r)
	o.expectCases("jane e2")

	changed := person("e1", "Arkady Volkharin")
	changed.Remarks = "now with a remark"
	o.use(r, watchlist("4", changed, person("e2", "Jane Appleby")))
	o.advance(r)
	o.expectCases("jane e2", "arkady e1")
}

func TestVersionsOfListsAndTheEndOfEachRunAreFactsOfTheTenant(t *testing.T) {
	o := newOffice(t)
	r := o.process("a", watchlist("1", person("e1", "Nobody Known")))
	o.advance(r)
	o.use(r, watchlist("2", person("e1", "Nobody Known"), person("e2", "Jane Appleby")))
	o.customer("jane", "Jane", "Appleby", o.process("old", watchlist("1", person("e1", "Nobody Known"))))
	o.advance(r)
	o.advance(o.process("b", watchlist("2", person("e1", "Nobody Known"), person("e2", "Jane Appleby"))))
	for subject, want := range map[string]events.Event{
		"list.demo-1": events.ListActivated{List: "demo", Version: "1", Entries: 1},
		"list.demo-2": events.ListActivated{List: "demo", Version: "2", Entries: 2},
		"screening.1": events.CustomersScreened{Run: 1, Lists: "demo=1"},
		"screening.2": events.CustomersScreened{Run: 2, Lists: "demo=2", Screened: 1, Opened: 1},
	} {
		s, err := events.ParseSubject("tenant." + demoBank.ID + "." + subject)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.stored[s].Event; got != want {
			t.Errorf("%s is %v, want %v", subject, got, want)
		}
	}
}

func TestAKilledRunIsFinishedByAnotherProcessWithoutASecondCase(t *testing.T) {
	o := newOffice(t)
	a := o.process("a", watchlist("1"))
	var entries []lists.Entry
	var want []string
	for i := range 9 {
		letter := string("bdfgklmrs"[i])
		given, family := "A"+letter+"o"+letter+"a", "U"+letter+"i"+letter+"o"+letter+"en"
		o.customer(fmt.Sprintf("r%d", i), given, family, a)
		entries = append(entries, person(fmt.Sprintf("e%d", i), given+" "+family))
		want = append(want, fmt.Sprintf("r%d e%d", i, i))
	}
	o.use(a, watchlist("2", entries...))
	killed, cases := errors.New("killed"), 0
	o.fail = func(e events.Event) error {
		if _, is := e.(events.CaseOpened); is {
			cases++
		}
		if cases > 4 {
			return killed
		}
		return nil
	}
	if _, err := a.advance(t.Context(), demoBank); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	o.fail = func(events.Event) error { return nil }
	b := o.process("b", watchlist("2", entries...))
	if _, err := b.advance(t.Context(), demoBank); err != nil {
		t.Fatal(err)
	}
	if n := len(o.opened()); n != 4 {
		t.Fatalf("another process took over a run that is held: %d cases", n)
	}
	o.clock = o.clock.Add(rescreenLease + time.Second)
	o.advance(b)
	o.advance(a)
	o.expectCases(want...)
	if p := o.progress(); p.Run != 1 || p.Looked != 9 || p.Opened != 9 || p.Customers != 9 {
		t.Errorf("progress is %+v", p)
	}
	// Every entry of the vault belongs to a case.
	if len(o.entries) != 9 {
		t.Errorf("the vault has %d entries for 9 cases", len(o.entries))
	}
}

func TestOfTwoProcessesAtOnceOneScreensACustomer(t *testing.T) {
	o := newOffice(t)
	old := o.process("old", watchlist("1"))
	for i := range 3 {
		o.customer(fmt.Sprintf("r%d", i), "Jane", "Appleby", old)
	}
	o.clock = o.clock.Add(time.Hour)
	set := watchlist("2", person("e2", "Jane Appleby"))
	a, b := o.process("a", set), o.process("b", set)
	other := false
	o.fail = func(e events.Event) error { // while a opens its first case, b looks for work
		if _, is := e.(events.CaseOpened); !is {
			return nil
		}
		if other && len(o.opened()) == 0 {
			return errors.New("b has taken what a is at")
		}
		if other {
			return nil
		}
		other = true
		_, err := b.advance(t.Context(), demoBank)
		return err
	}
	if _, err := a.advance(t.Context(), demoBank); err != nil {
		t.Fatal(err)
	}
	o.expectCases("r0 e2", "r1 e2", "r2 e2")
	if p := o.progress(); p.Looked != 3 || p.Opened != 3 || p.Run != 1 || !other {
		t.Errorf("progress is %+v", p)
	}
}

func TestMoreCustomersThanAPageAreAllScreened(t *testing.T) {
	o := newOffice(t)
	old := o.process("old", watchlist("1"))
	o.customer("first", "Jane", "Appleby", old)
	for i := range 2*rescreenPage + 3 { // many at one moment
		c := customer{Tenant: demoBank.ID, State: active, Since: o.clock.UnixNano() + int64(i/70), Sealed: []byte("?")}
		if err := o.customers.docs.Insert(t.Context(), fmt.Sprintf("r%03d", i), c); err != nil {
			t.Fatal(err)
		}
	}
	o.clock = o.clock.Add(time.Minute)
	o.customer("last", "Jane", "Appleby", old)
	r := o.process("a", watchlist("2", person("e2", "Jane Appleby")))
	o.advance(r)
	o.expectCases("first e2", "last e2")
	if p := o.progress(); p.Looked != 2*rescreenPage+5 || p.Customers != p.Looked || p.Completed == 0 {
		t.Errorf("progress is %+v", p)
	}
}

func TestOneRoundAfterTheOtherScreensSeveralFullPages(t *testing.T) {
	o := newOffice(t)
	const all = 3 * rescreenPage
	for i := range all {
		c := customer{Tenant: demoBank.ID, State: active, Since: o.clock.UnixNano() + int64(i), Basis: "looked at"}
		c.Sealed = o.sealed(fmt.Sprintf("r%03d", i), "Jane", "Appleby")
		if err := o.customers.docs.Insert(t.Context(), fmt.Sprintf("r%03d", i), c); err != nil {
			t.Fatal(err)
		}
	}
	o.clock = o.clock.Add(time.Minute)
	r := o.process("a", watchlist("2", person("e2", "Somebody Else")))
	for more := true; more; {
		var err error
		if more, err = r.advance(t.Context(), demoBank); err != nil {
			t.Fatal(err)
		}
	}
	if p := o.progress(); p.Looked != all || p.Completed != 0 {
		t.Errorf("before anybody else could have become a customer, progress is %+v", p)
	}
	o.clock = o.clock.Add(settled)
	o.advance(r)
	told := o.stored[events.SubjectOf(demoBank.ID, "", events.CustomersScreened{Run: 1})].Event
	if want := (events.CustomersScreened{Run: 1, Lists: "demo=2", Screened: all}); told != want {
		t.Errorf("told %+v, want %+v", told, want)
	}
	for tenths, looked := range map[int]int64{0: 0, 3: rescreenPage, 6: 2*rescreenPage - 1} {
		want := events.CustomersScreening{Run: 1, Lists: "demo=2", Tenths: tenths, Looked: looked, Customers: all}
		if told := o.stored[events.SubjectOf(demoBank.ID, "", want)].Event; told != want {
			t.Errorf("told %+v, want %+v", told, want)
		}
	}
}

func TestACustomerWhoDoesNotOpenIsSkippedAndCounted(t *testing.T) {
	o := newOffice(t)
	old := o.process("old", watchlist("1"))
	for id, want := range map[string]error{"of a missing key": keys.ErrUnknownKey, "damaged": keys.ErrUnsealable} {
		c := customer{Tenant: demoBank.ID, State: active, Since: o.clock.UnixNano(), Sealed: o.sealed(id, "Jane", "Appleby")}
		if want == keys.ErrUnknownKey {
			c.Sealed[0] ^= 1 // the generation's id comes first
		} else {
			c.Sealed[len(c.Sealed)-1] ^= 1
		}
		if err := o.customers.docs.Insert(t.Context(), id, c); err != nil {
			t.Fatal(err)
		}
		if _, err := o.customers.open(store.Stored[customer]{ID: id, Value: c}); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}
	o.customer("jane", "Jane", "Appleby", old)
	r := o.process("a", watchlist("2", person("e2", "Jane Appleby")))
	o.advance(r)
	o.expectCases("jane e2")
	told := o.stored[events.SubjectOf(demoBank.ID, "", events.CustomersScreened{Run: 1})].Event
	if want := (events.CustomersScreened{Run: 1, Lists: "demo=2", Screened: 1, Skipped: 2, Opened: 1}); told != want {
		t.Errorf("told %+v, want %+v", told, want)
	}
}

func TestAProcessThatStillHasOlderListsBeginsNothing(t *testing.T) {
	o := newOffice(t)
	late := o.process("late", watchlist("1"))
	o.advance(late)
	o.customer("jane", "Jane", "Appleby", late)
	early := o.process("early", watchlist("2", person("e2", "Jane Appleby")))
	o.advance(early)
	run := o.progress()
	o.advance(late)
	if o.progress() != run || run.Lists != "demo=2" {
		t.Errorf("progress was %+v, is %+v", run, o.progress())
	}
	// Who becomes a customer under the older lists is looked at as well.
	o.customer("jane2", "Jane", "Appleby", late)
	o.advance(early)
	o.expectCases("jane e2", "jane2 e2")
	// An older version put back is a newer decision of the operator.
	o.use(late, watchlist("3"))
	o.advance(late)
	o.use(late, watchlist("1"))
	o.advance(late)
	o.advance(early)
	if p := o.progress(); p.Lists != "demo=1" || p.Run != run.Run+2 {
		t.Errorf("progress is %+v", p)
	}
}

func TestWhoIsNoCustomerIsNotScreenedAgain(t *testing.T) {
	for sentence, leave := range map[string]func(*office) error{
		"an applicant without an account": func(o *office) error { return nil },
		"one whom accounts turned down": func(o *office) error {
			in := bus.In[events.Rejected]{Record: events.Record{Subject: events.Subject{Tenant: demoBank.ID, Registration: "jane", Step: events.StepAccount, N: "1"}}}
			_, err := o.onAccountRefused(o.t.Context(), in)
			return err
		},
		"one whose account expired": func(o *office) error {
			if err := o.customers.admit(o.t.Context(), "jane"); err != nil {
				return err
			}
			in := bus.In[events.Expired]{Record: events.Record{Subject: events.Subject{Tenant: demoBank.ID, Registration: "jane", Step: events.StepExpired, N: "1"}}}
			out, err := o.onRegistrationExpired(o.t.Context(), in)
			if out != events.ForgottenBy(events.Risk) {
				o.t.Errorf("told %v", out)
			}
			return err
		},
		"one who is forgotten and whose messages come late": func(o *office) error {
			return errors.Join(o.customers.forget(o.t.Context(), demoBank.ID, "jane"), o.keep("jane", jane.Applicant, screened{}), o.customers.admit(o.t.Context(), "jane"))
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			o := newOffice(t)
			r := o.process("a", watchlist("1"))
			if err := o.keep("jane", jane.Applicant, screened{}); err != nil {
				t.Fatal(err)
			}
			if err := leave(o); err != nil {
				t.Fatal(err)
			}
			o.clock = o.clock.Add(time.Minute)
			o.use(r, watchlist("2", person("e2", "Jane Appleby")))
			o.advance(r)
			o.expectCases()
		})
	}
}

func TestAnApplicantWhoNeverBecomesACustomerIsForgottenInTime(t *testing.T) {
	o := newOffice(t)
	if err := o.keep("jane", jane.Applicant, screened{}); err != nil {
		t.Fatal(err)
	}
	broker := tenant.Broker{MaxAge: tenant.Duration(90 * 24 * time.Hour)}
	last := 121 * 24 * time.Hour // a review of nearly maxAge, then a dead letter of 30 days
	for _, test := range []struct {
		after time.Duration
		want  state
	}{{last - time.Hour, applicant}, {2 * time.Hour, former}} {
		o.clock = o.clock.Add(test.after)
		if err := o.customers.purge(t.Context(), unfinished(broker)); err != nil {
			t.Fatal(err)
		}
		s, err := o.customers.docs.Get(t.Context(), "jane")
		if err != nil || s.Value.State != test.want || (s.Value.Sealed == nil) != (test.want == former) {
			t.Errorf("after %v: %s, %v", test.after, s.Value.State, err)
		}
	}
}

// withCase is an office with one open case of jane.
func withCase(t *testing.T) (*office, events.Record) {
	o := newOffice(t)
	r := o.process("a", watchlist("1"))
	o.customer("jane", "Jane", "Appleby", r)
	o.use(r, watchlist("2", person("e2", "Jane Appleby")))
	o.advance(r)
	for _, told := range o.stored {
		if _, is := told.Event.(events.CaseOpened); is {
			return o, told
		}
	}
	t.Fatal("no case")
	return nil, events.Record{}
}

func (o *office) caseOpened(r events.Record) (events.Event, error) {
	in := bus.In[events.CaseOpened]{Record: r, Data: r.Event.(events.CaseOpened)}
	e, err := o.onCaseOpened(o.t.Context(), in)
	if e == nil {
		return e, err
	}
	return o.onCaseOpened(o.t.Context(), in) // handlers run twice
}

func TestACaseShowsThePersonUntilItIsDecided(t *testing.T) {
	o, told := withCase(t)
	opened := told.Event.(events.CaseOpened)
	if seen := o.entries[opened.Vault].Registration.Applicant; seen.FamilyName != "Appleby" {
		t.Errorf("the vault has %v", seen)
	}
	for _, personal := range []string{"Jane", "Appleby"} {
		if strings.Contains(text(opened), personal) {
			t.Errorf("the event says %s", personal)
		}
	}
	if e, err := o.caseOpened(told); e != nil || !parkedUntil(err, o.clock) {
		t.Errorf("got %v, %v", e, err)
	}
	decided := events.CaseDecided{Case: opened.Case, Version: opened.NextVersion, Cleared: true, Actor: "reviewer-1", Reason: events.ReasonFalsePositive}
	in := bus.In[events.CaseDecided]{Record: events.Record{Subject: events.SubjectOf(demoBank.ID, "", decided)}, Data: decided}
	for range 2 {
		e, err := o.onCaseDecided(t.Context(), in)
		if want := (events.CaseClosed{Case: opened.Case, Version: 3, Registration: "jane", Cleared: true}); e != want || err != nil {
			t.Errorf("got %v, %v", e, err)
		}
	}
	if _, there := o.entries[opened.Vault]; there {
		t.Error("the vault still has the person")
	}
	if err := o.Publish(t.Context(), demoBank.ID, "", decided); err != nil {
		t.Fatal(err)
	}
	o.clock = o.clock.Add(1000 * time.Hour)
	if e, err := o.caseOpened(told); e != nil || err != nil {
		t.Errorf("the opening of a decided case: %v, %v", e, err)
	}
	o.expectCases("jane e2")
}

// parkedUntil reports whether an error parks a message.
func parkedUntil(err error, at time.Time) bool {
	return err != nil && err.Error() == bus.Later(at).Error()
}

func TestACaseThatNobodyDecidesIsOpenedAgain(t *testing.T) {
	o, told := withCase(t)
	opened := told.Event.(events.CaseOpened)
	o.clock = told.Stored.Add(time.Duration(demoBank.Policy.MaxReview))
	e, err := o.caseOpened(told)
	again, is := e.(events.CaseOpened)
	if err != nil || !is || again.Version != 2 || again.NextVersion != 3 || again.Case != opened.Case {
		t.Fatalf("got %v, %v", e, err)
	}
	if _, there := o.entries[again.Vault]; !there || len(o.entries) != 1 || again.Vault == opened.Vault {
		t.Errorf("the vault has %d entries", len(o.entries))
	}
}

func TestTheCaseOfAFormerCustomerIsClosed(t *testing.T) {
	o, told := withCase(t)
	opened := told.Event.(events.CaseOpened)
	if err := o.customers.forget(t.Context(), demoBank.ID, "jane"); err != nil {
		t.Fatal(err)
	}
	if _, there := o.entries[opened.Vault]; there {
		t.Error("the vault still has the person")
	}
	o.clock = o.clock.Add(1000 * time.Hour)
	e, err := o.caseOpened(told)
	if want := (events.CaseClosed{Case: opened.Case, Version: 2, Registration: "jane"}); e != want || err != nil {
		t.Errorf("got %v, %v", e, err)
	}
}

func TestWhatAKillLeftInTheVaultForACaseGoesWithTheCustomer(t *testing.T) {
	putBack := func(o *office) { // and killed before the document names it
		if _, err := o.PutBack(t.Context(), demoBank.ID, ofCase("jane"), "another case", vault.Entry{Registration: jane}); err != nil {
			t.Fatal(err)
		}
	}
	forget := func(o *office) {
		if err := o.customers.forget(t.Context(), demoBank.ID, "jane"); err != nil {
			t.Fatal(err)
		}
	}
	for sentence, happens := range map[string]func(*office, events.Record){
		"who is forgotten after it":  func(o *office, _ events.Record) { putBack(o); forget(o) },
		"who is forgotten once more": func(o *office, _ events.Record) { forget(o); putBack(o); forget(o) },
		"whose case comes up after it": func(o *office, told events.Record) {
			forget(o)
			putBack(o)
			o.clock = o.clock.Add(1000 * time.Hour)
			if e, err := o.caseOpened(told); err != nil || e.Type() != (events.CaseClosed{}).Type() {
				t.Errorf("got %v, %v", e, err)
			}
		},
		"who is forgotten during a run": func(o *office, _ events.Record) {
			forget(o)
			putBack(o)
			is, err := o.replica("b", &screener{}).openCase(t.Context(), events.CaseOpened{Case: "c2", Version: 1, Registration: "jane"}, demoBank.ID)
			if is || err != nil {
				t.Errorf("a case of a former customer: %v, %v", is, err)
			}
		},
		"who is forgotten while it is put": func(o *office, _ events.Record) {
			c, err := o.customers.docs.Get(t.Context(), "jane")
			if err != nil {
				t.Fatal(err)
			}
			forget(o)
			if _, err := o.customers.expose(t.Context(), c, events.CaseOpened{Case: "c2", Version: 1, Registration: "jane"}); !errors.Is(err, store.ErrConflict) {
				t.Errorf("got %v", err)
			}
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			o, told := withCase(t)
			happens(o, told)
			if len(o.entries) != 0 {
				t.Errorf("the vault has %d entries", len(o.entries))
			}
		})
	}
}

func TestADecisionOfNoCaseIsADeadLetter(t *testing.T) {
	o := newOffice(t)
	d := events.CaseDecided{Case: "c1", Version: 2, Actor: "reviewer-1"}
	_, err := o.onCaseDecided(t.Context(), bus.In[events.CaseDecided]{Record: events.Record{Subject: events.SubjectOf(demoBank.ID, "", d)}, Data: d})
	if err == nil || !strings.HasPrefix(err.Error(), "NO_CASE") {
		t.Errorf("got %v", err)
	}
}

func TestTheRateOfRescreeningIsCheckedAtStart(t *testing.T) {
	for text, want := range map[string]int{"": defaultRate, "5": 5, "10000": 10_000, "4": 0, "10001": 0, "many": 0, "-1": 0} {
		got, err := rescreenRate(func(string) string { return text })
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

// flaky fails some calls, before or after they have taken effect, until it is healed.
type flaky struct {
	*office
	dice   *rand.Rand
	healed bool
}

// flakyStore is a store whose writes are such calls.
type flakyStore struct {
	store.Backend
	flaky *flaky
}

var errFlaky = errors.New("failed, done or not")

// does runs a call that may fail.
func (f *flaky) does(call func() error) error {
	if f.healed {
		return call()
	}
	switch f.dice.IntN(12) {
	case 0:
		return errFlaky
	case 1:
		return errors.Join(call(), errFlaky)
	}
	return call()
}

func (f flakyStore) Write(ctx context.Context, collection string, ops []store.Op) (errs []error) {
	errs = make([]error, len(ops))
	for i := range ops {
		errs[i] = f.flaky.does(func() error { return f.Backend.Write(ctx, collection, ops[i:i+1])[0] })
		if errors.Is(errs[i], errFlaky) {
			errs[i] = errFlaky // whatever it would have said
		}
	}
	return errs
}

func (f *flaky) Publish(ctx context.Context, tenant, registration string, e events.Event) error {
	return f.does(func() error { return f.office.Publish(ctx, tenant, registration, e) })
}

func (f *flaky) StoredAt(ctx context.Context, s events.Subject) (r events.Record, err error) {
	err = f.does(func() error { r, err = f.office.StoredAt(ctx, s); return err })
	return r, err
}

func (f *flaky) PutBack(ctx context.Context, tenant, registration, mark string, e vault.Entry) (sequence uint64, err error) {
	err = f.does(func() error { sequence, err = f.office.PutBack(ctx, tenant, registration, mark, e); return err })
	return sequence, err
}

func (f *flaky) Clear(ctx context.Context, tenant, registration string) error {
	return f.does(func() error { return f.office.Clear(ctx, tenant, registration) })
}

func (f *flaky) Delete(ctx context.Context, tenant, registration string, sequence uint64) error {
	return f.does(func() error { return f.office.Delete(ctx, tenant, registration, sequence) })
}

func TestWhateverFailsEachNewHitBecomesOneCaseWithOneEntryOfTheVault(t *testing.T) {
	before, after := newOffice(t).process("", watchlist("1")).lists, newOffice(t).process("", watchlist("2", person("e2", "Jane Appleby"))).lists
	for seed := range uint64(100) {
		o := newOffice(t)
		memory := store.NewMemory()
		if err := memory.Ensure(t.Context(), Service.Schemas...); err != nil {
			t.Fatal(err)
		}
		f := &flaky{office: o, dice: rand.New(rand.NewPCG(seed, 0)), healed: true}
		documents := flakyStore{memory, f}
		o.runs = store.NewDocs(documents, rescreeningSchema, Rescreening.fields)
		o.customers.docs, o.customers.persons = store.NewDocs(documents, customerSchema, customer.fields), f
		old := o.replica("old", before)
		var want []string
		for i := range 4 {
			o.customer(fmt.Sprintf("r%d", i), "Jane", "Appleby", old)
			want = append(want, fmt.Sprintf("r%d e2", i))
		}
		f.healed = false
		for life := range 12 { // a process ends with its first error, and another begins
			r := o.replica(fmt.Sprintf("p%d", life%3), after)
			r.history, r.teller = f, f
			_, _ = r.advance(t.Context(), demoBank)
			o.clock = o.clock.Add(time.Duration(f.dice.IntN(90)) * time.Second)
		}
		f.healed = true
		o.clock = o.clock.Add(rescreenLease)
		o.advance(o.replica("last", after))
		o.expectCases(want...)
		for _, r := range o.stored {
			if e, is := r.Event.(events.CaseOpened); is {
				if _, there := o.entries[e.Vault]; !there {
					t.Errorf("seed %d: the vault has not the person of a case", seed)
				}
			}
		}
		if n := len(o.entries); n != len(want) {
			t.Errorf("seed %d: the vault has %d entries for %d cases", seed, n, len(want))
		}
		if p := o.progress(); p.Completed == 0 || p.Looked != 4 {
			t.Errorf("seed %d: progress is %+v", seed, p)
		}
		if t.Failed() {
			return
		}
	}
}
