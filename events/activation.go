package events

import "strconv"

// ActivationSent: the mail server has taken the mail with the code (SMTP 250).
type ActivationSent struct {
	Cause     string `json:"cause"` // created, code<k>, notice<yyyymmdd>
	K         int    `json:"k"`     // operator retries of this mail, from 0
	Epoch     int    `json:"epoch"`
	MessageID string `json:"messageId"`
	Vault     uint64 `json:"vault,omitempty"` // the entry nobody needs any more
}

func (ActivationSent) Type() string { return "activation.sent" }
func (ActivationSent) Step() Step   { return StepMail }
func (e ActivationSent) N() string  { return e.Cause + "-" + strconv.Itoa(e.K) }

// ActivationFailed: the mail cannot be delivered.
type ActivationFailed struct {
	Cause     string `json:"cause"`
	K         int    `json:"k"`
	Epoch     int    `json:"epoch"`
	MessageID string `json:"messageId"`
	Code      string `json:"code"` // SMTP reply code or our own word, never the server's text
}

func (ActivationFailed) Type() string { return "activation.failed" }
func (ActivationFailed) Step() Step   { return StepMail }
func (e ActivationFailed) N() string  { return e.Cause + "-" + strconv.Itoa(e.K) }

// ActivationRequested: somebody presented a code. CodeHash is bound to the registration id.
type ActivationRequested struct {
	RequestID string `json:"requestId"`
	CodeHash  string `json:"codeHash"`
	Vault     uint64 `json:"vault,omitempty"` // a newly sealed password, where one was asked for
}

func (ActivationRequested) Type() string { return "activation.requested" }
func (ActivationRequested) Step() Step   { return StepActivation }
func (e ActivationRequested) N() string  { return e.RequestID }

// AccountActivated: the code was right; the account is active from now on.
type AccountActivated struct {
	RequestID string `json:"requestId"`
}

func (AccountActivated) Type() string { return "account.activated" }
func (AccountActivated) Step() Step   { return StepActivated }
func (e AccountActivated) N() string  { return e.RequestID }

// ActivationRefused: the code did not activate the account, for the reason in Code.
type ActivationRefused struct {
	RequestID string `json:"requestId"`
	Code      string `json:"code"`
}

func (ActivationRefused) Type() string { return "activation.refused" }
func (ActivationRefused) Step() Step   { return StepActivated }
func (e ActivationRefused) N() string  { return e.RequestID }

// Codes of ActivationRefused.
const (
	WrongCode     = "WRONG_CODE"
	CodeExpired   = "CODE_EXPIRED"
	CodeLocked    = "CODE_LOCKED"
	AlreadyActive = "ALREADY_ACTIVE"
)

// ResendRequested: somebody asked for another mail. Of parallel requests one has this k.
type ResendRequested struct {
	K     int    `json:"k"` // resends of this registration, from 1
	Actor string `json:"actor,omitempty"`
}

func (ResendRequested) Type() string { return "activation.resend_requested" }
func (ResendRequested) Step() Step   { return StepResend }
func (e ResendRequested) N() string  { return strconv.Itoa(e.K) }

// CodeIssued: another mail is due; the epoch is new only where the old code is locked or expired.
type CodeIssued struct {
	K               int `json:"k"`
	Epoch           int `json:"epoch"`
	ValiditySeconds int `json:"validitySeconds"`
}

func (CodeIssued) Type() string { return "activation.code_issued" }
func (CodeIssued) Step() Step   { return StepCode }
func (e CodeIssued) N() string  { return strconv.Itoa(e.K) }

// ResendRefused: no further mail, for the reason in Code.
type ResendRefused struct {
	K    int    `json:"k"`
	Code string `json:"code"`
	// RetrySeconds is how long to wait before another resend can succeed; 0 where it never will.
	RetrySeconds int `json:"retrySeconds"`
}

func (ResendRefused) Type() string { return "activation.resend_refused" }
func (ResendRefused) Step() Step   { return StepCode }
func (e ResendRefused) N() string  { return strconv.Itoa(e.K) }

// Codes of ResendRefused.
const (
	ResendCooldown = "COOLDOWN"
	ResendDailyCap = "DAILY_CAP"
	ResendClosed   = "NOT_AWAITING_ACTIVATION"
)
