package risk

import (
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

func demoTenant() *tenant.Tenant {
	t, _ := tenant.Demo().Tenant("d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f")
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
			a := score(tenant.Policy, factsOf(events.Registration{Channel: "native", Applicant: test.applicant}, noon))
			category, _ := assign(tenant.Catalog, test.claim, a)
			if a.Score != test.score || a.Level != test.level || category.ID != test.category || len(a.Reasons) != test.reasons {
				t.Errorf("got %d %s %s, reasons %v", a.Score, a.Level, category.ID, a.Reasons)
			}
		})
	}
}

func TestOnlyAllowedValuesOfAClaimAreTaken(t *testing.T) {
	tenant := demoTenant()
	claim := &events.CategoryClaim{ID: "medium-risk-verified-5f8a9b", Features: []events.FeatureClaim{{
		Code: "RISK_ASSESSMENT", Parameters: []events.Parameter{{Name: "RISK_LEVEL", Value: "MEDIUM"}, {Name: "RISK_SCORE", Value: "<string>"}, {Name: "COLOUR", Value: "red"}},
	}}}
	_, features := assign(tenant.Catalog, claim, events.Assessment{Level: "LOW"})
	if len(features) != 3 || len(features[0].Parameters) != 1 || features[0].Parameters[0].Value != "MEDIUM" {
		t.Errorf("features %+v", features)
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
	a := assessment{MAC: "m1", Found: events.Assessment{Case: 1, Score: 5}}
	if c, ok := a.event(events.Carried{MAC: "m1", Vault: 7}).(events.Categorized); !ok || c.Score != 5 || c.Vault != 7 {
		t.Errorf("got %v", c)
	}
	r, ok := a.event(events.Carried{MAC: "m2"}).(events.Rejected)
	if !ok || r.Violations[0].Code != events.CodeIdempotencyKeyReused || r.Step() != events.StepRisk {
		t.Errorf("got %v", r)
	}
}
