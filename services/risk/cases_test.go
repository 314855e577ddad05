package risk

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/risk/screening"
)

// parked reports whether a handler asked for its message to be parked.
func parked(err error) bool { return err != nil && err.Error() == bus.Later(noon).Error() }

// listed is on the demonstration's list.
var listed = events.Registration{Channel: "native", Applicant: events.Applicant{
	Type: "INDIVIDUAL", GivenName: "Quorra", FamilyName: "van den Ysselgrave", BirthDate: "1984-07-11", Nationality: "NL",
}}

// harness stands for the stream, the vault and the bus, which stores what a handler tells and
// hands a parked message over again. Handlers run twice each time.
type harness struct {
	*service
	t       *testing.T
	stored  map[events.Subject]events.Record
	entries map[uint64]vault.Entry
	marks   map[string]uint64
	next    uint64
	clock   time.Time
}

func newHarness(t *testing.T, r events.Registration) *harness {
	h := &harness{service: newService(t, r), t: t, stored: map[events.Subject]events.Record{}, entries: map[uint64]vault.Entry{7: {Registration: r}}, marks: map[string]uint64{}, next: 7, clock: noon}
	h.history, h.persons, h.now = h, h, func() time.Time { return h.clock }
	h.customers.persons, h.customers.now = h, h.now
	return h
}

func (h *harness) StoredAt(_ context.Context, s events.Subject) (events.Record, error) {
	r, ok := h.stored[s]
	if !ok {
		return r, bus.ErrAbsent
	}
	return r, nil
}

func (h *harness) Get(_ context.Context, _, _ string, sequence uint64) (vault.Entry, error) {
	e, ok := h.entries[sequence]
	if !ok {
		return e, vault.ErrMissing
	}
	return e, nil
}

func (h *harness) PutBack(_ context.Context, _, registration, mark string, e vault.Entry) (uint64, error) {
	if before, is := h.marks[registration+" "+mark]; is {
		if _, there := h.entries[before]; there {
			return before, nil
		}
	}
	h.next++
	h.entries[h.next], h.marks[registration+" "+mark] = e, h.next
	return h.next, nil
}

func (h *harness) TakeBack(_ context.Context, _, registration, mark string) error {
	delete(h.entries, h.marks[registration+" "+mark])
	return nil
}

func (h *harness) Clear(_ context.Context, _, registration string) error {
	for key, sequence := range h.marks {
		if strings.HasPrefix(key, registration+" ") {
			delete(h.entries, sequence)
		}
	}
	return nil
}

func (h *harness) Delete(_ context.Context, _, _ string, sequence uint64) error {
	delete(h.entries, sequence)
	return nil
}

func (h *harness) publish(e events.Event) {
	s := events.SubjectOf(demoTenant().ID, "r1", e)
	if _, told := h.stored[s]; !told {
		h.stored[s] = events.Record{Subject: s, Event: e, Stored: h.clock}
	}
}

// handle hands the validated registration over; it returns what was told, and whether the message
// is parked.
func (h *harness) handle() (events.Event, bool) {
	h.t.Helper()
	for range 2 {
		if _, err := h.onRegistrationValidated(h.t.Context(), validated()); err != nil && !parked(err) {
			h.t.Fatal(err)
		}
	}
	e, err := h.onRegistrationValidated(h.t.Context(), validated())
	if err != nil && !parked(err) {
		h.t.Fatal(err)
	}
	if e != nil {
		h.publish(e)
	}
	return e, err != nil
}

// decidedBy hands a review's decision over.
func (h *harness) decidedBy(r events.ReviewDecided) events.Event {
	h.t.Helper()
	h.publish(r)
	in := bus.In[events.ReviewDecided]{Record: h.stored[events.SubjectOf(demoTenant().ID, "r1", r)], Data: r}
	first, err := h.onReviewDecided(h.t.Context(), in)
	if err != nil {
		h.t.Fatal(err)
	}
	again, err := h.onReviewDecided(h.t.Context(), in)
	if err != nil || text(first) != text(again) {
		h.t.Errorf("first %s, again %s, %v", text(first), text(again), err)
	}
	h.publish(first)
	return first
}

