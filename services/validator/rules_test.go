package validator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

var receipt = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

var goodPassword = events.PasswordFacts{Present: true, Length: 14, Bytes: 14, Upper: true, Lower: true, Digit: true, Special: true}

// applicant is a registration that every rule of both channels accepts.
func applicant(channel string) events.Registration {
	return events.Registration{
		Channel: channel, Password: goodPassword, Roles: []string{"USER"},
		Applicant: events.Applicant{
			Type: "INDIVIDUAL", GivenName: "Zoë", FamilyName: "O’Neil-Müller", Email: "zoe@example.com", Phone: "+37060012345",
			BirthDate: "1990-05-15", Gender: "OTHER", Nationality: "LT", Addresses: []events.Address{{Country: "LT"}},
		},
	}
}

func check(r events.Registration) []events.Violation {
	t, _ := tenant.Demo().Tenant("d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f")
	return violations(subject{Registration: r, tenant: t, at: receipt})
}

type change = func(*events.Registration)

func TestRules(t *testing.T) {
	claim := func(id string, parameters ...events.Parameter) change {
		return func(r *events.Registration) {
			r.Claim = &events.CategoryClaim{ID: id, Features: []events.FeatureClaim{{Code: "RISK_ASSESSMENT", Parameters: parameters}}}
		}
	}
	for name, test := range map[string]struct {
		change change
		want   string // code; "" accepts
	}{
		"nothing is wrong":                         {func(*events.Registration) {}, ""},
		"a country of a million letters":           {func(r *events.Registration) { r.Applicant.Nationality = strings.Repeat("A", 1<<20) }, events.CodeFormat},
		"a name in Greek":                          {func(r *events.Registration) { r.Applicant.GivenName = "Ἀλέξανδρος" }, ""},
		"a name in Devanagari with marks":          {func(r *events.Registration) { r.Applicant.GivenName = "प्रिया" }, ""},
		"a name with a straight apostrophe":        {func(r *events.Registration) { r.Applicant.FamilyName = "D'Arc" }, ""},
		"a name with a digit":                      {func(r *events.Registration) { r.Applicant.GivenName = "R2D2" }, events.CodeFormat},
		"a name of 101 letters":                    {func(r *events.Registration) { r.Applicant.GivenName = string(slices.Repeat([]rune{'ä'}, 101)) }, events.CodeTooLong},
		"an address without @":                     {func(r *events.Registration) { r.Applicant.Email = "nobody" }, events.CodeFormat},
		"an address without a dot in its domain":   {func(r *events.Registration) { r.Applicant.Email = "a@b" }, events.CodeFormat},
		"an address with two @":                    {func(r *events.Registration) { r.Applicant.Email = "a@b@c.de" }, events.CodeFormat},
		"an address with a line break":             {func(r *events.Registration) { r.Applicant.Email = "a@b.de\nBcc: c@d.ef" }, events.CodeFormat},
		"an address with an unseen character":      {func(r *events.Registration) { r.Applicant.Email = "a\u200bb@c.de" }, events.CodeFormat},
		"an address that is written backwards":     {func(r *events.Registration) { r.Applicant.Email = "\u202ea@c.de" }, events.CodeFormat},
		"an address with a wide space":             {func(r *events.Registration) { r.Applicant.Email = "a\u3000b@c.de" }, events.CodeFormat},
		"a domain with an underscore":              {func(r *events.Registration) { r.Applicant.Email = "a@exa_mple.com" }, events.CodeFormat},
		"a domain that is no punycode":             {func(r *events.Registration) { r.Applicant.Email = "a@xn--a.com" }, events.CodeFormat},
		"a domain in another script":               {func(r *events.Registration) { r.Applicant.Email = "a@bücher.example" }, ""},
		"an address with a tag":                    {func(r *events.Registration) { r.Applicant.Email = "a+b@c.de" }, ""},
		"a mailbox of 65 letters":                  {func(r *events.Registration) { r.Applicant.Email = string(slices.Repeat([]byte{'a'}, 65)) + "@c.de" }, events.CodeTooLong},
		"the vendor's printed phone":               {func(r *events.Registration) { r.Applicant.Phone = "+1234567890" }, ""},
		"a phone without a plus":                   {func(r *events.Registration) { r.Applicant.Phone = "37060012345" }, events.CodeFormat},
		"a phone of 16 digits":                     {func(r *events.Registration) { r.Applicant.Phone = "+1234567890123456" }, events.CodeFormat},
		"18 years on the day of receipt":           {func(r *events.Registration) { r.Applicant.BirthDate = "2008-06-15" }, ""},
		"18 years on the day after receipt":        {func(r *events.Registration) { r.Applicant.BirthDate = "2008-06-16" }, events.CodeUnderAge},
		"born tomorrow":                            {func(r *events.Registration) { r.Applicant.BirthDate = "2026-06-16" }, events.CodeFuture},
		"born on 30 February":                      {func(r *events.Registration) { r.Applicant.BirthDate = "1990-02-30" }, events.CodeFormat},
		"born in 1850":                             {func(r *events.Registration) { r.Applicant.BirthDate = "1850-01-01" }, events.CodeFormat},
		"an unknown gender":                        {func(r *events.Registration) { r.Applicant.Gender = "X" }, events.CodeNotAllowed},
		"a country that could not be recognised":   {func(r *events.Registration) { r.Applicant.Nationality = "Atlantis" }, events.CodeFormat},
		"a code that no country has":               {func(r *events.Registration) { r.Applicant.Nationality = "ZZ" }, events.CodeFormat},
		"an address in an unknown country":         {func(r *events.Registration) { r.Applicant.Addresses[0].Country = "Atlantis" }, events.CodeFormat},
		"a role that the tenant does not give":     {func(r *events.Registration) { r.Roles = []string{"USER", "ROOT"} }, events.CodeNotAllowed},
		"a category by its id":                     {claim("medium-risk-verified-5f8a9b"), ""},
		"a category that is not in the catalog":    {claim("gold"), events.CodeUnknownCategory},
		"an allowed value":                         {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "RISK_LEVEL", Value: "MEDIUM"}), ""},
		"a value that is not allowed":              {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "RISK_LEVEL", Value: "NONE"}), events.CodeNotAllowed},
		"a placeholder that the vendor prints":     {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "RISK_LEVEL", Value: "<string>"}), ""},
		"the script's value for any key":           {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "RISK_LEVEL", Value: "MEDIUM_RISK_VALUE"}), ""},
		"a medium value that is not allowed":       {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "RISK_SCORE", Value: "42"}), ""},
		"a high value that is not allowed":         {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "riskScore", Value: "99"}), events.CodeNotAllowed},
		"an allowed value in the other spelling":   {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "riskScore", Value: "85"}), ""},
		"no value":                                 {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "RISK_LEVEL"}), ""},
		"an unknown parameter is kept and ignored": {claim("medium-risk-verified-5f8a9b", events.Parameter{Name: "COLOUR", Value: "red"}), ""},
		"what the decoder found": {func(r *events.Registration) {
			r.Findings = []events.Violation{{Code: events.CodeDisagrees, Field: "a|b"}}
		}, events.CodeDisagrees},
		"a password of 7 characters":                 {func(r *events.Registration) { r.Password.Length = 7 }, events.CodeTooShort},
		"a password of more bytes than the tenant's": {func(r *events.Registration) { r.Password.Bytes = 257 }, events.CodeTooLong},
	} {
		for _, channel := range []string{"native", "finhub"} {
			t.Run(channel+": "+name, func(t *testing.T) {
				r := applicant(channel)
				test.change(&r)
				found := check(r)
				switch {
				case test.want == "" && len(found) > 0:
					t.Errorf("found %v", found)
				case test.want != "" && (len(found) != 1 || found[0].Code != test.want || found[0].Field == ""):
					t.Errorf("found %v, want one %s with its field", found, test.want)
				}
			})
		}
	}
}

