package risk

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// past are registrations on which the demonstration's policy decides in all its ways.
var past = map[string]events.Registration{
	"ordinary": {Channel: "native", Applicant: events.Applicant{GivenName: "Jane", FamilyName: "Appleby", BirthDate: "1990-05-15", Nationality: "LT"}},
	"young":    {Channel: "finhub", Applicant: events.Applicant{GivenName: "June", FamilyName: "Appleby", BirthDate: "2006-05-15", CanonicalEmail: "j@mailinator.com"}},
	"ageless":  {Channel: "native", Applicant: events.Applicant{GivenName: "Joan", FamilyName: "Appleby", Nationality: "Atlantis"}},
	"iranian":  {Channel: "native", Applicant: events.Applicant{GivenName: "Jean", FamilyName: "Appleby", BirthDate: "1990-05-15", Nationality: "IR"}, Claim: &events.CategoryClaim{ID: "fs-cat-b2c-low-001"}},
	"listed":   listed,
	"nameless": {Channel: "native", Applicant: events.Applicant{BirthDate: "1990-05-15"}},
}

// decidedPast is a store of risk in which the demonstration has decided on them.
func decidedPast(t *testing.T) store.Backend {
	t.Helper()
	b := store.NewMemory()
	if err := b.Ensure(t.Context(), Service.Schemas...); err != nil {
		t.Fatal(err)
	}
	for i, id := range slices.Sorted(maps.Keys(past)) {
		s := newService(t, past[id])
		s.decisions, s.customers.docs = store.NewDocs(b, decisionSchema, decision.fields), store.NewDocs(b, customerSchema, customer.fields)
		in := validated()
		in.Subject.Registration, in.Stored = id, noon.Add(time.Duration(i)*time.Hour)
		if _, err := s.onRegistrationValidated(t.Context(), in); err != nil && !parked(err) {
			t.Fatal(err)
		}
	}
	return b
}

