package risk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// answered hands over the review decision that is stored, and returns what is told and whether the
// message is parked.
func (h *harness) answered(r events.ReviewDecided) (events.Event, bool) {
	h.t.Helper()
	h.publish(r)
	in := bus.In[events.ReviewDecided]{Record: h.stored[events.SubjectOf(demoTenant().ID, "r1", r)], Data: r}
	for range 2 {
		if _, err := h.onReviewDecided(h.t.Context(), in); err != nil && !parked(err) {
			h.t.Fatal(err)
		}
	}
	e, err := h.onReviewDecided(h.t.Context(), in)
	if err != nil && !parked(err) {
		h.t.Fatal(err)
	}
	if e != nil {
		h.publish(e)
	}
	return e, err != nil
}

// fourEyes is a harness of a tenant that demands two persons, with the first review asked for.
func fourEyes(t *testing.T) *harness {
	h := newHarness(t, listed)
	config := version("v", 1)
	config.Tenants[0].Policy.FourEyes, config.Tenants[0].Policy.MaxReview = true, tenant.Duration(2*time.Hour)
	h.config = config
	h.handle()
	return h
}

func TestUnderFourEyesASecondPersonApprovesToo(t *testing.T) {
	for sentence, test := range map[string]struct {
		first, second events.ReviewDecided
		want          string // after both
		clears        bool
	}{
		"two approve":            {approval(2, "rita"), approval(3, "sam"), "registration.categorized 3 by sam", false},
		"the second rejects":     {approval(2, "rita"), rejection(3, "sam"), "registration.rejected 3 by sam", false},
		"the same person twice":  {approval(2, "rita"), approval(3, "rita"), "registration.review_required 3 by rita", false},
		"the policy after one":   {approval(2, "rita"), events.ReviewDecided{Case: 3, Approved: true, Actor: events.ByPolicy}, "registration.categorized 3 by policy", false},
		"the second clears hits": {approval(2, "rita"), events.ReviewDecided{Case: 3, Approved: true, Actor: "sam", Reason: events.ReasonFalsePositive}, "registration.categorized 3 by sam", true},
		"only the first does":    {events.ReviewDecided{Case: 2, Approved: true, Actor: "rita", Reason: events.ReasonFalsePositive}, approval(3, "sam"), "registration.categorized 3 by sam", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := fourEyes(t)
			e, waits := h.answered(test.first)
			r, is := e.(events.ReviewRequired)
			if !is || !waits || r.Case != 2 || r.NextCase != 3 || r.FirstActor != "rita" || r.By != "rita" || len(r.Hits) != 1 {
				t.Fatalf("after the first: %s", text(e))
			}
			if _, there := h.entries[r.Vault]; !there {
				t.Fatal("the second cannot see the person")
			}
			e, _ = h.answered(test.second)
			by := map[bool]string{true: "rita", false: test.second.Actor}[e.Type() == events.ReviewRequired{}.Type()]
			if got := e.Type() + " " + e.N() + " by " + by; got != test.want || !strings.Contains(text(e), `"by":"`+by+`"`) {
				t.Errorf("got %s, %s", got, text(e))
			}
			if n, err := h.clearances.Count(t.Context(), nil); err != nil || (n > 0) != test.clears {
				t.Errorf("%d clearances, %v", n, err)
			}
		})
	}
}

func approval(version int, actor string) events.ReviewDecided {
	return events.ReviewDecided{Case: version, Approved: true, Actor: actor, Reason: events.ReasonVerified}
}

func rejection(version int, actor string) events.ReviewDecided {
	return events.ReviewDecided{Case: version, Actor: actor, Reason: events.ReasonTrueMatch}
}

func TestARejectionOfTheFirstPersonIsFinal(t *testing.T) {
	if e, waits := fourEyes(t).answered(rejection(2, "rita")); waits || e.Type() != (events.Rejected{}).Type() {
		t.Errorf("got %s", text(e))
	}
}

func TestASecondReviewThatNobodyDecidesIsDecidedByThePolicy(t *testing.T) {
	h := fourEyes(t)
	h.clock = h.clock.Add(time.Hour)
	h.answered(approval(2, "rita"))
	h.clock = h.clock.Add(2*time.Hour - time.Second)
	if e, waits := h.answered(approval(2, "rita")); e != nil || !waits {
		t.Errorf("early: %v", e)
	}
	h.clock = h.clock.Add(time.Second)
	e, waits := h.answered(approval(2, "rita"))
	if r, is := e.(events.ReviewDecided); !is || waits || r.Case != 3 || r.Actor != events.ByPolicy || r.Approved {
		t.Errorf("when it is due: %v, parked %v", e, waits)
	}
}

// again registers somebody under the same harness's documents and lists.
func (h *harness) again(r events.Registration) events.Event {
	h.t.Helper()
	h.stored = map[events.Subject]events.Record{}
	in := validated()
	h.next++
	h.entries[h.next] = vault.Entry{Registration: r}
	in.Data.Vault = h.next
	in.Subject.Registration = fmt.Sprint("r", h.next)
	e, err := h.onRegistrationValidated(h.t.Context(), in)
	if err != nil && !parked(err) {
		h.t.Fatal(err)
	}
	return e
}

