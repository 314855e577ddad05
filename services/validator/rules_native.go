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
