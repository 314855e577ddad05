package tenant

import (
	"bytes"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
)

// MailTemplates are a tenant's own mails, by what they are about and by language.
type MailTemplates map[string]map[string]MailTemplate

// MailKinds are what mails are about: the activation code, the reminder before an account ends, and
// the notice that somebody tried to register as the owner of an account.
var MailKinds = []string{"activation", "reminder", "notice"}

// MailLanguages are those in which every mail is there.
var MailLanguages = []string{"en", "de"}

// MailTemplate is one mail. Its templates are Go's, of MailFields.
type MailTemplate struct {
	Subject TextTemplate `yaml:"subject"` // one line
	Text    TextTemplate `yaml:"text"`    // has the code alone on a line
	HTML    HTMLTemplate `yaml:"html"`    // values are escaped for where they stand
}

// MailFields are what a template can show.
type MailFields struct {
	Tenant  string // its name
	Name    string // given name, may be empty
	Code    string // none in a notice
	Link    string // that activates, none in a notice
	Hours   int    // that the code works
	Expires string // when the account ends, in a reminder
}

// sampleFields are what templates are checked with.
var sampleFields = MailFields{
	Tenant: "Sample", Name: "Zoe", Code: "ABCDEFGHIJKL2345", Link: "https://usher.example/activate/sample/1#ABCDEFGHIJKL2345",
	Hours: 24, Expires: "2026-01-31 12:00 UTC",
}

// TextTemplate is a template of plain text; the zero value is none.
type TextTemplate struct {
	given  bool
	parsed *texttemplate.Template // nil where it could not be
}

// HTMLTemplate is a template of HTML; the zero value is none.
type HTMLTemplate struct {
	given  bool
	parsed *htmltemplate.Template // nil where it could not be
}

var errNoTemplate = errors.New("is empty; write the template, or remove it for ours")

// UnmarshalText parses a template.
func (t *TextTemplate) UnmarshalText(text []byte) (err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return errNoTemplate
	}
	t.given = true
	if t.parsed, err = texttemplate.New("mail").Parse(string(text)); err != nil {
		return fmt.Errorf("is not a template: %w", err)
	}
	return nil
}

// UnmarshalText parses a template.
func (t *HTMLTemplate) UnmarshalText(text []byte) (err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return errNoTemplate
	}
	t.given = true
	if t.parsed, err = htmltemplate.New("mail").Parse(string(text)); err != nil {
		return fmt.Errorf("is not a template: %w", err)
	}
	return nil
}

func (m MailTemplate) parsed() bool {
	return m.Subject.parsed != nil && m.Text.parsed != nil && m.HTML.parsed != nil
}

// Render fills the templates in.
func (m MailTemplate) Render(f MailFields) (subject, text, html string, err error) {
	if !m.parsed() {
		return "", "", "", errors.New("the mail has no subject, text or html")
	}
	var parts [3]strings.Builder
	for i, execute := range []func(io.Writer, any) error{m.Subject.parsed.Execute, m.Text.parsed.Execute, m.HTML.parsed.Execute} {
		if err := execute(&parts[i], f); err != nil {
			return "", "", "", fmt.Errorf("fill the mail in: %w", err)
		}
	}
	return parts[0].String(), parts[1].String(), parts[2].String(), nil
}

// Template returns the tenant's own template of a mail in its language; ok is false where it has none.
func (m Mail) Template(kind string) (t MailTemplate, ok bool) {
	t, ok = m.Templates[kind][m.Language]
	return t, ok
}

func (m MailTemplates) check(p *problems, path string) {
	for _, kind := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(MailKinds, kind) {
			p.that(false, join(path, kind), "is no kind of mail; choose of %s", strings.Join(MailKinds, ", "))
			continue
		}
		for _, language := range slices.Sorted(maps.Keys(m[kind])) {
			at := join(join(path, kind), language)
			p.that(slices.Contains(MailLanguages, language), at, "is not en or de; choose one")
			m[kind][language].check(p, at, kind)
		}
	}
}

// check fills a template in and looks for what a mail of its kind cannot do without.
func (m MailTemplate) check(p *problems, path, kind string) {
	p.that(m.Subject.given && m.Text.given && m.HTML.given, path, "lacks subject, text or html; give all three")
	if !m.parsed() {
		return
	}
	subject, text, html, err := m.Render(sampleFields)
	p.that(err == nil, path, "cannot be filled in: %v; see which fields there are", err)
	if err != nil {
		return
	}
	p.that(!strings.ContainsAny(strings.TrimSpace(subject), "\r\n"), path+".subject", "is more than a line; shorten it")
	if kind == "notice" {
		return
	}
	alone := slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool { return strings.TrimSpace(line) == sampleFields.Code })
	p.that(alone, path+".text", "has no line with the code alone; write {{.Code}} on one")
	p.that(strings.Contains(text, sampleFields.Link), path+".text", "lacks the link; write {{.Link}}")
	p.that(strings.Contains(html, sampleFields.Code), path+".html", "lacks the code; write {{.Code}}")
}
