package mail

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// ErrTemporary is wrapped where another try may succeed: no connection, a refusal that is not the
// address's fault, or a reply that never came.
var ErrTemporary = errors.New("mail not taken yet")

// PermanentError means that the server will never take this mail, for its address. The server's
// text, which may quote the address, is left out.
type PermanentError struct {
	Code   int
	Detail string // RFC 3463, such as 5.1.1; "" for none
	By     protocol
}

// protocol is what an answer's code is of.
type protocol string

const (
	bySMTP protocol = "" // the zero value
	byHTTP protocol = "HTTP"
)

// Reason is the word of an event: SMTP_550, HTTP_422.
func (e *PermanentError) Reason() string {
	return string(cmp.Or(e.By, "SMTP")) + "_" + strconv.Itoa(e.Code)
}

// Answer is what the server said.
func (e *PermanentError) Answer() string { return answer(e.By, e.Code, e.Detail) }

// NotTakenError says what the server answered instead; it wraps ErrTemporary.
type NotTakenError struct {
	Code   int    // 0 for no answer
	Detail string // RFC 3463, such as 4.7.1; "" for none
	To     string // which command
	By     protocol
	After  time.Duration // how long it asks to be left alone; 0 where it does not say
}

// Answer is what the server said; "" for nothing.
func (e *NotTakenError) Answer() string { return answer(e.By, e.Code, e.Detail) }

func (e *NotTakenError) Error() string {
	if e.Code == 0 {
		return fmt.Sprintf("%v: no answer from the server, %s", ErrTemporary, e.To)
	}
	return fmt.Sprintf("%v: server answered %s to %s", ErrTemporary, e.Answer(), e.To)
}

func (e *NotTakenError) Unwrap() error { return ErrTemporary }

// answer writes a server's answer without its text, which may quote the address; "" for none.
func answer(by protocol, code int, detail string) string {
	if code == 0 {
		return ""
	}
	return strings.TrimSpace(string(by) + " " + strconv.Itoa(code) + " " + detail)
}

func (e *PermanentError) Error() string { return fmt.Sprintf("mail refused for good, code %d", e.Code) }

// badAddress is the SMTP code for a mailbox name that is not allowed (RFC 5321 §4.2.3).
const badAddress = 553

// The table of refusals. Only what is said of the recipient's address is final; all else is the
// server's, the session's or our own fault, which can be mended while the letter waits.
//
//	said to                   reply                                     verdict
//	connection, greeting,     any, such as 421, 530, 535, 538, 554      temporary
//	  EHLO, STARTTLS, AUTH
//	MAIL                      any: about the session or our sender      temporary
//	RCPT, DATA, end of data   4xx                                       temporary
//	RCPT, DATA, end of data   5xx and an enhanced code of finalDetails  final
//	RCPT                      5xx of finalReplies, no enhanced code     final
//	RCPT, DATA, end of data   any other 5xx, such as 552, 5.7.1         temporary
//	any                       none                                      temporary
var (
	// finalDetails are the codes of RFC 3463 §3.2 and §3.3 (subjects 1 and 2) that speak of the
	// recipient's address, and those of RFC 7505 and RFC 7504. Not among them: 1.7 and 1.8, which
	// speak of the sender's, and 2.2 and 2.3, a full mailbox and a size.
	finalDetails = []string{"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10", "5.2.0", "5.2.1"}

	// finalReplies are of RFC 5321 §4.2.3 and RFC 7504: no such mailbox, not local, name not
	// allowed, a domain that takes no mail.
	finalReplies = []int{550, 551, badAddress, 556}
)

// command is where a sending failed.
type command string

const (
	connecting command = "connection"
	mailFrom   command = "MAIL"
	rcptTo     command = "RCPT"
	data       command = "DATA"
	endOfData  command = "end of data"
)

// refusal is what a server answered to a command. Code 0: nothing.
type refusal struct {
	command command
	code    int
	detail  string // RFC 3463, such as 5.1.1; "" for none
}

// refusalOf reads an error of a message that was not delivered over an open connection.
func refusalOf(err error) refusal {
	r := refusal{command: connecting}
	var failed *gomail.SendError
	if !errors.As(err, &failed) {
		return r
	}
	switch failed.Reason {
	case gomail.ErrSMTPMailFrom:
		r.command = mailFrom
	case gomail.ErrSMTPRcptTo:
		r.command = rcptTo
	case gomail.ErrSMTPData:
		r.command = data
	case gomail.ErrWriteContent, gomail.ErrSMTPDataClose, gomail.ErrSMTPReset, gomail.ErrAmbiguous:
		r.command = endOfData
	}
	r.code, r.detail = failed.ErrorCode(), failed.EnhancedStatusCode()
	return r
}

// final reports whether the refusal is the address's fault.
func (r refusal) final() bool {
	ofAddress := r.command == rcptTo || r.command == data || r.command == endOfData
	switch {
	case r.code < 500 || !ofAddress:
		return false
	case r.detail != "":
		return slices.Contains(finalDetails, r.detail)
	}
	return r.command == rcptTo && slices.Contains(finalReplies, r.code)
}

// notTaken reports whether the server certainly has not taken the mail: its text was not sent.
func (r refusal) notTaken() bool { return r.command != endOfData }

func (r refusal) error() error {
	if r.final() {
		return &PermanentError{Code: r.code, Detail: r.detail}
	}
	return &NotTakenError{Code: r.code, Detail: r.detail, To: string(r.command)}
}
