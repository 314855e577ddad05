package validator

import (
	"fmt"

	"github.com/usherhq/usher/events"
)

const (
	longestName = 100
	adult       = 18
)

func nativeRequired(s subject) []events.Violation {
	a := s.Applicant
	found := append(required("applicant.givenName", a.GivenName), required("applicant.familyName", a.FamilyName)...)
	found = append(found, required("applicant.email", a.Email)...)
	found = append(found, required("applicant.birthDate", a.BirthDate)...)
	if !s.Password.Present {
		found = append(found, events.Violation{Code: events.CodeRequired, Field: "credentials.password"})
	}
	return found
}

func nativeNames(s subject) []events.Violation {
	a := s.Applicant
	found := append(name("applicant.givenName", a.GivenName, 1, longestName), name("applicant.familyName", a.FamilyName, 1, longestName)...)
	return append(found, oneOf("applicant.type", a.Type, "INDIVIDUAL", "COMPANY")...)
}

func nativeContact(s subject) []events.Violation {
	return append(email("applicant.email", s.Applicant.Email), phone("applicant.phone", s.Applicant.Phone)...)
}

func nativeBirth(s subject) []events.Violation {
	found := birthDate("applicant.birthDate", s.Applicant.BirthDate, s.at, adult)
	return append(found, oneOf("applicant.gender", s.Applicant.Gender, "MALE", "FEMALE", "OTHER")...)
}

func nativeCountries(s subject) []events.Violation {
	found := country("applicant.nationality", s.Applicant.Nationality)
	for i, a := range s.Applicant.Addresses {
		found = append(found, country(fmt.Sprintf("applicant.addresses[%d].country", i), a.Country)...)
	}
	return found
}

// nativePassword follows NIST SP 800-63B-4 §3.1.1.2: length, blocklist and context, no
// composition rules.
func nativePassword(s subject) []events.Violation {
	const field = "credentials.password"
	p := s.Password
	switch {
	case !p.Present:
		return nil
	case p.Length < s.tenant.Password.MinLength:
		return violation(events.CodeTooShort, field)
	case p.Bytes > s.tenant.Password.MaxLength:
		return violation(events.CodeTooLong, field)
	case p.Common:
		return violation(events.CodePasswordCommon, field)
	case p.Resembles:
		return violation(events.CodePasswordResembles, field)
	}
	return nil
}
