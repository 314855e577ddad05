// Package mail composes and sends activation mails.
package mail

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
)

// Letter is one mail to be sent. It is personal data.
type Letter struct {
	Tenant         string
	From, FromName string
	To, Name       string
	Language       string // en or de
	Code, Link     string
	ValidFor       time.Duration
	MessageID      string // without angle brackets; the same for every sending
	Date           time.Time
}

// String keeps personal data out of formatted text.
func (Letter) String() string { return "letter" }

// Hours is how long the code is valid, rounded down, at least 1.
func (l Letter) Hours() int { return max(int(l.ValidFor.Hours()), 1) }

//go:embed templates
var files embed.FS

var (
	texts   = texttemplate.Must(texttemplate.ParseFS(files, "templates/*.txt"))
	pages   = htmltemplate.Must(htmltemplate.ParseFS(files, "templates/*.html"))
	subject = map[string]string{"en": "Activate your account at ", "de": "Aktivieren Sie Ihr Konto bei "}
)

// Compose makes the message: text and HTML, with headers that automatic mail should have
// (RFC 3834). A recipient that cannot be written as an address is a PermanentError.
func Compose(l Letter) (*gomail.Msg, error) {
	l.Name, l.Tenant, l.FromName = clean(l.Name), clean(l.Tenant), clean(l.FromName)
	language := l.Language
	if _, ok := subject[language]; !ok {
		language = "en"
	}
	var text, html bytes.Buffer
	if err := texts.ExecuteTemplate(&text, "activation."+language+".txt", l); err != nil {
		return nil, fmt.Errorf("compose text: %w", err)
	}
	if err := pages.ExecuteTemplate(&html, "activation."+language+".html", l); err != nil {
		return nil, fmt.Errorf("compose HTML: %w", err)
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := m.FromFormat(l.FromName, l.From); err != nil {
		return nil, fmt.Errorf("sender's address is not valid")
	}
	to, err := ascii(l.To)
	if err != nil || m.To(to) != nil {
		return nil, &PermanentError{Code: badAddress}
	}
	m.Subject(subject[language] + l.Tenant)
	m.SetMessageIDWithValue(l.MessageID)
	m.SetDateWithValue(l.Date)
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetBodyString(gomail.TypeTextPlain, text.String())
	m.AddAlternativeString(gomail.TypeTextHTML, html.String())
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