func parsed(t *testing.T, replace ...string) *tenant.Config {
	t.Helper()
	text := string(tenant.DemoFile())
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("the demonstration has no %q", replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	c, err := tenant.Parse("new.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// replayed is what a file would have decided, a line for each change.
func replayed(t *testing.T, b store.Backend, since time.Time, replace ...string) (r Replayed, lines []string) {
	t.Helper()
	r, err := Replay(t.Context(), b, parsed(t, replace...), since, func(int64, time.Time) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Changes {
		lines = append(lines, fmt.Sprint(c.Registration, " ", c.From.Outcome, "/", c.From.Level, " to ", c.To.Outcome, "/", c.To.Level, " ", c.Because))
	}
	return r, lines
}

func TestTheSamePolicyDecidesTheSameAgain(t *testing.T) {
	r, lines := replayed(t, decidedPast(t), time.Time{})
	if r.Decisions != int64(len(past)) || r.Scored != 0 || len(lines) != 0 || len(r.Untold) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAnotherPolicyIsToldWithItsReasons(t *testing.T) {
	b := decidedPast(t)
	for sentence, test := range map[string]struct {
		replace []string
		want    []string
	}{
		"other points": {[]string{"points: 70", "points: 45"}, []string{"iranian categorized/HIGH to categorized/MEDIUM [{nationality-monitored +70 +45}]"}},
		"other points of a rule on what is not kept": {[]string{"points: 15, label: no birth date given", "points: 50, label: no birth date given"},
			[]string{"ageless categorized/LOW to categorized/MEDIUM [{age-unknown +15 +50}]"}},
		"a new rule": {[]string{"    rules:\n", "    rules:\n      - {id: vendor, when: channel == 'finhub', outcome: review}\n"},
			[]string{"young categorized/MEDIUM to review/MEDIUM [{vendor - review}]"}},
		"a rule that is gone": {[]string{"      - {id: nationality-monitored, when: \"nationality in ['KP', 'IR', 'MM']\", points: 70, label: nationality under increased monitoring}\n", ""},
			[]string{"iranian categorized/HIGH to categorized/LOW [{nationality-monitored +70 -}]"}},
		"another threshold":          {[]string{"medium: 40", "medium: 50"}, []string{"young categorized/MEDIUM to categorized/LOW []"}},
		"hits from a higher score":   {[]string{"{lists: [demo]}", "{lists: [demo], reviewAt: 1000}"}, []string{"listed review/LOW to categorized/LOW [{screening-hit review -}]"}},
		"a refusal of sure hits":     {[]string{"{lists: [demo]}", "{lists: [demo], refuseAt: 900}"}, []string{"listed review/LOW to refuse/LOW [{screening-hit review refuse}]"}},
		"a rule on screening":        {[]string{"    rules:\n", "    rules:\n      - {id: near, when: screeningScore > 900, points: 75}\n"}, []string{"listed review/LOW to review/HIGH [{near - +75}]"}},
		"no screening":               {[]string{"{lists: [demo]}", "{off: true}"}, []string{"listed review/LOW to categorized/LOW [{screening-hit review -}]", "nameless review/LOW to categorized/LOW [{screening-unread review -}]"}},
		"a category that is another": {[]string{"points: 10, label", "points: 9, label"}, []string{"young categorized/MEDIUM to categorized/LOW [{young-adult +10 +9}]"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, lines := replayed(t, b, time.Time{}, test.replace...)
			if !slices.Equal(lines, test.want) || len(r.Untold) != 0 {
				t.Errorf("got %q, want %q; untold %v", lines, test.want, r.Untold)
			}
		})
	}
}

func TestWhatCannotBeDecidedAgainIsSaidSo(t *testing.T) {
	b := decidedPast(t)
	for sentence, test := range map[string]struct {
		replace []string
		untold  map[string]int64
	}{
		"another condition on what is not kept": {[]string{"age.orValue(21) < 21", "age.orValue(21) < 25"}, map[string]int64{"rule young-adult: a fact that it uses was not kept": 6}},
		"a fact that nobody derived":            {[]string{"    rules:\n", "    rules:\n      - {id: dialable, when: phone == 'valid', points: 1}\n"}, map[string]int64{"rule dialable: a fact that it uses was not kept": 6}},
		"hits below the score of then":          {[]string{"{lists: [demo]}", "{lists: [demo], reviewAt: 800}"}, map[string]int64{"screening: hits below the score of then were not kept": 6}},
		"a list that was not searched":          {[]string{"{lists: [demo]}", "{lists: [demo, pep]}"}, map[string]int64{"screening: list pep was not searched": 6}},
		"a tenant that is not there":            {[]string{demoTenant().ID, "another"}, map[string]int64{"tenant " + demoTenant().ID + " is not in the file": 6}},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, lines := replayed(t, b, time.Time{}, test.replace...)
			if !maps.Equal(r.Untold, test.untold) || len(lines) != 0 || r.Decisions != 0 {
				t.Errorf("got %v and %v", r.Untold, lines)
			}
		})
	}
}

func TestOnlyDecisionsSinceATimeAreReplayed(t *testing.T) {
	// In the order of their names: ageless, iranian, listed, nameless, ordinary, young.
	r, lines := replayed(t, decidedPast(t), noon.Add(4*time.Hour), "points: 70", "points: 45")
	if r.Decisions != 2 || len(lines) != 0 {
		t.Errorf("%d decisions, %v", r.Decisions, lines)
	}
}

func TestReplayingChangesNothing(t *testing.T) {
	b := decidedPast(t)
	everything := func() (all []store.Document) {
		for _, schema := range Service.Schemas {
			page, _, err := b.Find(t.Context(), schema.Collection, store.Query{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page...)
		}
		return all
	}
	before := everything()
	replayed(t, b, time.Time{}, "points: 70", "points: 45")
	if len(before) < 2*len(past)-1 || !reflect.DeepEqual(before, everything()) {
		t.Errorf("%d documents have changed", len(before))
	}
}

func TestWhatIsKeptToReplayTellsNobody(t *testing.T) {
	page, _, err := decidedPast(t).Find(t.Context(), decisionSchema.Collection, store.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range page {
		var kept struct {
			Evidence struct{ Facts map[string]any }
		}
		if err := json.Unmarshal(d.Body, &kept); err != nil || len(kept.Evidence.Facts) == 0 {
			t.Fatalf("%s: %v", d.Body, err)
		}
		for _, personal := range []string{"mailinator", "Appleby", "Atlantis", "1990", `"age"`, "Ysselgrave"} {
			if strings.Contains(string(d.Body), personal) {
				t.Errorf("%s has %s", d.Body, personal)
			}
		}
	}
}
