package finhub

import (
	"strings"

	"github.com/usherhq/usher/events"
)

// Message prints a violation as the vendor does. r is the registration it was found in; of its
// values only the e-mail address is printed, for a duplicate.
func Message(v events.Violation, r events.Registration) string {
	switch v.Code {
	case events.CodeDuplicateEmail:
		return "Customer with email '" + r.Applicant.Email + "' already exists"
	case events.CodeDuplicateUsername:
		return "Customer with this username already exists"
	case events.CodeDuplicateMember:
		return "Customer with this member number already exists"
	case events.CodeDuplicateNationalID:
		return "Customer with this national id already exists"
	case events.CodeRefused:
		return "Registration could not be completed"
	case events.CodeIdempotencyKeyReused:
		return "Idempotency-Key was used for other content, send a new key"
	case events.CodeExpiredRegistration:
		return "The registration with this Idempotency-Key was not activated in time, send a new key"
	case events.CodeRequired:
		return missingField(v.Field)
	case events.CodeDisagrees:
		return strings.Replace(v.Field, "|", " and ", 1) + " differ, send the same value in both"
	}
	return v.Field + " " + mend(v)
}

// missingField prints "firstName is required in person object" for a nested field.
func missingField(path string) string {
	parts := strings.Split(path, ".")
	message := parts[len(parts)-1] + " " + isRequired
	if len(parts) > 1 {
		message += " in " + parts[len(parts)-2] + " object"
	}
	return message
}

var mends = map[string]string{
	events.CodeFormat:            "has not the documented format",
	events.CodeTooShort:          "is too short",
	events.CodeTooLong:           "is too long",
	events.CodeNotAllowed:        "is not among the allowed values, see the categorization hierarchy",
	events.CodeUnknownCategory:   "is not a category of this tenant, see the categorization hierarchy",
	events.CodeUnderAge:          "must be of a person of at least 18 years",
	events.CodeFuture:            "must not be in the future",
	events.CodePasswordWeak:      "must contain upper-case and lower-case letters, at least one number and at least one special character",
	events.CodePasswordCommon:    "is among the most common passwords, choose another",
	events.CodePasswordResembles: "must not contain the customer's name, email or username",
}

const (
	nameForm    = "may hold letters, spaces, hyphens, apostrophes and dots only, and starts with a letter"
	countryForm = "must be a country: ISO 3166-1 alpha-2 (LT), alpha-3 (LTU) or English name (Lithuania)"
)

// exact are the mends of single fields, by code and the end of the path.
var exact = map[events.Violation]string{
	{Code: events.CodeFormat, Field: "firstName"}:   nameForm,
	{Code: events.CodeFormat, Field: "lastName"}:    nameForm,
	{Code: events.CodeFormat, Field: "email"}:       "must be an email address, such as name@example.com",
	{Code: events.CodeFormat, Field: "phone"}:       "must be in E.164 format, such as +37060012345",
	{Code: events.CodeFormat, Field: "dateOfBirth"}: "must be a date of the last 130 years in YYYY-MM-DD format",
	{Code: events.CodeFormat, Field: "nationality"}: countryForm,
	{Code: events.CodeFormat, Field: "country"}:     countryForm,
	{Code: events.CodeTooShort, Field: "password"}:  "must have at least 8 characters",
	{Code: events.CodeNotAllowed, Field: "gender"}:  "must be MALE, FEMALE or OTHER",
	{Code: events.CodeNotAllowed, Field: "roleIds"}: "holds a role that this tenant does not allow",
	{Code: events.CodeTooShort, Field: "firstName"}: "must have at least 1 character",
	{Code: events.CodeTooShort, Field: "lastName"}:  "must have at least 1 character",
	{Code: events.CodeTooLong, Field: "firstName"}:  "must have at most 100 characters",
	{Code: events.CodeTooLong, Field: "lastName"}:   "must have at most 100 characters",
	{Code: events.CodeTooLong, Field: "email"}:      "must have at most 255 characters, 64 before the @",
}

func mend(v events.Violation) string {
	leaf := v.Field[strings.LastIndexByte(v.Field, '.')+1:]
	if text, known := exact[events.Violation{Code: v.Code, Field: leaf}]; known {
		return text
	}
	if text, known := mends[v.Code]; known {
		return text
	}
	return "is not accepted"
}
