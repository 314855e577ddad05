package candescent

import (
	"strings"

	"github.com/usherhq/usher/events"
)

// code is one of the vendor's error codes with its text, as the vendor prints it.
type code struct {
	number, printed string
	// otherwise are our own texts, by the code of a violation that the printed one does not say.
	otherwise map[string]string
}

// codes are in the order of the vendor's table; those after it are ours.
var codes = []code{
	{number: "26340", printed: "Could not create record in database"},
	{number: "26214", printed: "Too many destinations passed"},
	{number: "20006", printed: "Member number is not alphanumeric, length is 0 or >16, channel info not passed (valid value: TPV_API), SSN not found, first + last name >39 chars"},
	{number: "220001", printed: "SSN is not 9 digits"},
	{number: "220002", printed: "First name is more than 39 characters", otherwise: nameTexts("First name")},
	{number: "220003", printed: "Last name is more than 39 characters", otherwise: nameTexts("Last name")},
	{number: "220005", printed: "Middle name is more than 39 characters", otherwise: nameTexts("Middle name")},
	{number: "220006", printed: "Primary email is more than 64 characters", otherwise: map[string]string{
		events.CodeRequired: "Primary email not found in input",
		events.CodeFormat:   "Primary email is not an email address such as name@example.com",
	}},
	{number: "220007", printed: "Postal code not found in input"},
	{number: "220008", printed: "City not found in input"},
	{number: "220009", printed: "State not found, beyond 128 chars, or not 2 chars for US"},
	{number: "220010", printed: "Street/Address1 not found or more than 128 characters"},
	{number: "220011", printed: "Country not found in input", otherwise: map[string]string{
		events.CodeFormat: "Country is no ISO 3166-1 code (US, USA) or English name (United States)",
	}},
	{number: "220012", printed: "Mother's Maiden Name not found or more than 128 characters"},
	{number: "220013", printed: "Proper DOB not found in input"},
	{number: "220014", printed: "Phone number is missing", otherwise: map[string]string{
		events.CodeFormat: "Phone number is not 10 digits",
	}},
	{number: "220015", printed: "UserID must be 6-256 characters, allowed special characters: @$*_-=.!~, no spaces"},
	{number: "220016", printed: "Login ID and Member number cannot be the same"},
	{number: "26201", printed: "LoginID is already taken"},
	{number: "220019", printed: "Login should be within preconfigured range"},
	{number: "220018", printed: "Invalid user password"},
	{number: inProgress, printed: "User's online registration is already in progress (duplicate registration request)"},
	{number: alreadyRegistered, printed: "User is already a registered user"},
	{number: events.CodeDisclosureNotAccepted, printed: "A required disclosure is not accepted, send each named one in its version with accepted true"},
	{number: events.CodeRefused, printed: "Registration could not be completed"},
	{number: events.CodeIdempotencyKeyReused, printed: "Idempotency-Key was used for other content, send a new key"},
	{number: events.CodeExpiredRegistration, printed: "The registration with this Idempotency-Key was not activated in time, send a new key"},
	{number: notAccepted, printed: "The value is not accepted"},
}

// Codes that decide the status of an answer, and one for violations that have none.
const (
	inProgress        = "26330"
	alreadyRegistered = "26331"
	storeRefused      = "26340"
	notAccepted       = "NOT_ACCEPTED"
)

func nameTexts(name string) map[string]string {
	return map[string]string{
		events.CodeRequired: name + " not found in input",
		events.CodeFormat:   name + " may hold letters, spaces, hyphens, apostrophes and dots only, and starts with a letter",
	}
}

// general are the codes of violations whatever their field.
var general = map[string][]string{
	events.CodeInProgress:            {inProgress},
	events.CodeDuplicateNationalID:   {alreadyRegistered},
	events.CodeDuplicateMember:       {alreadyRegistered},
	events.CodeDuplicateEmail:        {alreadyRegistered},
	events.CodeDuplicateUsername:     {"26201"},
	events.CodeTooMany:               {"26214"},
	events.CodeDisclosureNotAccepted: {events.CodeDisclosureNotAccepted},
	events.CodeRefused:               {events.CodeRefused},
	events.CodeIdempotencyKeyReused:  {events.CodeIdempotencyKeyReused},
	events.CodeExpiredRegistration:   {events.CodeExpiredRegistration},
}

// particular are the codes of single violations, by the end of their field.
var particular = map[events.Violation][]string{
	{Code: events.CodeTooMany, Field: "channelInfo"}: {"20006"},
	{Code: events.CodeRequired, Field: "ssn"}:        {"20006", "220001"},
	{Code: events.CodeNotAllowed, Field: "loginId"}:  {"220016"},
	{Code: events.CodeTooShort, Field: "loginId"}:    {"220019"},
	{Code: events.CodeTooLong, Field: "loginId"}:     {"220019"},
}

// fields are the codes of all other violations, by the end of their field.
var fields = map[string][]string{
	"memberNumber": {"20006"}, "personName": {"20006"}, "channelInfo": {"20006"}, "channelType": {"20006"},
	"ssn": {"220001"}, "firstName": {"220002"}, "lastName": {"220003"}, "middleName": {"220005"}, "emailAddress": {"220006"},
	"postalCode": {"220007"}, "city": {"220008"}, "state": {"220009"}, "address1": {"220010"}, "country": {"220011"},
	"mothersMaidenName": {"220012"}, "birthDate": {"220013"}, "number": {"220014"}, "loginId": {"220015"}, "password": {"220018"},
}

// numbers are the vendor's codes for a violation.
func numbers(v events.Violation) []string {
	leaf := v.Field[strings.LastIndexByte(v.Field, '.')+1:]
	if found, ok := particular[events.Violation{Code: v.Code, Field: leaf}]; ok {
		return found
	}
	if found, ok := general[v.Code]; ok {
		return found
	}
	if found, ok := fields[leaf]; ok {
		return found
	}
	return []string{notAccepted}
}

// text is what is printed for a violation under a code.
func (c code) text(v events.Violation) string {
	if own, ok := c.otherwise[v.Code]; ok {
		return own
	}
	return c.printed
}
