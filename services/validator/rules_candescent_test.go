package validator

import (
	"slices"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

const institution = "01111"

// customer is a registration that every rule of the Candescent dialect accepts.
func customer() events.Registration {
	return events.Registration{
		Channel: candescent, Username: "test.user1", MemberNumber: "468531842", Password: goodPassword,
		Applicant: events.Applicant{
			GivenName: "Test", FamilyName: "O’User", Email: "test.user@example.com", BirthDate: "2000-01-01", MothersMaidenName: "Smith",
			Addresses:  []events.Address{{Lines: []string{"100 Main Street"}, City: "Miles City", Region: "MT", PostalCode: "SWA 1AA", Country: "US"}},
			Contacts:   []events.Contact{{Type: "PHONE", Value: "4065550100"}},
			NationalID: &events.NationalID{Type: "US_SSN", Value: "000456789"},
		},
		Consents: []events.Consent{{ID: "online-banking-agreement", Version: "1"}},
	}
}

func checkCustomer(r events.Registration, change func(*tenant.Candescent)) []events.Violation {
	t, _ := tenant.Demo().Tenant(institution)
	change(t.Dialects.Candescent)
	return violations(subject{Registration: r, tenant: t, at: receipt})
}

func TestRulesOfCandescent(t *testing.T) {
	const (
		names    = "person.personName"
		email    = "person.contactInfo.emailAddress"
		home     = "person.contactInfo.postalAddress[0]."
		login    = "channelInfos.channelInfo[0].credential.loginId"
		password = "channelInfos.channelInfo[0].credential.password"
	)
	long := func(n int) string { return strings.Repeat("é", n) }
	address := func(edit func(*events.Address)) change {
		return func(r *events.Registration) { edit(&r.Applicant.Addresses[0]) }
	}
	phones := func(numbers ...string) change {
		return func(r *events.Registration) {
			r.Applicant.Contacts = nil
			for _, n := range numbers {
				r.Applicant.Contacts = append(r.Applicant.Contacts, events.Contact{Value: n})
			}
		}
	}
	facts := func(p events.PasswordFacts) change { return func(r *events.Registration) { r.Password = p } }
	username := func(name string) change { return func(r *events.Registration) { r.Username = name } }
	for name, test := range map[string]struct {
		change change
		want   []string // code and field; none accepts
	}{
		"nothing is wrong":                            {func(*events.Registration) {}, nil},
		"no member number":                            {func(r *events.Registration) { r.MemberNumber = "" }, []string{"FORMAT memberNumber"}},
		"a member number of 16":                       {func(r *events.Registration) { r.MemberNumber = strings.Repeat("A", 16) }, nil},
		"a member number of 17":                       {func(r *events.Registration) { r.MemberNumber = strings.Repeat("1", 17) }, []string{"FORMAT memberNumber"}},
		"a member number with a hyphen":               {func(r *events.Registration) { r.MemberNumber = "1-2" }, []string{"FORMAT memberNumber"}},
		"a member number of Arabic digits":            {func(r *events.Registration) { r.MemberNumber = "٤٦٨" }, []string{"FORMAT memberNumber"}},
		"no names":                                    {func(r *events.Registration) { r.Applicant.GivenName, r.Applicant.FamilyName = "", "" }, []string{"REQUIRED person.personName.firstName", "REQUIRED person.personName.lastName"}},
		"names of 39 together":                        {func(r *events.Registration) { r.Applicant.GivenName, r.Applicant.FamilyName = long(20), long(19) }, nil},
		"names of 40 together":                        {func(r *events.Registration) { r.Applicant.GivenName, r.Applicant.FamilyName = long(20), long(20) }, []string{"TOO_LONG " + names}},
		"a first name of 40":                          {func(r *events.Registration) { r.Applicant.GivenName = long(40) }, []string{"TOO_LONG person.personName.firstName", "TOO_LONG " + names}},
		"a last name of 40":                           {func(r *events.Registration) { r.Applicant.FamilyName = long(40) }, []string{"TOO_LONG person.personName.lastName", "TOO_LONG " + names}},
		"a middle name of 39":                         {func(r *events.Registration) { r.Applicant.MiddleName = long(39) }, nil},
		"a middle name of 40":                         {func(r *events.Registration) { r.Applicant.MiddleName = long(40) }, []string{"TOO_LONG person.personName.middleName"}},
		"a first name with a digit":                   {func(r *events.Registration) { r.Applicant.GivenName = "R2" }, []string{"FORMAT person.personName.firstName"}},
		"no e-mail address":                           {func(r *events.Registration) { r.Applicant.Email = "" }, []string{"REQUIRED " + email}},
		"an e-mail address without @":                 {func(r *events.Registration) { r.Applicant.Email = "nobody" }, []string{"FORMAT " + email}},
		"an e-mail address of 64":                     {func(r *events.Registration) { r.Applicant.Email = strings.Repeat("a", 52) + "@example.com" }, nil},
		"an e-mail address of 65":                     {func(r *events.Registration) { r.Applicant.Email = strings.Repeat("a", 53) + "@example.com" }, []string{"TOO_LONG " + email}},
		"no addresses":                                {func(r *events.Registration) { r.Applicant.Addresses = nil }, []string{"REQUIRED " + home + "postalCode", "REQUIRED " + home + "city", "REQUIRED " + home + "state", "REQUIRED " + home + "address1", "REQUIRED " + home + "country"}},
		"no postal code":                              {address(func(a *events.Address) { a.PostalCode = "" }), []string{"REQUIRED " + home + "postalCode"}},
		"no city":                                     {address(func(a *events.Address) { a.City = "" }), []string{"REQUIRED " + home + "city"}},
		"no state":                                    {address(func(a *events.Address) { a.Region = "" }), []string{"REQUIRED " + home + "state"}},
		"a state of three letters":                    {address(func(a *events.Address) { a.Region = "MON" }), []string{"FORMAT " + home + "state"}},
		"a Lithuanian state":                          {address(func(a *events.Address) { a.Region, a.Country = "Vilnius County", "LT" }), nil},
		"a state of 128 abroad":                       {address(func(a *events.Address) { a.Region, a.Country = long(128), "LT" }), nil},
		"a state of 129 abroad":                       {address(func(a *events.Address) { a.Region, a.Country = long(129), "LT" }), []string{"TOO_LONG " + home + "state"}},
		"no street":                                   {address(func(a *events.Address) { a.Lines = []string{"", "Flat 2"} }), []string{"REQUIRED " + home + "address1"}},
		"a street of 128":                             {address(func(a *events.Address) { a.Lines[0] = long(128) }), nil},
		"a street of 129":                             {address(func(a *events.Address) { a.Lines[0] = long(129) }), []string{"TOO_LONG " + home + "address1"}},
		"no country":                                  {address(func(a *events.Address) { a.Country = "" }), []string{"REQUIRED " + home + "country"}},
		"an unknown country":                          {address(func(a *events.Address) { a.Country = "Atlantis" }), []string{"FORMAT " + home + "country"}},
		"ten addresses":                               {func(r *events.Registration) { r.Applicant.Addresses = slices.Repeat(r.Applicant.Addresses, 10) }, nil},
		"eleven addresses":                            {func(r *events.Registration) { r.Applicant.Addresses = slices.Repeat(r.Applicant.Addresses, 11) }, []string{"TOO_MANY person.contactInfo.postalAddress"}},
		"no phone":                                    {phones(), []string{"REQUIRED person.contactInfo.phoneNumber[0].number"}},
		"a second phone of nine digits":               {phones("4065550100", "406555010"), []string{"FORMAT person.contactInfo.phoneNumber[1].number"}},
		"a phone with a plus":                         {phones("+14065550100"), []string{"FORMAT person.contactInfo.phoneNumber[0].number"}},
		"eleven phones":                               {phones(slices.Repeat([]string{"4065550100"}, 11)...), []string{"TOO_MANY person.contactInfo.phoneNumber"}},
		"no birth date":                               {func(r *events.Registration) { r.Applicant.BirthDate = "" }, []string{"REQUIRED person.birthDate"}},
		"a birth date of another form":                {func(r *events.Registration) { r.Applicant.BirthDate = "01/02/2000" }, []string{"FORMAT person.birthDate"}},
		"a child":                                     {func(r *events.Registration) { r.Applicant.BirthDate = "2020-01-01" }, nil},
		"born tomorrow":                               {func(r *events.Registration) { r.Applicant.BirthDate = "2026-06-16" }, []string{"IN_THE_FUTURE person.birthDate"}},
		"no SSN":                                      {func(r *events.Registration) { r.Applicant.NationalID = nil }, []string{"REQUIRED person.ssn"}},
		"an SSN of eight digits":                      {func(r *events.Registration) { r.Applicant.NationalID.Value = "12345678" }, []string{"FORMAT person.ssn"}},
		"an SSN with hyphens":                         {func(r *events.Registration) { r.Applicant.NationalID.Value = "123-45-6789" }, []string{"FORMAT person.ssn"}},
		"no maiden name":                              {func(r *events.Registration) { r.Applicant.MothersMaidenName = "" }, []string{"REQUIRED person.mothersMaidenName"}},
		"a maiden name of 128":                        {func(r *events.Registration) { r.Applicant.MothersMaidenName = long(128) }, nil},
		"a maiden name of 129":                        {func(r *events.Registration) { r.Applicant.MothersMaidenName = long(129) }, []string{"TOO_LONG person.mothersMaidenName"}},
		"no login":                                    {username(""), []string{"FORMAT " + login}},
		"a login of five":                             {username("abcde"), []string{"FORMAT " + login}},
		"a login of six, under the tenant's range":    {username("abcdef"), []string{"TOO_SHORT " + login}},
		"a login of eight letters":                    {username("abcdefgh"), nil},
		"a login of 21, above the tenant's range":     {username(strings.Repeat("a", 21)), []string{"TOO_LONG " + login}},
		"a login of 257":                              {username(strings.Repeat("a", 257)), []string{"FORMAT " + login}},
		"a login of digits only":                      {username("12345678"), []string{"FORMAT " + login}},
		"a login with a space":                        {username("test user1"), []string{"FORMAT " + login}},
		"a login with every special character":        {username("a@$*_-=.!~"), nil},
		"a login with another special character":      {username("test+user1"), []string{"FORMAT " + login}},
		"a login in Cyrillic":                         {username("тестовый"), []string{"FORMAT " + login}},
		"a login that is the member number":           {func(r *events.Registration) { r.Username, r.MemberNumber = "Ab123456", "aB123456" }, []string{"NOT_ALLOWED " + login}},
		"a login of digits that is the member's":      {username("468531842"), []string{"FORMAT " + login, "NOT_ALLOWED " + login}},
		"no password":                                 {facts(events.PasswordFacts{}), []string{"REQUIRED " + password}},
		"a password of five":                          {facts(events.PasswordFacts{Present: true, Length: 5, Lower: true, Digit: true}), []string{"TOO_SHORT " + password}},
		"a password of 32 letters and numbers":        {facts(events.PasswordFacts{Present: true, Length: 32, Lower: true, Digit: true}), nil},
		"a password of 33":                            {facts(events.PasswordFacts{Present: true, Length: 33, Lower: true, Digit: true}), []string{"TOO_LONG " + password}},
		"a password of letters only":                  {facts(events.PasswordFacts{Present: true, Length: 8, Upper: true, Lower: true}), []string{"PASSWORD_WEAK " + password}},
		"a password of numbers and signs":             {facts(events.PasswordFacts{Present: true, Length: 8, Digit: true, Special: true}), nil},
		"a password of Han letters and numbers":       {facts(events.PasswordFacts{Present: true, Length: 8, Caseless: true, Digit: true}), nil},
		"a password with a space":                     {facts(events.PasswordFacts{Present: true, Length: 8, Lower: true, Digit: true, Space: true}), []string{"FORMAT " + password}},
		"a password that is part of the user name":    {facts(events.PasswordFacts{Present: true, Length: 6, Lower: true, Digit: true, InUsername: true}), []string{"PASSWORD_RESEMBLES " + password}},
		"a common password, of which nothing is said": {facts(events.PasswordFacts{Present: true, Length: 8, Lower: true, Digit: true, Common: true}), nil},
		"a disclosure that is not accepted":           {func(r *events.Registration) { r.Consents = nil }, []string{"DISCLOSURE_NOT_ACCEPTED disclosures.disclosure[online-banking-agreement:1]"}},
		"a disclosure in another version":             {func(r *events.Registration) { r.Consents[0].Version = "2" }, []string{"DISCLOSURE_NOT_ACCEPTED disclosures.disclosure[online-banking-agreement:1]"}},
		"what the decoder found":                      {func(r *events.Registration) { r.Findings = violation("REQUIRED", "channelInfos.channelInfo") }, []string{"REQUIRED channelInfos.channelInfo"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := customer()
			test.change(&r)
			var got []string
			for _, v := range checkCustomer(r, func(*tenant.Candescent) {}) {
				got = append(got, v.Code+" "+v.Field)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAnInstitutionSetsItsOwnPoliciesWithinTheVendors(t *testing.T) {
	r := customer()
	r.Username, r.Password.Length = "abc.def", 11
	found := checkCustomer(r, func(c *tenant.Candescent) {
		c.UserNameMin, c.PasswordMin, c.Disclosures = 6, 12, append(c.Disclosures, tenant.Disclosure{ID: "fees", Version: "3"})
	})
	want := []events.Violation{
		{Code: events.CodeTooShort, Field: "channelInfos.channelInfo[0].credential.password"},
		{Code: events.CodeDisclosureNotAccepted, Field: "disclosures.disclosure[fees:3]"},
	}
	if !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}
