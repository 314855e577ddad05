package events

// Codes of Violation. Each dialect prints them in its own words.
const (
	CodeRequired          = "REQUIRED"           // the field is missing or empty
	CodeFormat            = "FORMAT"             // the value has not the documented form
	CodeDisagrees         = "DISAGREES"          // two places of the document differ: "a|b"
	CodeTooShort          = "TOO_SHORT"          //
	CodeTooLong           = "TOO_LONG"           //
	CodeTooMany           = "TOO_MANY"           // items of a list
	CodeNotAllowed        = "NOT_ALLOWED"        // not among the values the tenant allows
	CodeUnknownCategory   = "UNKNOWN_CATEGORY"   // not in the tenant's catalog
	CodeUnderAge          = "UNDER_AGE"          //
	CodeFuture            = "IN_THE_FUTURE"      //
	CodeTooLongAgo        = "TOO_LONG_AGO"       // a birth date of nobody alive
	CodePhoneInvalid      = "PHONE_INVALID"      // E.164, but no numbering plan has it
	CodePasswordWeak      = "PASSWORD_WEAK"      // a class of characters is missing
	CodePasswordCommon    = "PASSWORD_COMMON"    // on the blocklist
	CodePasswordResembles = "PASSWORD_RESEMBLES" // contains part of the applicant's identity

	CodeDuplicateEmail       = "DUPLICATE_EMAIL"
	CodeDuplicateUsername    = "DUPLICATE_USERNAME"
	CodeDuplicateMember      = "DUPLICATE_MEMBER_NUMBER"
	CodeDuplicateNationalID  = "DUPLICATE_NATIONAL_ID"
	CodeIdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED"
	CodeRefused              = "REGISTRATION_REFUSED" // by risk; says no more on purpose

	CodeExpiredRegistration   = "REGISTRATION_EXPIRED"     // one with the same key was never activated
	CodeDisclosureNotAccepted = "DISCLOSURE_NOT_ACCEPTED"  // one that the tenant requires
	CodeInProgress            = "REGISTRATION_IN_PROGRESS" // another one of the same person
)

// Violation is one reason why a registration was turned down. It names the field as the
// client wrote it, never its value.
type Violation struct {
	Code  string `json:"code"`
	Field string `json:"field,omitempty"`
}
