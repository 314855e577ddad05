package tenant

import (
	"slices"
	"testing"
)

const (
	cloudVault  = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"
	finsei      = "97e7ff29-15f3-49ef-9681-3bbfcce4f6cd"
	remit       = "remitjunction"
	institution = "01111"
)

func TestTheDemonstrationHasOneTenantOfEachDialectWithoutLimits(t *testing.T) {
	c := Demo()
	if want := []string{cloudVault, finsei, remit, institution}; !slices.Equal(c.TenantIDs(), want) {
		t.Fatalf("tenants %v, want %v", c.TenantIDs(), want)
	}
	if len(c.Auth.Tokens)+len(c.Auth.OIDC) > 0 {
		t.Error("the demonstration ships credentials")
	}
	tenant := func(id string) *Tenant { found, _ := c.Tenant(id); return found }
	for _, id := range c.TenantIDs() {
		if !tenant(id).Dialects.Native || tenant(id).Limits != (Limits{}) || tenant(id).Disabled {
			t.Errorf("tenant %s: want native, enabled, no limits", id)
		}
	}
	agreement := []Disclosure{{"online-banking-agreement", "1"}}
	for sentence, ok := range map[string]bool{
		"CloudVault is strict":                      *tenant(cloudVault).Dialects.FinHub == FinHub{},
		"Finsei is lenient":                         *tenant(finsei).Dialects.FinHub == FinHub{LenientHeaders: true, FlatBody: true},
		"RemitJunction takes no bearer":             tenant(remit).Dialects.Fincode.Auth == "none",
		"RemitJunction takes plain passwords":       tenant(remit).Dialects.Fincode.AllowPlain,
		"RemitJunction stays open only in the demo": !tenant(remit).Dialects.Fincode.AllowAnonymous,
		"the institution is found by its id":        tenant(institution).Dialects.Candescent.InstitutionID == institution,
		"the institution requires the agreement":    slices.Equal(tenant(institution).Dialects.Candescent.Disclosures, agreement),
		"only the institution has the id": func() bool {
			found, ok := c.Institution(institution)
			_, no := c.Institution(cloudVault)
			return ok && found == tenant(institution) && !no
		}(),
		"spouses at the institution share an address": !slices.Contains(tenant(institution).Unique, "email"),
		"nobody shares an address elsewhere":          slices.Contains(tenant(remit).Unique, "email"),
	} {
		if !ok {
			t.Errorf("not so: %s", sentence)
		}
	}
}

// The categories, features and values that the vendors' documents print.
var printed = []struct {
	category, feature, code string
	values                  map[string][]string
}{
	{category: "B2CCustomerIndividual"},
	{category: "fs-cat-b2c-low-001"},
	{category: "MEDIUM_RISK_INDIVIDUAL"},
	{category: "VERIFIED_INDIVIDUAL"},
	{"e50bb9ad-6a97-41da-8e66-4c3c0f7e2a3d", "f7a8b9c0-d1e2-3f4g-5h6i-7j8k9l0m1n2o", "MEDIUM_RISK_PROFILE", map[string][]string{
		"riskLevel": {"MEDIUM"}, "riskScore": {"55"}, "pep": {"false"}, "sanctionsCheck": {"STANDARD"}, "monthlyLimit": {"20000"},
	}},
	{"medium-risk-verified-5f8a9b", "risk-assessment-3c4d", "RISK_ASSESSMENT", map[string][]string{
		"RISK_LEVEL": {"MEDIUM", "STANDARD", "LOW"}, "RISK_SCORE": {"55", "50", "60"}, "PEP_STATUS": {"false", "NO", "NOT_APPLICABLE"},
		"SANCTIONS_CHECK": {"STANDARD", "PERIODIC", "DAILY"}, "MONITORING_FREQUENCY": {"WEEKLY", "STANDARD", "DAILY"},
	}},
	{"medium-risk-verified-5f8a9b", "transaction-limits-7e2f", "TRANSACTION_LIMITS", map[string][]string{
		"MONTHLY_LIMIT": {"20000", "15000", "25000"}, "DAILY_LIMIT": {"5000"}, "PER_TRANSACTION_LIMIT": {"2000"},
	}},
	{"medium-risk-verified-5f8a9b", "verification-requirements-9a1b", "VERIFICATION_REQUIREMENTS", map[string][]string{
		"IDENTITY_VERIFICATION": {"REQUIRED"}, "DOCUMENT_VERIFICATION": {"REQUIRED"}, "ENHANCED_DUE_DILIGENCE": {"OPTIONAL"},
	}},
}

func TestTheDemonstrationAcceptsWhatTheVendorsDocumentsPrint(t *testing.T) {
	for _, tenant := range Demo().Tenants {
		for _, p := range printed {
			category, found := tenant.Catalog.Find(p.category)
			if !found {
				t.Errorf("tenant %s has no category %s", tenant.ID, p.category)
				continue
			}
			if p.code == "" {
				continue
			}
			i := slices.IndexFunc(category.Features, func(f Feature) bool { return f.DatabaseID == p.feature && f.Code == p.code })
			if i < 0 {
				t.Errorf("category %s has no feature %s %s", p.category, p.feature, p.code)
				continue
			}
			accepts(t, category.Features[i], p.values)
		}
	}
}

func accepts(t *testing.T, f Feature, values map[string][]string) {
	t.Helper()
	for key, printed := range values {
		if !slices.Contains(f.MandatoryKeys, key) {
			t.Errorf("%s does not demand %s", f.Code, key)
		}
		for _, value := range printed {
			if !slices.Contains(f.AllowedValues[key], value) {
				t.Errorf("%s does not allow %s=%s", f.Code, key, value)
			}
		}
	}
}

func TestTheDefaultCategoryIsTheOneTheVendorPrints(t *testing.T) {
	catalog := Demo().Tenants[0].Catalog
	category, _ := catalog.Find(catalog.DefaultCategory)
	if category.CategoryID != "B2CCustomerIndividual" || category.Name != "B2C Individual" || category.Level != Low {
		t.Errorf("got %+v", category)
	}
	if _, found := catalog.Find("nonsense"); found {
		t.Error("a category that is not there was found")
	}
	if Low.Rank() >= Medium.Rank() || Medium.Rank() >= High.Rank() || Level("x").Rank() >= 0 {
		t.Error("levels are out of order")
	}
}
