package validator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

// fincodeTenant is the demonstration's, after a change.
func fincodeTenant(t *testing.T, change func(*tenant.Fincode)) *tenant.Tenant {
	t.Helper()
	remit, known := tenant.Demo().Tenant("remitjunction")
	if !known {
		t.Fatal("the demonstration has no such tenant")
	}
	change(remit.Dialects.Fincode)
	return remit
}

func fincodeApplicant() events.Registration {
	r := applicant("fincode")
	r.Roles = nil
	r.Applicant.Phone = "+4498457363733" // as the document prints it: in no numbering plan
	r.Applicant.Addresses = []events.Address{{Lines: []string{"San Janet Street"}, PostalCode: "SWA 1AA", Country: "GB"}}
	return r
}

func TestRulesOfFincode(t *testing.T) {
	const born = "2006-01-02"
	date := func(years, days int) string { return receipt.AddDate(-years, 0, -days).Format(born) }
	lenient := fincodeTenant(t, func(*tenant.Fincode) {})
	for name, test := range map[string]struct {
		change change
		want   string // "CODE field", separated by commas; "" accepts
	}{
		"nothing is wrong": {func(*events.Registration) {}, ""},
		"names of 2 and 50 letters": {func(r *events.Registration) {
			r.Applicant.GivenName, r.Applicant.FamilyName = "Jo", strings.Repeat("é", 50)
		}, ""},
		"a name of 1 letter":   {func(r *events.Registration) { r.Applicant.GivenName = "J" }, "TOO_SHORT firstName"},
		"a name of 51 letters": {func(r *events.Registration) { r.Applicant.FamilyName = strings.Repeat("a", 51) }, "TOO_LONG lastName"},
		"names with what is allowed": {func(r *events.Registration) {
			r.Applicant.GivenName, r.Applicant.FamilyName = "Anne-Marie Zoë", "'t O’Neil-D'Arc"
		}, ""},
		"a name in Yoruba":    {func(r *events.Registration) { r.Applicant.FamilyName = "Adébáyọ̀" }, ""},
		"a name with a digit": {func(r *events.Registration) { r.Applicant.GivenName = "R2D2" }, "FORMAT firstName"},
		"a name with a dot":   {func(r *events.Registration) { r.Applicant.GivenName = "John F." }, "FORMAT firstName"},
		"a name of hyphens":   {func(r *events.Registration) { r.Applicant.GivenName = "--" }, "FORMAT firstName"},
		"a company with digits in its names": {func(r *events.Registration) {
			r.Applicant.Type, r.Applicant.GivenName, r.Applicant.FamilyName = "COMPANY", "3M", "24 Seven"
		}, ""},
		"a company with a slash in its name": {func(r *events.Registration) { r.Applicant.Type, r.Applicant.GivenName = "COMPANY", "a/b" }, "FORMAT firstName"},
		"a legal name of 256 letters":        {func(r *events.Registration) { r.Applicant.CompanyName = strings.Repeat("ä", 256) }, "TOO_LONG dynamicFields.companyName"},
		"a type that is neither":             {func(r *events.Registration) { r.Applicant.Type = "PARTNER" }, "NOT_ALLOWED customerType"},
		"no e-mail form":                     {func(r *events.Registration) { r.Applicant.Email = "nobody" }, "FORMAT email"},
		"an e-mail of 256 characters":        {func(r *events.Registration) { r.Applicant.Email = "a@" + strings.Repeat("b.", 125) + "ccc.de" }, "TOO_LONG email"},
		"a phone with a letter":              {func(r *events.Registration) { r.Applicant.Phone = "+44712345678x" }, "FORMAT phone"},
		"a phone of 16 digits":               {func(r *events.Registration) { r.Applicant.Phone = "+4471234567890123" }, "FORMAT phone"},
		"no phone, which the decoder tells":  {func(r *events.Registration) { r.Applicant.Phone = "" }, ""},
		"18 years old today":                 {func(r *events.Registration) { r.Applicant.BirthDate = date(18, 0) }, ""},
		"18 years old tomorrow":              {func(r *events.Registration) { r.Applicant.BirthDate = date(18, -1) }, "UNDER_AGE dob"},
		"120 years old":                      {func(r *events.Registration) { r.Applicant.BirthDate = date(120, 0) }, ""},
		"120 years and a day":                {func(r *events.Registration) { r.Applicant.BirthDate = date(120, 1) }, "TOO_LONG_AGO dob"},
		"born long before":                   {func(r *events.Registration) { r.Applicant.BirthDate = "1066-10-14" }, "TOO_LONG_AGO dob"},
		"born tomorrow":                      {func(r *events.Registration) { r.Applicant.BirthDate = date(0, -1) }, "IN_THE_FUTURE dob"},
		"a date in another form":             {func(r *events.Registration) { r.Applicant.BirthDate = "15.05.1990" }, "FORMAT dob"},
		"the 30th of February":               {func(r *events.Registration) { r.Applicant.BirthDate = "1990-02-30" }, "FORMAT dob"},
		"a country that nobody knows":        {func(r *events.Registration) { r.Applicant.Addresses[0].Country = "Atlantis" }, "FORMAT address.country"},
		"a password of 7 characters":         {func(r *events.Registration) { r.Password.Length = 7 }, "TOO_SHORT password"},
		"a password that is too long":        {func(r *events.Registration) { r.Password.Bytes = 257 }, "TOO_LONG password"},
		"a password without a digit":         {func(r *events.Registration) { r.Password.Digit = false }, "PASSWORD_WEAK password"},
		"a password without a special one":   {func(r *events.Registration) { r.Password.Special = false }, "PASSWORD_WEAK password"},
		"a common password":                  {func(r *events.Registration) { r.Password.Common = true }, "PASSWORD_COMMON password"},
		"a password like the name":           {func(r *events.Registration) { r.Password.Resembles = true }, "PASSWORD_RESEMBLES password"},
		"a password with everything wrong": {func(r *events.Registration) {
			r.Password = events.PasswordFacts{Present: true, Common: true, Resembles: true}
		}, "TOO_SHORT password,PASSWORD_WEAK password,PASSWORD_COMMON password,PASSWORD_RESEMBLES password"},
		"no password, which the decoder told": {func(r *events.Registration) {
			r.Password, r.Findings = events.PasswordFacts{}, []events.Violation{{Code: "REQUIRED", Field: "password"}}
		}, "REQUIRED password"},
		"several at once": {func(r *events.Registration) {
			r.Applicant.Email, r.Applicant.BirthDate, r.Applicant.GivenName = "x", "x", "1x"
		}, "FORMAT firstName,FORMAT email,FORMAT dob"},
	} {
		t.Run(name, func(t *testing.T) {
			r := fincodeApplicant()
			test.change(&r)
			var got []string
			for _, v := range violations(subject{Registration: r, tenant: lenient, at: receipt}) {
				got = append(got, v.Code+" "+v.Field)
			}
			if strings.Join(got, ",") != test.want {
				t.Errorf("found %v, want %q", got, test.want)
			}
		})
	}
}

