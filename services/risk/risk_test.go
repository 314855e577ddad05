package risk

import (
	"maps"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/tenant"
)

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

const cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"

func demoTenant() *tenant.Tenant {
	t, _ := tenant.Demo().Tenant(cloudVault)
	return t
}

func TestScoreAndCategory(t *testing.T) {
	claim := func(id string) *events.CategoryClaim { return &events.CategoryClaim{ID: id} }
	for name, test := range map[string]struct {
		applicant events.Applicant
		claim     *events.CategoryClaim
		score     int
		level     string
		category  string
		reasons   int
	}{
		"an ordinary customer without a claim gets the default": {
			events.Applicant{BirthDate: "1990-05-15", Nationality: "LT"}, nil, 0, "LOW", "B2CCustomerIndividual", 0},
		"a claim at the assessed level is honoured": {
			events.Applicant{BirthDate: "1990-05-15"}, claim("fs-cat-b2c-low-001"), 0, "LOW", "fs-cat-b2c-low-001", 0},
		"a claim above the assessed level is honoured": {
			events.Applicant{BirthDate: "1990-05-15"}, claim("medium-risk-verified-5f8a9b"), 0, "LOW", "medium-risk-verified-5f8a9b", 0},
		"a category is found by its database id too": {
			events.Applicant{BirthDate: "1990-05-15"}, claim("e50bb9ad-6a97-41da-8e66-4c3c0f7e2a3d"), 0, "LOW", "MEDIUM_RISK_INDIVIDUAL", 0},
		"a claim below the assessed level is raised": {
			events.Applicant{BirthDate: "1990-05-15", Nationality: "KP"}, claim("fs-cat-b2c-low-001"), 70, "HIGH", "HIGH_RISK_INDIVIDUAL", 1},
		"a residence in the middle makes it medium": {
			events.Applicant{BirthDate: "1990-05-15", Addresses: []events.Address{{Country: "LT"}, {Country: "IR", Primary: true}}}, nil, 60, "MEDIUM", "medium-risk-verified-5f8a9b", 1},
		"points add up and stop at 100": {
			events.Applicant{BirthDate: "2007-01-01", Nationality: "KP", CanonicalEmail: "a@mailinator.com", Addresses: []events.Address{{Country: "KP"}}}, nil, 100, "HIGH", "HIGH_RISK_INDIVIDUAL", 4},
		"an unknown age is a reason": {
			events.Applicant{}, nil, 15, "LOW", "B2CCustomerIndividual", 1},
	} {
		t.Run(name, func(t *testing.T) {
			tenant := demoTenant()
			a := score(tenant.Policy, factsOf(tenant.Policy, events.Registration{Channel: "native", Applicant: test.applicant}, noon).Values())
			category, _ := assign(tenant.Catalog, test.claim, a)
			if a.Score != test.score || a.Level != test.level || category.ID != test.category || len(a.Reasons) != test.reasons {
				t.Errorf("got %d %s %s, reasons %v", a.Score, a.Level, category.ID, a.Reasons)
			}
		})
	}
}

