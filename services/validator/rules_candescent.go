package validator

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/usherhq/usher/events"
)

// The rules of Candescent's customer registration. Each refers to what the vendor's table of
// error codes says; the dialect turns code and field into the vendor's number.

const candescent = "candescent"

// Lengths of the vendor's page, in characters.
const (
	candescentLongestName  = 39 // of each name, and of first and last together
	candescentLongestEmail = 64
	candescentLongestText  = 128 // street, state, mother's maiden name
	candescentShortestUser = 6
	candescentLongestUser  = 256
	candescentMostPlaces   = 10 // phone numbers, addresses
)

var (
	memberPattern     = regexp.MustCompile(`^[A-Za-z0-9]{1,16}$`)
	ssnPattern        = regexp.MustCompile(`^[0-9]{9}$`)
	tenDigits         = regexp.MustCompile(`^[0-9]{10}$`)
	loginPattern      = regexp.MustCompile(`^[A-Za-z0-9@$*_\-=.!~]*$`)
	onlyDigits        = regexp.MustCompile(`^[0-9]*$`)
	candescentContact = contactOf("person.contactInfo.")
)

func candescentMember(s subject) []events.Violation {
	if memberPattern.MatchString(s.MemberNumber) {
		return nil
	}
	return violation(events.CodeFormat, "memberNumber")
}

func candescentNames(s subject) []events.Violation {
	const path = "person.personName"
	a := s.Applicant
	found := append(required(path+".firstName", a.GivenName), name(path+".firstName", a.GivenName, 1, candescentLongestName)...)
	found = append(found, required(path+".lastName", a.FamilyName)...)
	found = append(found, name(path+".lastName", a.FamilyName, 1, candescentLongestName)...)
	found = append(found, name(path+".middleName", a.MiddleName, 1, candescentLongestName)...)
	if utf8.RuneCountInString(a.GivenName)+utf8.RuneCountInString(a.FamilyName) > candescentLongestName {
		found = append(found, events.Violation{Code: events.CodeTooLong, Field: path})
	}
	return found
}

// contactOf checks the e-mail address and every phone number.
func contactOf(path string) rule {
	return func(s subject) []events.Violation {
		found := append(required(path+"emailAddress", s.Applicant.Email), email(path+"emailAddress", s.Applicant.Email)...)
		if utf8.RuneCountInString(s.Applicant.Email) > candescentLongestEmail {
			found = append(found, events.Violation{Code: events.CodeTooLong, Field: path + "emailAddress"})
		}
		phones := s.Applicant.Contacts
		if len(phones) > candescentMostPlaces {
			found = append(found, events.Violation{Code: events.CodeTooMany, Field: path + "phoneNumber"})
		}
		if len(phones) == 0 {
			phones = []events.Contact{{}}
		}
		for i, p := range phones {
			field := fmt.Sprintf("%sphoneNumber[%d].number", path, i)
			found = append(found, required(field, p.Value)...)
			if p.Value != "" && !tenDigits.MatchString(p.Value) {
				found = append(found, events.Violation{Code: events.CodeFormat, Field: field})
			}
		}
		return found
	}
}

func candescentAddresses(s subject) []events.Violation {
	const path = "person.contactInfo.postalAddress"
	var found []events.Violation
	addresses := s.Applicant.Addresses
	if len(addresses) > candescentMostPlaces {
		found = violation(events.CodeTooMany, path)
	}
	if len(addresses) == 0 {
		addresses = []events.Address{{}}
	}
	for i, a := range addresses {
		found = append(found, candescentAddress(fmt.Sprintf("%s[%d].", path, i), a)...)
	}
	return found
}

func candescentAddress(path string, a events.Address) []events.Violation {
	street := ""
	if len(a.Lines) > 0 {
		street = a.Lines[0]
	}
	found := append(required(path+"postalCode", a.PostalCode), required(path+"city", a.City)...)
	found = append(found, text(path+"state", a.Region)...)
	if a.Country == "US" && a.Region != "" && utf8.RuneCountInString(a.Region) != 2 {
		found = append(found, events.Violation{Code: events.CodeFormat, Field: path + "state"})
	}
	found = append(found, text(path+"address1", street)...)
	found = append(found, required(path+"country", a.Country)...)
	return append(found, country(path+"country", a.Country)...)
}

// text requires a value of at most 128 characters.
func text(field, value string) []events.Violation {
	if utf8.RuneCountInString(value) > candescentLongestText {
		return violation(events.CodeTooLong, field)
	}
	return required(field, value)
}

func candescentBirth(s subject) []events.Violation {
	const field = "person.birthDate"
	const anyAge = 0
	return append(required(field, s.Applicant.BirthDate), birthDate(field, s.Applicant.BirthDate, s.at, anyAge)...)
}

// candescentIdentity: no area rules, nine digits are enough.
func candescentIdentity(s subject) []events.Violation {
	const field = "person.ssn"
	found := text("person.mothersMaidenName", s.Applicant.MothersMaidenName)
	switch id := s.Applicant.NationalID; {
	case id == nil:
		found = append(found, events.Violation{Code: events.CodeRequired, Field: field})
	case !ssnPattern.MatchString(id.Value):
		found = append(found, events.Violation{Code: events.CodeFormat, Field: field})
	}
	return found
}

// candescentLogin: the vendor's own bounds come before the tenant's narrower range.
func candescentLogin(s subject) []events.Violation {
	const field = "channelInfos.channelInfo[0].credential.loginId"
	var found []events.Violation
	n := utf8.RuneCountInString(s.Username)
	policy := s.tenant.Dialects.Candescent
	switch {
	case n < candescentShortestUser, n > candescentLongestUser, !loginPattern.MatchString(s.Username), onlyDigits.MatchString(s.Username):
		found = violation(events.CodeFormat, field)
	case policy != nil && n < policy.UserNameMin:
		found = violation(events.CodeTooShort, field)
	case policy != nil && n > policy.UserNameMax:
		found = violation(events.CodeTooLong, field)
	}
	if s.Username != "" && strings.EqualFold(s.Username, s.MemberNumber) {
		found = append(found, events.Violation{Code: events.CodeNotAllowed, Field: field})
	}
	return found
}

// candescentPassword: the vendor has one number for a password that is wrong and one that is missing.
func candescentPassword(s subject) []events.Violation {
	const field = "channelInfos.channelInfo[0].credential.password"
	if !s.Password.Present {
		return violation(events.CodeRequired, field)
	}
	return password(field)(s)
}

// candescentDisclosures wants every disclosure of the tenant accepted, in its version.
func candescentDisclosures(s subject) (found []events.Violation) {
	if s.tenant.Dialects.Candescent == nil {
		return nil
	}
	for _, d := range s.tenant.Dialects.Candescent.Disclosures {
		if !slices.Contains(s.Consents, events.Consent{ID: d.ID, Version: d.Version}) {
			found = append(found, events.Violation{Code: events.CodeDisclosureNotAccepted,
				Field: fmt.Sprintf("disclosures.disclosure[%s:%s]", d.ID, d.Version)})
		}
	}
	return found
}

// acceptedDisclosures are the tenant's that the applicant accepted: ids and versions of the
// configuration, nothing that a client made up.
func acceptedDisclosures(s subject) (accepted []events.Consent) {
	if s.tenant.Dialects.Candescent == nil {
		return nil
	}
	for _, d := range s.tenant.Dialects.Candescent.Disclosures {
		if c := (events.Consent{ID: d.ID, Version: d.Version}); slices.Contains(s.Consents, c) {
			accepted = append(accepted, c)
		}
	}
	return accepted
}
