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
	for _, language := range []string{"en", "de"} {
		l := letter()
		l.Language = language
		got := compose(t, l)
		file := filepath.Join("testdata", "activation."+language+".golden")
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
