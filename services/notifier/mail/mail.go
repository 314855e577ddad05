// Package mail composes and sends the mails of a registration.
package mail

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/usherhq/usher/pkg/tenant"
)

// Letter is one mail to be sent. It is personal data.
type Letter struct {
	Tenant         string // its name
	TenantID       string
	Registration   string
	From, FromName string
	To, Name       string
	Phone          string // of one that goes to a webhook; may be empty
	Kind           Kind
	Language       string // en or de
	Code, Link     string
	ValidFor       time.Duration
	ExpiresAt      time.Time            // when the account ends; a Reminder's only
	Template       *tenant.MailTemplate // nil for ours
	Webhook        *tenant.Delivery     // nil for mail
	MessageID      string               // without angle brackets; the same for every sending
	Date           time.Time
}

// String keeps personal data out of formatted text.
func (Letter) String() string { return "letter" }

// Hours is how long the code is valid, rounded down, at least 1.
func (l Letter) Hours() int { return max(int(l.ValidFor.Hours()), 1) }

// Expires is the end of the account in words of all languages; "" in what is no reminder.
func (l Letter) Expires() string {
	if l.Kind != Reminder {
		return ""
	}
	return l.ExpiresAt.UTC().Format("2006-01-02 15:04 UTC")
}

// Kind is what a mail is about.
type Kind string

const (
	Activation Kind = "activation" // the code
	Reminder   Kind = "reminder"   // the code, and that the account will end
	Notice     Kind = "notice"     // that somebody tried to register as the owner of an account
)

// Render fills the template of a letter in.
func Render(l Letter) (subject, text, html string, err error) {
	t, known := ours[cmp.Or(l.Kind, Activation)][l.Language]
	if !known {
		t = ours[cmp.Or(l.Kind, Activation)]["en"]
	}
	if l.Template != nil {
		t = *l.Template
	}
	subject, text, html, err = t.Render(tenant.MailFields{
		Tenant: clean(l.Tenant), Name: clean(l.Name), Code: l.Code, Link: l.Link, Hours: l.Hours(), Expires: l.Expires(),
	})
	return clean(subject), text, html, err
}

// Compose makes the message: text and HTML, with headers that automatic mail should have
// (RFC 3834). A recipient that cannot be written as an address is a PermanentError.
func Compose(l Letter) (*gomail.Msg, error) {
	subject, text, html, err := Render(l)
	if err != nil {
		return nil, err
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := m.FromFormat(clean(l.FromName), l.From); err != nil {
		return nil, fmt.Errorf("sender's address is not valid")
	}
	to, err := ascii(l.To)
	if err != nil || m.To(to) != nil {
		return nil, &PermanentError{Code: badAddress}
	}
	m.Subject(subject)
	m.SetMessageIDWithValue(l.MessageID)
	m.SetDateWithValue(l.Date)
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetBodyString(gomail.TypeTextPlain, text)
	m.AddAlternativeString(gomail.TypeTextHTML, html)
	return m, nil
}

// clean removes what has no place in a header or a line of text.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}