func TestParametersAreClaimedOrSelected(t *testing.T) {
	const medium, low = "medium-risk-verified-5f8a9b", "fs-cat-b2c-low-001"
	parameter := func(name, value string) events.Parameter { return events.Parameter{Name: name, Value: value} }
	for name, test := range map[string]struct {
		category string
		sent     []events.Parameter
		found    events.Assessment
		want     map[string]string // of the first feature
	}{
		"an allowed value stands, the others follow from the risk": {medium, []events.Parameter{parameter("RISK_LEVEL", "MEDIUM")}, events.Assessment{Level: "LOW"},
			map[string]string{"RISK_LEVEL": "MEDIUM", "RISK_SCORE": "25", "PEP_STATUS": "false", "SANCTIONS_CHECK": "STANDARD", "MONITORING_FREQUENCY": "MONTHLY"}},
		"a key in the other spelling is that key": {medium, []events.Parameter{parameter("riskLevel", "STANDARD"), parameter("pep", "NO")}, events.Assessment{Level: "MEDIUM", Score: 52},
			map[string]string{"RISK_LEVEL": "STANDARD", "RISK_SCORE": "50", "PEP_STATUS": "NO", "SANCTIONS_CHECK": "STANDARD", "MONITORING_FREQUENCY": "WEEKLY"}},
		"placeholders and unknown names count as not sent": {medium, []events.Parameter{parameter("RISK_LEVEL", "MEDIUM_RISK_VALUE"), parameter("RISK_SCORE", "<string>"), parameter("COLOUR", "red")}, events.Assessment{Level: "HIGH", Score: 90},
			map[string]string{"RISK_LEVEL": "HIGH", "RISK_SCORE": "85", "PEP_STATUS": "false", "SANCTIONS_CHECK": "ENHANCED", "MONITORING_FREQUENCY": "DAILY"}},
		"a value sent twice is the first": {medium, []events.Parameter{parameter("RISK_LEVEL", "LOW"), parameter("riskLevel", "HIGH")}, events.Assessment{Level: "LOW"},
			map[string]string{"RISK_LEVEL": "LOW", "RISK_SCORE": "25", "PEP_STATUS": "false", "SANCTIONS_CHECK": "STANDARD", "MONITORING_FREQUENCY": "MONTHLY"}},
		"a claim below the risk keeps what the assigned category allows": {low, []events.Parameter{parameter("MONITORING_FREQUENCY", "WEEKLY")}, events.Assessment{Level: "HIGH", Score: 70},
			map[string]string{"RISK_LEVEL": "HIGH", "RISK_SCORE": "85", "PEP_STATUS": "false", "SANCTIONS_CHECK": "ENHANCED", "MONITORING_FREQUENCY": "WEEKLY"}},
	} {
		t.Run(name, func(t *testing.T) {
			claim := &events.CategoryClaim{ID: test.category, Features: []events.FeatureClaim{{Code: "RISK_ASSESSMENT", Parameters: test.sent}}}
			_, features := assign(demoTenant().Catalog, claim, test.found)
			got := map[string]string{}
			for _, p := range features[0].Parameters {
				got[p.Name] = p.Value
			}
			if !maps.Equal(got, test.want) || len(features[0].Parameters) != len(test.want) || len(features) != 3 {
				t.Errorf("got %v, want %v", features[0].Parameters, test.want)
			}
		})
	}
}

func TestTheAgeIsTheNumberOfBirthdays(t *testing.T) {
	for born, want := range map[string]int{"2008-06-15": 18, "2008-06-16": 17, "2000-02-29": 26, "2026-06-15": 0} {
		date, err := time.Parse(time.DateOnly, born)
		if err != nil {
			t.Fatal(err)
		}
		if got := age(date, noon); got != want {
			t.Errorf("born %s: %d, want %d", born, got, want)
		}
	}
}

func TestAStoredDecisionIsPublishedAndOtherContentIsAReusedKey(t *testing.T) {
	a := decision{MAC: "m1", Found: events.Assessment{Case: 1, Score: 5}}
	if c, ok := a.event(events.Carried{MAC: "m1", Vault: 7}).(events.Categorized); !ok || c.Score != 5 || c.Vault != 7 {
		t.Errorf("got %v", c)
	}
	r, ok := a.event(events.Carried{MAC: "m2"}).(events.Rejected)
	if !ok || r.Violations[0].Code != events.CodeIdempotencyKeyReused || r.Step() != events.StepRisk {
		t.Errorf("got %v", r)
	}
}

// rule is one of a policy, as its file would have it.
func rule(id, when string, points int, outcome tenant.Outcome) tenant.RiskRule {
	condition, err := rules.Compile(when)
	if err != nil {
		panic(err)
	}
	return tenant.RiskRule{ID: id, When: condition, Points: points, Outcome: outcome}
}

func TestThePhoneIsAFactAndNoReasonUnlessAPolicySaysSo(t *testing.T) {
	policy := &tenant.Policy{Medium: 40, High: 70, Rules: []tenant.RiskRule{rule("not-dialable", "phone == 'invalid'", 40, "")}}
	for number, want := range map[string][3]string{
		"": {}, "+447123456789": {"valid", "GB", "MOBILE"}, "+4498457363733": {"invalid"}, "nonsense": {"invalid"},
	} {
		f := factsOf(policy, events.Registration{Applicant: events.Applicant{Phone: number}}, noon)
		if got := [3]string{f.Phone, f.PhoneCountry, f.PhoneType}; got != want {
			t.Errorf("%q is %s, want %s", number, got, want)
		}
	}
	undialable := events.Registration{Applicant: events.Applicant{Phone: "+4498457363733", BirthDate: "1990-05-15"}}
	if a := score(demoTenant().Policy, factsOf(demoTenant().Policy, undialable, noon).Values()); a.Score != 0 {
		t.Errorf("the demonstration counts it: %v", a.Reasons)
	}
	if a := score(policy, factsOf(policy, undialable, noon).Values()); a.Level != "MEDIUM" || a.Facts["phone"] != "invalid" {
		t.Errorf("assessed %+v", a)
	}
}

