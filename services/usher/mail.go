package usher

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/notifier/mail"
)

type mailCommand struct {
	Preview mailPreview `cmd:"" help:"Print a mail as a tenant's applicants get it, with made-up values. Sends nothing."`
}

type mailPreview struct {
	File     string `arg:"" optional:"" help:"The file of the tenants; by default the demonstration."`
	Tenant   string `help:"Id of the tenant; by default the first."`
	Kind     string `default:"activation" enum:"activation,reminder,notice" help:"activation, reminder or notice."`
	Language string `help:"en or de; by default the tenant's."`
	Output   string `default:"text" enum:"text,html,mime,json" help:"text (with the subject), html, mime: the message as it is sent, or json."`
}

// previewed is a mail as JSON tells of it.
type previewed struct {
	Subject string `json:"subject"`
	Text    string `json:"text"`
	HTML    string `json:"html"`
}

func (mailPreview) shape() any { return previewed{} }

// Run prints one mail to out.
func (m mailPreview) Run(out io.Writer) error {
	config := tenant.Demo()
	if m.File != "" {
		raw, err := os.ReadFile(m.File)
		if err != nil {
			return &unreadableError{fmt.Errorf("read configuration: %w", err)}
		}
		if config, err = tenant.Parse(m.File, raw); err != nil {
			return err
		}
	}
	t := config.Tenants[0]
	if m.Tenant != "" {
		var known bool
		if t, known = config.Tenant(m.Tenant); !known {
			return errors.New("the file has no such tenant; check --tenant")
		}
	}
	return m.write(out, t)
}

func (m mailPreview) write(out io.Writer, t *tenant.Tenant) error {
	sender := t.Mail
	if m.Language != "" {
		sender.Language = m.Language
	}
	now := time.Now().Truncate(time.Second)
	l := mail.Letter{
		Kind: mail.Kind(m.Kind), Tenant: t.Name, From: sender.From, FromName: sender.FromName, Language: sender.Language,
		To: "zoe@example.com", Name: "Zoë", Code: "ABCDEFGHIJKL2345", Link: "https://usher.example/activate/" + t.ID + "/ID#ABCDEFGHIJKL2345",
		ValidFor: time.Duration(t.Activation.CodeValidity), ExpiresAt: now.Add(time.Duration(t.Activation.RemindBefore)),
		MessageID: "preview@usher", Date: now,
	}
	if own, ok := sender.Template(m.Kind); ok {
		l.Template = &own
	}
	if m.Output == "mime" {
		message, err := mail.Compose(l)
		if err != nil {
			return err
		}
		_, err = message.WriteTo(out)
		return err
	}
	subject, text, html, err := mail.Render(l)
	if err != nil {
		return err
	}
	switch m.Output {
	case "html":
		_, err = io.WriteString(out, html)
		return err
	case outputJSON:
		return writeJSON(out, previewed{subject, text, html})
	}
	_, err = fmt.Fprintf(out, "Subject: %s\n\n%s", subject, text)
	return err
}