func text(e events.Event) string {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestAHitIsReviewedAndNamesTheEntryAndNobody(t *testing.T) {
	h := newHarness(t, listed)
	e, waits := h.handle()
	r, is := e.(events.ReviewRequired)
	if !is || !waits || r.Case != 1 || r.NextCase != 2 {
		t.Fatalf("got %v", e)
	}
	if len(r.Hits) != 1 || r.Hits[0].List != "demo" || r.Hits[0].Entry != "demo-5" || r.Hits[0].Score < screening.Threshold {
		t.Errorf("hits are %v", r.Hits)
	}
	if r.Reasons[0] != (events.Reason{Rule: tenant.ScreeningHit, Outcome: "review"}) || r.Versions.Lists != "demo="+lists.Demo().Version() {
		t.Errorf("because of %v under %+v", r.Reasons, r.Versions)
	}
	for _, personal := range []string{"Quorra", "Yssel", "1984"} {
		if strings.Contains(text(r), personal) {
			t.Errorf("%s is in %s", personal, text(r))
		}
	}
}

func TestTheSameRegistrationUnderTheSameVersionsGivesTheSameBytes(t *testing.T) {
	var first string
	for range 3 {
		e, _ := newHarness(t, listed).handle()
		if got := text(e); first != "" && got != first {
			t.Errorf("first %s, then %s", first, got)
		} else {
			first = got
		}
	}
}

func TestThePersonUnderReviewIsPutBackIntoTheVault(t *testing.T) {
	h := newHarness(t, listed)
	e, _ := h.handle()
	fresh := e.(events.ReviewRequired).Vault
	if fresh == 7 || len(h.entries) != 2 || h.entries[fresh].Registration.Applicant.FamilyName != listed.Applicant.FamilyName {
		t.Fatalf("the event names %d of %v", fresh, h.entries)
	}
	h.clock = h.clock.Add(time.Second)
	if e, waits := h.handle(); e != nil || !waits || len(h.entries) != 1 {
		t.Errorf("then told %v, %d entries", e, len(h.entries))
	}
	c := h.decidedBy(events.ReviewDecided{Case: 2, Approved: true, Actor: "rita"}).(events.Categorized)
	if c.Vault != fresh || c.Case != 2 || c.By != "rita" || c.Category.ID == "" || len(c.Hits) != 1 {
		t.Errorf("approved as %+v", c)
	}
	if _, there := h.entries[fresh]; !there {
		t.Error("the account cannot be made: the person is gone")
	}
}

func TestAHitOnAListOfExposedPersonsIsTheirStatusAtHighRisk(t *testing.T) {
	for _, lists := range [][]string{nil, {"demo"}} {
		h := newHarness(t, listed)
		config := version("v", 80)
		screening := screens
		screening.PEPLists = lists
		config.Tenants[0].Policy.Screening = &screening
		h.config = config
		e, _ := h.handle()
		c := h.decidedBy(events.ReviewDecided{Case: 2, Approved: true, Actor: "rita"}).(events.Categorized)
		status := map[bool]string{true: "true", false: "false"}[lists != nil]
		if e.(events.ReviewRequired).PEP != (lists != nil) || !strings.Contains(text(c), `{"name":"PEP_STATUS","value":"`+status+`"}`) {
			t.Errorf("under %v: %s", lists, text(c))
		}
	}
}

func TestAReviewThatNobodyDecidesIsDecidedByThePolicy(t *testing.T) {
	for unreviewed, want := range map[tenant.Outcome]events.Event{tenant.Refuse: events.Rejected{At: events.StepRisk}, tenant.Approve: events.Categorized{}} {
		h := newHarness(t, listed)
		config := version("v", 1)
		config.Tenants[0].Policy.Unreviewed, config.Tenants[0].Policy.MaxReview = unreviewed, tenant.Duration(2*time.Hour)
		h.config = config
		h.handle()
		h.config = version("later", 1)
		h.clock = noon.Add(2*time.Hour - time.Second)
		if e, waits := h.handle(); e != nil || !waits {
			t.Errorf("early: %v", e)
		}
		h.clock = noon.Add(2 * time.Hour)
		e, waits := h.handle()
		r, is := e.(events.ReviewDecided)
		if !is || waits || r.Case != 2 || r.Actor != "policy" || r.Approved != (unreviewed == tenant.Approve) || r.Reason != "nobody decided within 2h0m0s" {
			t.Fatalf("when it is due: %+v, parked %v", e, waits)
		}
		if got := h.decidedBy(r); got.Type() != want.Type() || got.N() != "2" {
			t.Errorf("%s gives %v", unreviewed, got)
		}
	}
}

func TestAReviewThatNobodyAskedForIsGivenUp(t *testing.T) {
	h := newHarness(t, listed)
	r := events.ReviewDecided{Case: 2, Approved: true, Actor: "rita"}
	in := bus.In[events.ReviewDecided]{Record: events.Record{Subject: events.SubjectOf(demoTenant().ID, "r1", r)}, Data: r}
	if e, err := h.onReviewDecided(t.Context(), in); e != nil || err == nil || !strings.HasPrefix(err.Error(), "NO_REVIEW") {
		t.Errorf("got %v, %v", e, err)
	}
}

// watched makes the harness follow a directory.
func (h *harness) watched() (file string, look func()) {
	dir := filepath.Join(h.t.TempDir(), "lists")
	if err := lists.WriteDemo(dir); err != nil {
		h.t.Fatal(err)
	}
	s := &screener{}
	w := lists.NewWatcher(lists.Settings{Dir: dir, Log: quiet}, s.Use)
	s.status = w.Status
	h.lists = s
	w.Look()
	return filepath.Join(dir, "demo.csv"), w.Look
}

func (h *harness) under(s tenant.Screening) {
	config := version("v", 1)
	config.Tenants[0].Policy.Screening = &s
	h.config = config
}

var screens = tenant.Screening{Lists: []string{"demo"}, ReviewAt: 850, Outage: tenant.Wait, MaxWait: tenant.Duration(time.Hour)}

func TestWithoutItsListsARegistrationWaitsAndResumesByItself(t *testing.T) {
	for sentence, test := range map[string]struct {
		who  events.Registration
		want events.Event
	}{
		"nobody listed": {jane, events.Categorized{}},
		"one listed":    {listed, events.ReviewRequired{}},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := newHarness(t, test.who)
			h.under(screens)
			file, look := h.watched()
			if err := os.Rename(file, file+".md"); err != nil {
				t.Fatal(err)
			}
			look()
			e, waits := h.handle()
			if w, is := e.(events.ScreeningWait); !is || !waits || w.Case != 1 || w.NextCase != 2 || w.Versions.Policy != "v" {
				t.Fatalf("without the list: %v", e)
			}
			h.clock = h.clock.Add(time.Minute)
			if e, waits := h.handle(); e != nil || !waits {
				t.Errorf("a minute later: %v", e)
			}
			if err := os.Rename(file+".md", file); err != nil {
				t.Fatal(err)
			}
			look()
			e, waits = h.handle()
			if e == nil || e.Type() != test.want.Type() || e.N() != "2" || waits != (test.want.Type() == events.ReviewRequired{}.Type()) {
				t.Errorf("with the list: %v", e)
			}
		})
	}
}

