package events

import (
	"strconv"
	"strings"
	"time"
)

// ActivationSent: the mail server, or the tenant's webhook, has taken the message with the code.
type ActivationSent struct {
	Cause     string `json:"cause"` // created, code<k>, reminder, notice<yyyymmdd>
	K         int    `json:"k"`     // operator retries of this mail, from 0
	Epoch     int    `json:"epoch"`
	MessageID string `json:"messageId"`
	Attempts  int    `json:"attempts"`         // how often the server was tried, with this time
	Answer    string `json:"answer,omitempty"` // the server's last: code and enhanced code, never its text
	Vault     uint64 `json:"vault,omitempty"`  // the entry nobody needs any more
}

// isNotice reports whether a mail is about somebody else's registration: it is no stage of this one.
func isNotice(cause string) bool { return strings.HasPrefix(cause, "notice") }

func (ActivationSent) Type() string { return "activation.sent" }
func (ActivationSent) Step() Step   { return StepMail }
func (e ActivationSent) N() string  { return e.Cause + "-" + strconv.Itoa(e.K) }

// Releases names the vault entry that nobody needs after the event; 0 for none.
func (e ActivationSent) Releases() uint64 { return e.Vault }

// ActivationFailed: the mail cannot be delivered.
type ActivationFailed struct {
	Cause     string `json:"cause"`
	K         int    `json:"k"`
	Epoch     int    `json:"epoch"`
	MessageID string `json:"messageId"`
	Attempts  int    `json:"attempts"`         // how often the server was tried
	Answer    string `json:"answer,omitempty"` // the server's last: code and enhanced code, never its text
	Code      string `json:"code"`             // SMTP_550, HTTP_422 or our own word, never the server's text
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
	Vault     uint64 `json:"vault,omitempty"` // the entry of a password that came with the code
}

func (AccountActivated) Type() string { return "account.activated" }
func (AccountActivated) Step() Step   { return StepActivated }
func (e AccountActivated) N() string  { return e.RequestID }

// Releases names the vault entry that nobody needs after the event; 0 for none.
func (e AccountActivated) Releases() uint64 { return e.Vault }

// ActivationRefused: the code did not activate the account, for the reason in Code.
type ActivationRefused struct {
	RequestID string `json:"requestId"`
	// Code is one of those below or, of a password that came with a right code, of its violation.
	Code  string `json:"code"`
	Vault uint64 `json:"vault,omitempty"` // the entry of that password
	// RetrySeconds is how long no code will be looked at; 0 where that does not matter.
	RetrySeconds int `json:"retrySeconds,omitempty"`
}

func (ActivationRefused) Type() string { return "activation.refused" }
func (ActivationRefused) Step() Step   { return StepActivated }
func (e ActivationRefused) N() string  { return e.RequestID }

// Releases names the vault entry that nobody needs after the event; 0 for none.
func (e ActivationRefused) Releases() uint64 { return e.Vault }

// Codes of ActivationRefused.
const (
	WrongCode     = "WRONG_CODE"
	CodeExpired   = "CODE_EXPIRED"
	CodeLocked    = "CODE_LOCKED"
	TooManyTries  = "TOO_MANY_TRIES" // of this day, whatever the code
	AlreadyActive = "ALREADY_ACTIVE"
	// PasswordRequired: the code is right, and the account has no password: present it again with one.
	PasswordRequired = "PASSWORD_REQUIRED"
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

// ReminderDue: the account will end unless it is activated, and its owner is to be told so once,
// with a code that works. The epoch is new only where the old code is locked or expired.
type ReminderDue struct {
	Epoch           int       `json:"epoch"`
	ValiditySeconds int       `json:"validitySeconds"`
	ExpiresAt       time.Time `json:"expiresAt"`
}

func (ReminderDue) Type() string { return "activation.reminder_due" }
func (ReminderDue) Step() Step   { return StepCode }
func (ReminderDue) N() string    { return "reminder" }

// NoticeDue: somebody tried to register as the owner of this account, who is to be told, at most once
// a day. The owner is sealed in the vault.
type NoticeDue struct {
	Day   string `json:"day"` // yyyymmdd, UTC
	Vault uint64 `json:"vault"`
}

func (NoticeDue) Type() string { return "account.notice_due" }
func (NoticeDue) Step() Step   { return StepNotice }
func (e NoticeDue) N() string  { return e.Day }

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
