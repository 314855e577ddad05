package validator

import (
	"fmt"

	"github.com/usherhq/usher/events"
)

// The rules of FinHub's individual registration. What the document requires is found missing
// by the decoder, which knows both places; here are the forms.

const finhubLongestName = 100

func finhubNames(s subject) []events.Violation {
	return append(name("firstName", s.Applicant.GivenName, 1, finhubLongestName),
		name("lastName", s.Applicant.FamilyName, 1, finhubLongestName)...)
}

func finhubContact(s subject) []events.Violation {
	return append(email("email", s.Applicant.Email), phone("phone", s.Applicant.Phone)...)
}

func finhubBirth(s subject) []events.Violation {
	found := birthDate("dateOfBirth", s.Applicant.BirthDate, s.at, adult)
	return append(found, oneOf("gender", s.Applicant.Gender, "MALE", "FEMALE", "OTHER")...)
}

func finhubPerson(s subject) []events.Violation {
	found := country("nationality", s.Applicant.Nationality)
	for i, a := range s.Applicant.Addresses {
		found = append(found, country(fmt.Sprintf("individualCustomer.person.addresses[%d].country", i), a.Country)...)
	}
	return found
}
