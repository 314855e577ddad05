package validator

import (
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"

	"github.com/usherhq/usher/events"
)

// The rules of Fincode's register-customer. What the document requires is found missing by the
// decoder, which knows both shapes of the address; here are the forms.

const (
	fincodeShortestName   = 2
	fincodeLongestName    = 50
	fincodeLongestCompany = 255
	fincodeOldest         = 120 // years
	fincodeCompany        = "COMPANY"
)

var (
	fincodePersonName = regexp.MustCompile(`^['’]?\p{L}[\p{L}\p{M} '’-]*$`)
	// Some clients send parts of a company's name in place of a person's.
	fincodeCompanyName = regexp.MustCompile(`^['’]?[\p{L}\p{Nd}][\p{L}\p{M}\p{Nd} '’-]*$`)
)

func fincodeType(s subject) []events.Violation {
	return oneOf("customerType", s.Applicant.Type, "INDIVIDUAL", fincodeCompany)
}

func fincodeNames(s subject) []events.Violation {
	a, form := s.Applicant, fincodePersonName
	if a.Type == fincodeCompany {
		form = fincodeCompanyName
	}
	found := append(fincodeName("firstName", a.GivenName, form), fincodeName("lastName", a.FamilyName, form)...)
	if utf8.RuneCountInString(a.CompanyName) > fincodeLongestCompany {
		found = append(found, events.Violation{Code: events.CodeTooLong, Field: "dynamicFields.companyName"})
	}
	return found
}

func fincodeName(field, value string, form *regexp.Regexp) []events.Violation {
	n := utf8.RuneCountInString(value)
	switch {
	case value == "":
		return nil
	case n < fincodeShortestName:
		return violation(events.CodeTooShort, field)
	case n > fincodeLongestName:
		return violation(events.CodeTooLong, field)
	case !form.MatchString(value):
		return violation(events.CodeFormat, field)
	}
	return nil
}

func fincodeContact(s subject) []events.Violation { return email("email", s.Applicant.Email) }

// fincodePhone wants the form of E.164; the numbering plan counts only where the tenant says
// so, as the numbers that the document prints are in none.
func fincodePhone(s subject) []events.Violation {
	number := s.Applicant.Phone
	if found := phone("phone", number); number == "" || found != nil {
		return found
	}
	if f := s.tenant.Dialects.Fincode; f == nil || !f.StrictPhone {
		return nil
	}
	parsed, err := phonenumbers.Parse(number, "")
	if err != nil || !phonenumbers.IsValidNumber(parsed) {
		return violation(events.CodePhoneInvalid, "phone")
	}
	return nil
}

// fincodeBirth takes ages from 18 to 120, both included. A company's date is that of the person
// who acts for it.
func fincodeBirth(s subject) []events.Violation {
	born, err := time.Parse(time.DateOnly, s.Applicant.BirthDate)
	if err == nil && !s.at.Before(born.AddDate(fincodeOldest, 0, 1)) {
		return violation(events.CodeTooLongAgo, "dob")
	}
	return birthDate("dob", s.Applicant.BirthDate, s.at, adult)
}

func fincodeAddress(s subject) []events.Violation {
	for _, a := range s.Applicant.Addresses {
		if found := country("address.country", a.Country); found != nil {
			return found
		}
	}
	return nil
}