func TestPasswordsFollowTheRulesOfTheirChannel(t *testing.T) {
	for name, test := range map[string]struct {
		facts          func(*events.PasswordFacts)
		native, finhub string
	}{
		"no digit":               {func(p *events.PasswordFacts) { p.Digit = false }, "", events.CodePasswordWeak},
		"no special character":   {func(p *events.PasswordFacts) { p.Special = false }, "", events.CodePasswordWeak},
		"no upper-case letter":   {func(p *events.PasswordFacts) { p.Upper = false }, "", events.CodePasswordWeak},
		"no lower-case letter":   {func(p *events.PasswordFacts) { p.Lower = false }, "", events.CodePasswordWeak},
		"a common one":           {func(p *events.PasswordFacts) { p.Common = true }, events.CodePasswordCommon, ""},
		"like the person's name": {func(p *events.PasswordFacts) { p.Resembles = true }, events.CodePasswordResembles, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for channel, want := range map[string]string{"native": test.native, "finhub": test.finhub} {
				r := applicant(channel)
				test.facts(&r.Password)
				found := check(r)
				if want == "" && len(found) > 0 || want != "" && (len(found) != 1 || found[0].Code != want) {
					t.Errorf("%s found %v, want %q", channel, found, want)
				}
			}
		})
	}
}

func TestEverythingThatIsMissingIsToldAtOnce(t *testing.T) {
	found := check(events.Registration{Channel: "native"})
	var fields []string
	for _, v := range found {
		if v.Code == events.CodeRequired {
			fields = append(fields, v.Field)
		}
	}
	want := []string{"applicant.givenName", "applicant.familyName", "applicant.email", "applicant.birthDate", "credentials.password"}
	if !slices.Equal(fields, want) {
		t.Errorf("missing %v, want %v", fields, want)
	}
}
