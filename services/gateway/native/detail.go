package native

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/usherhq/usher/events"
)

// details say for each code what is wrong with a field and how to mend it.
var details = map[string]string{
	events.CodeRequired:          "is required",
	events.CodeFormat:            "has not the documented form",
	events.CodeDisagrees:         "differs from the other place that holds it, send the same value",
	events.CodeTooShort:          "is too short",
	events.CodeTooLong:           "is too long",
	events.CodeNotAllowed:        "is not among the allowed values",
	events.CodeUnknownCategory:   "is not a category of this tenant, see its hierarchy",
	events.CodeUnderAge:          "is of a person who is too young",
	events.CodeFuture:            "must not be in the future",
	events.CodePasswordWeak:      "must have upper-case and lower-case letters, a digit and a special character",
	events.CodePasswordCommon:    "is among the most common passwords, choose another",
	events.CodePasswordResembles: "contains a part of the applicant's name, e-mail address or user name, or the service's name, choose another",
	events.CodeDuplicateEmail:    "is registered already",
	events.CodeDuplicateUsername: "is taken, choose another",
	events.CodeDuplicateMember:   "is registered already",
}

// formats name the form of a field, by the end of its path.
var formats = map[string]string{
	"givenName":   "may hold letters, spaces, hyphens, apostrophes and dots only, and starts with a letter",
	"familyName":  "may hold letters, spaces, hyphens, apostrophes and dots only, and starts with a letter",
	"email":       "must be an e-mail address, such as name@example.com",
	"phone":       "must be in E.164 form, such as +37060012345",
	"birthDate":   "must be a date of the last 130 years as YYYY-MM-DD",
	"nationality": "must be a country: ISO 3166-1 alpha-2, alpha-3 or English name",
	"country":     "must be a country: ISO 3166-1 alpha-2, alpha-3 or English name",
}

// fields name the place of codes that come without one.
var fields = map[string]string{
	events.CodeDuplicateEmail:    "applicant.email",
	events.CodeDuplicateUsername: "credentials.username",
	events.CodeDuplicateMember:   "memberNumber",
}

func fieldOf(v events.Violation) string {
	if v.Field == "" {
		return fields[v.Code]
	}
	return v.Field
}

func detail(v events.Violation) string {
	switch v.Code {
	case events.CodeRefused:
		return "The registration could not be completed."
	case events.CodeIdempotencyKeyReused:
		return "The Idempotency-Key was used for other content, send a new key."
	case events.CodeExpiredRegistration:
		return "The registration with this Idempotency-Key was not activated in time, send a new key."
	case events.CodeDuplicateNationalID:
		return "The national id is registered already."
	}
	field := fieldOf(v)
	what, known := details[v.Code]
	if !known {
		what = "is not accepted"
	}
	if format, named := formats[field[strings.LastIndexByte(field, '.')+1:]]; named && v.Code == events.CodeFormat {
		what = format
	}
	return sentence(strings.TrimSpace(field + " " + what))
}

// sentence ends text with a full stop and, unless it starts with a field's path, begins it
// with a capital.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if strings.HasPrefix(text, "the ") {
		text = string(unicode.ToUpper(first)) + text[size:]
	}
	return text + "."
}