func TestAClearedHitIsRememberedUntilPersonOrEntryChanges(t *testing.T) {
	h := newHarness(t, listed)
	file, look := h.watched()
	h.handle()
	h.answered(events.ReviewDecided{Case: 2, Approved: true, Actor: "rita", Reason: events.ReasonFalsePositive})
	e := h.again(listed)
	c, is := e.(events.Categorized)
	if !is || len(c.Hits) != 0 || c.Reasons[0].Rule != tenant.ScreeningCleared || c.Reasons[0].Label != "entry demo-5 of list demo, cleared by case 2 of r1" {
		t.Fatalf("the same person: %s", text(e))
	}
	kept, err := h.customers.docs.Get(t.Context(), fmt.Sprint("r", h.next))
	if err != nil || len(kept.Value.Known) != 1 {
		t.Errorf("a hit that was cleared would be a new one when lists change: %q are known, %v", kept.Value.Known, err)
	}
	if lines := strings.Join(Explain([]events.Event{e}), "\n"); !strings.Contains(lines, "screening-cleared leaves a hit out: entry demo-5 of list demo, cleared by case 2 of r1.") {
		t.Errorf("explained as\n%s", lines)
	}
	for sentence, change := range map[string]func(*events.Applicant){
		"a birth date that was not known": func(a *events.Applicant) { a.BirthDate = "1984-07-12" },
		"another mail address":            func(a *events.Applicant) { a.CanonicalEmail = "other@example.com" },
		"another national id":             func(a *events.Applicant) { a.NationalID = &events.NationalID{Type: "NL_BSN", Value: "1"} },
		"another spelling":                func(a *events.Applicant) { a.GivenName = "Quorrah" },
	} {
		other := listed
		change(&other.Applicant)
		if e := h.again(other); e.Type() != (events.ReviewRequired{}).Type() {
			t.Errorf("%s: %s", sentence, text(e))
		}
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for sentence, test := range map[string]struct {
		old, new string
		forgets  bool
	}{
		"another entry changes": {"Zorinovich", "Zorinovitch", false},
		"the entry changes":     {"1984", "1985", true},
	} {
		changed := strings.ReplaceAll(string(before), test.old, test.new)
		if changed == string(before) {
			t.Fatalf("%s: the list has no %s", sentence, test.old)
		}
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		look()
		look()
		if e := h.again(listed); (e.Type() == events.ReviewRequired{}.Type()) != test.forgets {
			t.Errorf("%s: %s", sentence, text(e))
		}
	}
}

// killed is a persons whose process ends when it has put one back.
type killed struct{ *harness }

var errKilled = errors.New("killed")

func (k killed) PutBack(ctx context.Context, tenant, registration, mark string, e vault.Entry) (uint64, error) {
	_, err := k.harness.PutBack(ctx, tenant, registration, mark, e)
	return 0, errors.Join(err, errKilled)
}

func TestOfAReviewThatAKillPreventedNoPersonStaysInTheVault(t *testing.T) {
	for sentence, test := range map[string]struct {
		outcome tenant.Outcome // that the next policy gives everybody
		who     events.Registration
		want    events.Event
		entries int
	}{
		"refused by a newer policy":     {tenant.Refuse, listed, events.Rejected{}, 1},
		"approved by a newer policy":    {"", jane, events.Categorized{}, 1},
		"reviewed under a newer policy": {tenant.Review, listed, events.ReviewRequired{}, 2},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := newHarness(t, test.who)
			under := func(o tenant.Outcome) {
				config := version("v", 1)
				config.Tenants[0].Policy.Rules = []tenant.RiskRule{rule("all", "channel == 'native'", 1, o)}
				h.config = config
			}
			under(tenant.Review)
			h.persons = killed{h}
			if _, err := h.onRegistrationValidated(t.Context(), validated()); !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			if len(h.entries) != 2 {
				t.Fatalf("the vault has %d entries", len(h.entries))
			}
			under(test.outcome)
			h.persons = h
			if e, _ := h.handle(); e.Type() != test.want.Type() {
				t.Errorf("got %s", text(e))
			}
			if _, there := h.entries[7]; len(h.entries) != test.entries || !there && test.entries == 1 {
				t.Errorf("the vault has %d entries, the registration's own: %v", len(h.entries), there)
			}
		})
	}
}

func TestAHitThatWasOnlyAcceptedIsReviewedAgain(t *testing.T) {
	h := newHarness(t, listed)
	h.handle()
	h.answered(approval(2, "rita"))
	if e := h.again(listed); e.Type() != (events.ReviewRequired{}).Type() {
		t.Errorf("got %s", text(e))
	}
}

func TestNoClearanceNamesThePersonOrIsOfAnotherTenant(t *testing.T) {
	h := newHarness(t, listed)
	h.handle()
	h.answered(events.ReviewDecided{Case: 2, Approved: true, Actor: "rita", Reason: events.ReasonFalsePositive})
	all, _, err := h.clearances.Find(t.Context(), store.Query{Limit: 10})
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	if len(all[0].ID) != 64 || all[0].Value != (clearance{demoTenant().ID, "r1", 2, "rita"}) {
		t.Errorf("stored %+v", all[0])
	}
	person, err := whose(listed.Applicant)
	if err != nil {
		t.Fatal(err)
	}
	hit := h.stored[events.Subject{Tenant: demoTenant().ID, Registration: "r1", Step: events.StepRisk, N: "1"}].Event.(events.ReviewRequired)
	for tenant, same := range map[string]bool{demoTenant().ID: true, "other": false} {
		if id, err := h.clearanceID(tenant, person, hit.Hits[0], hit.Versions.Lists); err != nil || (id == all[0].ID) != same {
			t.Errorf("%s has %s, %v", tenant, id, err)
		}
	}
}
