package mail

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/tenant"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func letter() Letter {
	return Letter{
		Tenant: "CloudVault", From: "no-reply@cloudvault.example", FromName: "CloudVault", To: "zoe@example.com", Name: "Zoë <b>", Language: "en",
		Code: "ABCDEFGHIJKL2345", Link: "https://usher.example/activate/t/r#ABCDEFGHIJKL2345", ValidFor: 24 * time.Hour,
		MessageID: "r1.created@usher", Date: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
	}
}

func compose(t *testing.T, l Letter) string {
	t.Helper()
	m, err := Compose(l)
	if err != nil {
		t.Fatal(err)
	}
	m.SetBoundary("boundary")
	var raw bytes.Buffer
	if _, err := m.WriteTo(&raw); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(raw.String(), "\r\n", "\n")
}

func TestMailsAreWrittenAsExpected(t *testing.T) {
	for name, kind := range map[string]Kind{"activation.en": Activation, "activation.de": Activation, "reminder.en": Reminder, "reminder.de": Reminder, "notice.en": Notice, "notice.de": Notice} {
		l := letter()
		l.Kind, l.Language = kind, strings.TrimPrefix(filepath.Ext(name), ".")
		l.ExpiresAt = l.Date.Add(24 * time.Hour)
		got := compose(t, l)
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestANameCannotAddAHeader(t *testing.T) {
	l := letter()
	l.Name, l.Tenant, l.FromName = "Zoë\r\nBcc: x@y.zz", "Acme\nBcc: x@y.zz", "Acme\r\nBcc: x@y.zz"
	header, _, _ := strings.Cut(compose(t, l), "\n\n")
	for line := range strings.Lines(header) {
		if strings.HasPrefix(line, "Bcc:") {
			t.Errorf("header %q", line)
		}
	}
}

func TestAnAddressThatIsNoneIsRefusedForGoodWithoutRepeatingIt(t *testing.T) {
	for _, to := range []string{"", "nobody", "a@b@", "x@y.zz\r\nBcc: a@b.de"} {
		l := letter()
		l.To = to
		_, err := Compose(l)
		var permanent *PermanentError
		if !errors.As(err, &permanent) || to != "" && strings.Contains(err.Error(), to) {
			t.Errorf("%q: %v", to, err)
		}
	}
	l := letter()
	l.To = "zoe@bücher.example"
	if got := compose(t, l); !strings.Contains(got, "zoe@xn--bcher-kva.example") {
		t.Errorf("the domain is not in punycode:\n%s", got)
	}
}

func TestATenantsOwnTemplateReplacesOursAndEscapesTheName(t *testing.T) {
	var own tenant.MailTemplate
	for _, err := range []error{
		own.Subject.UnmarshalText([]byte("{{.Tenant}} welcomes you")),
		own.Text.UnmarshalText([]byte("{{.Name}}\n{{.Code}}\n{{.Link}}\n")),
		own.HTML.UnmarshalText([]byte("<p>{{.Name}} {{.Code}}</p>")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l := letter()
	l.Template = &own
	raw := compose(t, l)
	for _, want := range []string{"Subject: CloudVault welcomes you\n", "\nABCDEFGHIJKL2345\n", "<p>Zo=C3=AB &lt;b&gt; ABCDEFGHIJKL2345</p>", "Auto-Submitted: auto-generated\n"} {
		if !strings.Contains(raw, want) {
			t.Errorf("%q is not in\n%s", want, raw)
		}
	}
}

func TestOurTemplatesAreWhatATenantsMustBe(t *testing.T) {
	for kind, languages := range ours {
		for language := range languages {
			raw, err := files.ReadFile("templates/" + string(kind) + "." + language + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			if kind != Notice && !strings.Contains(string(raw), "\n{{.Code}}\n") {
				t.Errorf("%s.%s has no line with the code alone", kind, language)
			}
		}
	}
	if len(ours) != len(tenant.MailKinds) {
		t.Errorf("%d kinds, want %d", len(ours), len(tenant.MailKinds))
	}
}
