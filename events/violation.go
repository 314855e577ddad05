package events

// Codes of Violation. Each dialect prints them in its own words.
const (
	CodeRequired          = "REQUIRED"           // the field is missing or empty
	CodeFormat            = "FORMAT"             // the value has not the documented form
	CodeDisagrees         = "DISAGREES"          // two places of the document differ: "a|b"
	CodeTooShort          = "TOO_SHORT"          //
	CodeTooLong           = "TOO_LONG"           //
	CodeNotAllowed        = "NOT_ALLOWED"        // not among the values the tenant allows
	CodeUnknownCategory   = "UNKNOWN_CATEGORY"   // not in the tenant's catalog
	CodeUnderAge          = "UNDER_AGE"          //
	CodeFuture            = "IN_THE_FUTURE"      //
	CodePasswordWeak      = "PASSWORD_WEAK"      // a class of characters is missing
	CodePasswordCommon    = "PASSWORD_COMMON"    // on the blocklist
	CodePasswordResembles = "PASSWORD_RESEMBLES" // contains part of the applicant's identity

	CodeDuplicateEmail       = "DUPLICATE_EMAIL"
	CodeDuplicateUsername    = "DUPLICATE_USERNAME"
	CodeDuplicateMember      = "DUPLICATE_MEMBER_NUMBER"
	CodeDuplicateNationalID  = "DUPLICATE_NATIONAL_ID"
	CodeIdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED"
	CodeRefused              = "REGISTRATION_REFUSED" // by risk; says no more on purpose
)

// Violation is one reason why a registration was turned down. It names the field as the
// client wrote it, never its value.
type Violation struct {
	Code  string `json:"code"`
	Field string `json:"field,omitempty"`
}