func TestAnOutageIsNeverAPass(t *testing.T) {
	stale, review, off, refuse, impatient := screens, screens, tenant.Screening{Off: true}, screens, screens
	stale.MaxAge = tenant.Duration(time.Nanosecond)
	review.Outage, review.Lists = tenant.Review, []string{"demo", "ofac"}
	refuse.RefuseAt = 900
	impatient.Lists, impatient.MaxWait = []string{"ofac"}, 0
	for sentence, test := range map[string]struct {
		screening tenant.Screening
		want      events.Event
		because   string
	}{
		"a list that is too old":                        {stale, events.ScreeningWait{}, ""},
		"a list that is not there, and review":          {review, events.ReviewRequired{}, tenant.ScreeningOutage},
		"a list that is not there for longer than that": {impatient, events.ReviewRequired{}, tenant.ScreeningOutage},
		"no screening, as the policy says":              {off, events.Categorized{}, ""},
		"a refusal, as the policy says":                 {refuse, events.Rejected{}, tenant.ScreeningHit},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := newHarness(t, listed)
			h.watched()
			h.under(test.screening)
			e, _ := h.handle()
			if e.Type() != test.want.Type() {
				t.Fatalf("got %v", e)
			}
			if test.because != "" && !strings.Contains(text(e), strconv.Quote(test.because)) {
				t.Errorf("because of %s", text(e))
			}
		})
	}
}

func TestANameThatCannotBeComparedIsReviewed(t *testing.T) {
	for sentence, test := range map[string]struct {
		given, family string
		reviewed      bool
	}{
		"no letters":           {"🐺", "—", true},
		"a listed name behind": {strings.Repeat("Ann ", 30), "Volkharin", true},
		"a long word":          {"Jane", strings.Repeat("appleby", 20), false},
		"an ordinary name":     {"Jane", "Appleby", false},
	} {
		h := newHarness(t, events.Registration{Channel: "native", Applicant: events.Applicant{GivenName: test.given, FamilyName: test.family}})
		if e, _ := h.handle(); strings.Contains(text(e), tenant.ScreeningUnread) != test.reviewed {
			t.Errorf("%s: got %s", sentence, text(e))
		}
	}
}

func TestTheDocumentationNamesEveryFact(t *testing.T) {
	doc, err := os.ReadFile("docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range rules.Names() {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestTheDefaultThresholdIsTheOneThatWasEvaluated(t *testing.T) {
	if at := demoTenant().Policy.Screening.ReviewAt; at != screening.Threshold {
		t.Errorf("it is %d", at)
	}
}

func TestAListThatAPolicyNamesAndIsNotThereIsWarnedOf(t *testing.T) {
	s := newScreener(t.Context(), filepath.Join(t.TempDir(), "nowhere"), quiet)
	if got := s.warning(tenant.Demo()); got != "policy standard has not all its lists, demo is missing" {
		t.Errorf("warned of %q", got)
	}
	if got := newScreener(t.Context(), "", quiet).warning(tenant.Demo()); got != "" {
		t.Errorf("warned of %q", got)
	}
}

func TestAKillBetweenTheVaultAndTheDecisionLeavesNoSecondEntry(t *testing.T) {
	h := newHarness(t, listed)
	for range 3 {
		if _, err := h.decide(t.Context(), validated(), 1); err != nil { // and it is never stored
			t.Fatal(err)
		}
	}
	e, _ := h.handle()
	if len(h.entries) != 2 || h.entries[e.(events.ReviewRequired).Vault].Registration.Applicant.FamilyName == "" {
		t.Errorf("the vault has %d entries", len(h.entries))
	}
}
