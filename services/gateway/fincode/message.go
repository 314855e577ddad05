package fincode

import (
	"strings"

	"github.com/usherhq/usher/events"
)

// Codes of errors that no validator finds.
const (
	codeDecryption = "PASSWORD_DECRYPTION_FAILED"
	codeMismatch   = "PASSWORD_MISMATCH"
	codePlain      = "PAYLOAD_NOT_ENCRYPTED"
	codeMalformed  = "MALFORMED"
	codeRepeated   = "REPEATED"
)

const (
	isRequired       = "Is required"
	passwordMismatch = "Must match the password field"
	plainRefused     = "Must be true, with password and confirmPassword encrypted"
	decryptionFailed = "password and confirmPassword cannot be decrypted; encrypt each with the tenant's current RSA public key, OAEP padding and SHA-256, and send it in Base64"
)

// Errors prints a violation as the vendor's page words its rule. A weak password has an error
// for each class of characters it lacks. r is the registration it was found in; none of its
// values is printed.
func Errors(v events.Violation, r events.Registration) []FieldError {
	field, code := v.Field, v.Code
	switch code {
	case events.CodeDuplicateEmail:
		field = "email"
	case events.CodePasswordWeak:
		return weaknesses(field, r.Password)
	case events.CodeDisagrees:
		one, other, _ := strings.Cut(field, "|")
		return []FieldError{{other, code, "Must agree with " + one}}
	}
	if text, known := texts[events.Violation{Code: code, Field: field}]; known {
		if r.Applicant.Type == company && text == onlyLetters {
			text = onlyLettersAndNumbers
		}
		return []FieldError{{field, code, text}}
	}
	if text, known := general[code]; known {
		return []FieldError{{field, code, text}}
	}
	return []FieldError{{field, code, "Is not accepted"}}
}

func weaknesses(field string, p events.PasswordFacts) (found []FieldError) {
	for _, class := range []struct {
		there bool
		text  string
	}{
		{p.Upper, "At least one uppercase letter (A-Z)"},
		{p.Lower, "At least one lowercase letter (a-z)"},
		{p.Digit, "At least one number (0-9)"},
		{p.Special, "At least one special character (!@#$%^&*)"},
	} {
		if !class.there {
			found = append(found, FieldError{field, events.CodePasswordWeak, class.text})
		}
	}
	return found
}

const (
	onlyLetters           = "Only letters, spaces, hyphens, and apostrophes allowed"
	onlyLettersAndNumbers = "Only letters, numbers, spaces, hyphens, and apostrophes allowed"
	noCommonWords         = "Cannot contain common words or patterns"
	firstNameLength       = "First name: 2-50 characters"
	lastNameLength        = "Last name: 2-50 characters"
	mostEmail             = "Maximum length: 255 characters"
)

// texts are the rules of the vendor's page, by what they are about.
var texts = map[events.Violation]string{
	{Code: events.CodeFormat, Field: "email"}:                     "Must be a valid email format",
	{Code: events.CodeTooLong, Field: "email"}:                    mostEmail,
	{Code: events.CodeDuplicateEmail, Field: "email"}:             "Must be unique across all customers in the tenant",
	{Code: events.CodeTooShort, Field: "password"}:                "Minimum 8 characters",
	{Code: events.CodeFormat, Field: "phone"}:                     "Must be in international format with country code",
	{Code: events.CodePhoneInvalid, Field: "phone"}:               "Must be a valid phone number for the country",
	{Code: events.CodeFormat, Field: "dialingCode"}:               "Must be a country code such as +44",
	{Code: events.CodeFormat, Field: "dob"}:                       "Date of birth must be in ISO format (YYYY-MM-DD)",
	{Code: events.CodeUnderAge, Field: "dob"}:                     "Customer must be at least 18 years old",
	{Code: events.CodeFuture, Field: "dob"}:                       "Cannot be a future date",
	{Code: events.CodeTooLongAgo, Field: "dob"}:                   "Cannot be more than 120 years ago",
	{Code: events.CodeFormat, Field: "firstName"}:                 onlyLetters,
	{Code: events.CodeFormat, Field: "lastName"}:                  onlyLetters,
	{Code: events.CodeTooShort, Field: "firstName"}:               firstNameLength,
	{Code: events.CodeTooLong, Field: "firstName"}:                firstNameLength,
	{Code: events.CodeTooShort, Field: "lastName"}:                lastNameLength,
	{Code: events.CodeTooLong, Field: "lastName"}:                 lastNameLength,
	{Code: events.CodeNotAllowed, Field: "customerType"}:          "Available options: INDIVIDUAL, COMPANY",
	{Code: events.CodeFormat, Field: "address.country"}:           "Must be a country: ISO 3166-1 alpha-3 (GBR), alpha-2 (GB) or English name (United Kingdom)",
	{Code: events.CodeFormat, Field: "dynamicFields.companyName"}: "Must be a string",
}

// general are the words for any field.
var general = map[string]string{
	events.CodeRequired:            isRequired,
	events.CodeTooLong:             "Is too long",
	events.CodeTooShort:            "Is too short",
	events.CodePasswordCommon:      noCommonWords,
	events.CodePasswordResembles:   noCommonWords + ", nor the customer's name or email",
	events.CodeDuplicateUsername:   "Is taken already",
	events.CodeDuplicateMember:     "Is taken already",
	events.CodeDuplicateNationalID: "Is taken already",
}