func TestARuleCanDemandAnOutcome(t *testing.T) {
	points, review, refuse := rule("points", "true", 90, ""), rule("review", "true", 0, tenant.Review), rule("refuse", "true", 0, tenant.Refuse)
	for sentence, test := range map[string]struct {
		rules []tenant.RiskRule
		want  events.Event
	}{
		"points alone demand nothing":          {[]tenant.RiskRule{points}, events.Categorized{}},
		"a review":                             {[]tenant.RiskRule{points, review}, events.ReviewRequired{}},
		"a refusal":                            {[]tenant.RiskRule{refuse}, events.Rejected{}},
		"a refusal goes before a review":       {[]tenant.RiskRule{review, refuse}, events.Rejected{}},
		"a rule that does not hold":            {[]tenant.RiskRule{rule("no", "false", 0, tenant.Refuse)}, events.Categorized{}},
		"what cannot be evaluated is reviewed": {[]tenant.RiskRule{rule("odd", "1 / screeningHits == 1", 5, "")}, events.ReviewRequired{}},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := newService(t, jane)
			config := version("v", 1)
			config.Tenants[0].Policy.Rules = test.rules
			s.config = config
			e, err := s.onRegistrationValidated(t.Context(), validated())
			if err != nil && !parked(err) || parked(err) != (test.want.Type() == events.ReviewRequired{}.Type()) || e.Type() != test.want.Type() || e.Step() != events.StepRisk || e.N() != "1" {
				t.Fatalf("got %v, %v", e, err)
			}
			if r, refused := e.(events.Rejected); refused && (r.Violations[0].Code != events.CodeRefused || len(r.Assessment.Reasons) == 0 || r.Vault != 7) {
				t.Errorf("refused as %+v", r)
			}
		})
	}
}

func TestWhatWasSeenIsKeptAndNamesNobody(t *testing.T) {
	p := &tenant.Policy{Medium: 40, High: 70, Rules: []tenant.RiskRule{rule("r", "age.orValue(0) > 5 && emailDomain == 'jensen.example' && nationality == 'DK'", 1, "")}}
	r := events.Registration{Applicant: events.Applicant{BirthDate: "1990-05-15", CanonicalEmail: "m@jensen.example", Nationality: "DK"}}
	a := score(p, factsOf(p, r, noon).Values())
	if len(a.Reasons) != 1 || !maps.Equal(a.Facts, map[string]string{"nationality": "DK"}) {
		t.Errorf("assessed %+v", a)
	}
}

func BenchmarkTenThousandRegistrationsAgainstFiftyRules(b *testing.B) {
	texts := []string{
		"nationality in ['KP', 'IR', 'MM'] || residence in ['KP', 'IR', 'MM']", "age.orValue(21) < 21 && channel == 'finhub'",
		"emailDomain.matches('^(mail|temp)[a-z]*[.](com|net)$')", "countries.exists(c, c in ['RU', 'BY']) && phoneCountry != nationality",
		"screeningScore > 900 && category.startsWith('fs-cat')",
	}
	p := &tenant.Policy{Medium: 40, High: 70}
	for i := range 50 {
		p.Rules = append(p.Rules, rule(strconv.Itoa(i), texts[i%len(texts)], 1, ""))
	}
	r := events.Registration{Channel: "finhub", Applicant: events.Applicant{
		BirthDate: "1990-05-15", Nationality: "LT", Phone: "+447123456789", CanonicalEmail: "marcus@mediumrisk-example.com",
		Addresses: []events.Address{{Country: "LT", Primary: true}, {Country: "DE"}},
	}}
	begun := processor(b)
	for b.Loop() {
		for range 10_000 {
			score(p, factsOf(p, r, noon).Values())
		}
	}
	b.ReportMetric(float64((processor(b)-begun).Microseconds())/float64(b.N)/10_000, "µs-of-cpu/registration")
}

// processor is the time that the process has had of all processors.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func BenchmarkTheDemonstrationDecides(b *testing.B) {
	s := &service{lists: newScreener(b.Context(), "", quiet)}
	t := demoTenant()
	r := events.Registration{Channel: "finhub", Applicant: events.Applicant{
		Type: "INDIVIDUAL", GivenName: "Marcus", FamilyName: "Jensen", BirthDate: "1990-05-15", Nationality: "LT", Phone: "+447123456789",
		CanonicalEmail: "marcus@mediumrisk-example.com", Addresses: []events.Address{{Country: "LT", Primary: true}},
	}}
	b.ReportAllocs()
	for b.Loop() {
		found, _ := s.screen(t.Policy.Screening, r.Applicant)
		if a := assess(t, found, factsOf(t.Policy, r, noon).Values()); a.Score != 0 {
			b.Fatal(a)
		}
	}
}