func TestANumberingPlanCountsOnlyWhereTheTenantSaysSo(t *testing.T) {
	strict := fincodeTenant(t, func(f *tenant.Fincode) { f.StrictPhone = true })
	lenient := fincodeTenant(t, func(*tenant.Fincode) {})
	for phone, valid := range map[string]bool{
		"+447123456789": true, "+12125551234": true, "+2348035550147": true, // the page's own two, and one of Nigeria
		"+4498457363733": false, "+4497329374813": false, // those of the page's requests
		"+9991234567": false, "+441": false,
	} {
		r := fincodeApplicant()
		r.Applicant.Phone = phone
		if found := violations(subject{Registration: r, tenant: lenient, at: receipt}); len(found) > 0 {
			t.Errorf("%s: a lenient tenant found %v", phone, found)
		}
		found := violations(subject{Registration: r, tenant: strict, at: receipt})
		if want := (events.Violation{Code: events.CodePhoneInvalid, Field: "phone"}); slices.Contains(found, want) == valid || len(found) > 1 {
			t.Errorf("%s: a strict tenant found %v", phone, found)
		}
	}
}

func BenchmarkNumberingPlan(b *testing.B) {
	remit, _ := tenant.Demo().Tenant("remitjunction")
	remit.Dialects.Fincode.StrictPhone = true
	s := subject{Registration: fincodeApplicant(), tenant: remit, at: time.Now()}
	for b.Loop() {
		fincodePhone(s)
	}
}
