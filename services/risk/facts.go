package risk

import (
	"slices"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/tenant"
)

// factsOf derives what the registration tells; the age is counted to the receipt. What numbering
// plans say of the phone costs more than all else, and is left out where no rule asks.
func factsOf(p *tenant.Policy, r events.Registration, at time.Time) rules.Facts {
	f := rules.Facts{
		Channel: r.Channel, ApplicantType: r.Applicant.Type, Category: claimed(r.Claim),
		Nationality: r.Applicant.Nationality, Countries: countries(r.Applicant),
	}
	if i := residence(r.Applicant.Addresses); i >= 0 {
		f.Residence = r.Applicant.Addresses[i].Country
	}
	f.EmailDomain = domainOf(r.Applicant)
	if born, err := time.Parse(time.DateOnly, r.Applicant.BirthDate); err == nil {
		years := age(born, at)
		f.Age = &years
	}
	if p.Asks("phone", "phoneCountry", "phoneType") {
		phone(&f, r.Applicant.Phone)
	}
	return f
}

// domainOf is the domain of the mail address.
func domainOf(a events.Applicant) string {
	_, domain, _ := strings.Cut(a.CanonicalEmail, "@")
	return domain
}

// phone derives what the numbering plans say of a number.
func phone(f *rules.Facts, number string) {
	if number == "" {
		return
	}
	f.Phone = "invalid"
	parsed, err := phonenumbers.Parse(number, "")
	if err != nil {
		return
	}
	country := phonenumbers.GetRegionCodeForNumber(parsed)
	if !phonenumbers.IsValidNumberForRegion(parsed, country) {
		return
	}
	f.Phone, f.PhoneCountry = "valid", country
	f.PhoneType = phoneTypes[phonenumbers.GetNumberType(parsed)]
}

var phoneTypes = map[phonenumbers.PhoneNumberType]string{
	phonenumbers.FIXED_LINE: "FIXED_LINE", phonenumbers.MOBILE: "MOBILE", phonenumbers.FIXED_LINE_OR_MOBILE: "FIXED_LINE_OR_MOBILE",
	phonenumbers.TOLL_FREE: "TOLL_FREE", phonenumbers.PREMIUM_RATE: "PREMIUM_RATE", phonenumbers.SHARED_COST: "SHARED_COST",
	phonenumbers.VOIP: "VOIP", phonenumbers.PERSONAL_NUMBER: "PERSONAL_NUMBER", phonenumbers.PAGER: "PAGER",
	phonenumbers.UAN: "UAN", phonenumbers.VOICEMAIL: "VOICEMAIL",
}

// countries are all that the applicant names, once each, in alphabetical order.
func countries(a events.Applicant) []string {
	all := []string{a.Nationality}
	for _, address := range a.Addresses {
		all = append(all, address.Country)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(c string) bool { return c == "" })
}

// residence is the index of the primary address with a country, else of the first, else -1.
func residence(addresses []events.Address) int {
	has := func(a events.Address) bool { return a.Country != "" }
	if i := slices.IndexFunc(addresses, func(a events.Address) bool { return a.Primary && has(a) }); i >= 0 {
		return i
	}
	return slices.IndexFunc(addresses, has)
}

// age is the number of birthdays until at.
func age(born, at time.Time) int {
	years := at.Year() - born.Year()
	if born.AddDate(years, 0, 0).After(at) {
		years--
	}
	return years
}
