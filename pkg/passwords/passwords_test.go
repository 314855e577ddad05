package passwords

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

func TestThousandsOfWordsAreEmbeddedAndEachCanMatch(t *testing.T) {
	words := embedded()
	if len(words) < 7000 {
		t.Errorf("%d words", len(words))
	}
	for word := range words {
		if word != fold(word) {
			t.Errorf("%q never matches", word)
		}
	}
}

func TestALargerListIsReadFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "breached.txt")
	if err := os.WriteFile(path, []byte("Seven Quiet Lanterns\r\nzebra-crossing-9\n\nzebra-crossing-9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.more) != 2 {
		t.Errorf("%d passwords are kept, want 2", len(b.more))
	}
	for password, want := range map[string]bool{
		"seven quiet lanterns": true, "SEVEN QUIET LANTERNS": true, "zebra-crossing-9": true, "Password1": true, "seven loud lanterns": false,
	} {
		if got := b.has(fold(password)); got != want {
			t.Errorf("%q: listed is %v, want %v", password, got, want)
		}
	}
}

func TestAListThatIsNotOneIsNamed(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.txt")
	if err := os.WriteFile(empty, []byte("\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, empty + ".absent"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), Setting) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v does not name the setting and the file", err)
		}
	}
}

func TestWordsOfTheTenant(t *testing.T) {
	tt := &tenant.Tenant{Name: "First Institution", Password: tenant.Password{Words: []string{"GoldCard", "Ünlü"}}}
	for password, want := range map[string]bool{
		"firstinstitution": true, "my First Institution!": true, "first-institution-7": true, "xxgoldcardxx": true, "gold.card.2": true, "ÜNLÜ-und-so": true,
		"my first blue kayak": false, "an institution of note": false, "golden cardigan": false,
	} {
		if got := Facts(password, events.Registration{}, tt, &Blocklist{}).Resembles; got != want {
			t.Errorf("%q: resembles is %v, want %v", password, got, want)
		}
	}
}

func TestOneEngineJudgesForEveryDialect(t *testing.T) {
	config := tenant.Demo()
	cloudVault, _ := config.Tenant("d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f")
	remit, _ := config.Tenant("remitjunction")
	institution, _ := config.Tenant("01111")
	r := events.Registration{Username: "test.user1", Applicant: events.Applicant{GivenName: "Ingrid", FamilyName: "Solveig"}}
	for _, c := range []struct {
		name, channel, password string
		tenant                  *tenant.Tenant
		want                    []string
	}{
		{"a phrase of one class", "native", "seven quiet lanterns", cloudVault, nil},
		{"64 characters", "native", strings.Repeat("abcdéfg ", 8), cloudVault, nil},
		{"eight Han characters", "native", "春眠不覚暁処処聞", cloudVault, nil},
		{"emoji", "native", "🐢🐌🦥🐢🐌🦥🐢🐌", cloudVault, nil},
		{"seven characters", "native", "aB3$xyz", cloudVault, []string{events.CodeTooShort}},
		{"a common one", "native", "Baseball2024", cloudVault, []string{events.CodePasswordCommon}},
		{"one with the name", "native", "my-solveig-song", cloudVault, []string{events.CodePasswordResembles}},
		{"one with the tenant's name", "native", "cloud vault forever", cloudVault, []string{events.CodePasswordResembles}},
		{"more bytes than the tenant takes", "native", strings.Repeat("seven quiet", 30), cloudVault, []string{events.CodeTooLong}},
		{"a phrase at a vendor of four classes", "finhub", "seven quiet lanterns", cloudVault, []string{events.CodePasswordWeak}},
		{"the vendor's printed one", "finhub", "SecurePassword123!", cloudVault, nil},
		{"a common one where the vendor has no blocklist", "finhub", "Password123!", cloudVault, nil},
		{"all that is wrong", "fincode", "ingrid", remit, []string{events.CodeTooShort, events.CodePasswordWeak, events.CodePasswordResembles}},
		{"the vendor's common one", "fincode", "Password123!", remit, []string{events.CodePasswordCommon}},
		{"the other vendor's printed one", "fincode", "SecurePass123!", remit, nil},
		{"six characters of two classes", "candescent", "walnu1", institution, nil},
		{"a space", "candescent", "wal nut1", institution, []string{events.CodeFormat}},
		{"33 characters", "candescent", strings.Repeat("a1b", 11), institution, []string{events.CodeTooLong}},
		{"a part of the user name", "candescent", "t.user1", institution, []string{events.CodePasswordResembles}},
		{"one class", "candescent", "walnuts", institution, []string{events.CodePasswordWeak}},
		{"none", "native", "", cloudVault, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Of(c.tenant, c.channel).Check(Facts(c.password, r, c.tenant, &Blocklist{}))
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func FuzzFacts(f *testing.F) {
	for _, s := range []string{"", "P@ssw0rd!", "İstanbul1", "ﬃ", "\xff\xfe", "1!1!1!", strings.Repeat("é", 3000)} {
		f.Add(s, "Marcus", "a+b@example.com", "CloudVault")
	}
	f.Fuzz(func(t *testing.T, password, name, email, brand string) {
		r := events.Registration{Applicant: events.Applicant{GivenName: name, Email: email}}
		got := Facts(password, r, &tenant.Tenant{Name: brand}, &Blocklist{})
		if got.Present != (password != "") || got.Bytes != len(password) {
			t.Errorf("%+v", got)
		}
		if again := Facts(password, r, &tenant.Tenant{Name: brand}, &Blocklist{}); again != got {
			t.Errorf("%+v, then %+v", got, again)
		}
	})
}

func BenchmarkFacts(b *testing.B) {
	r := events.Registration{Username: "marcus", Applicant: events.Applicant{GivenName: "Marcus", FamilyName: "Jensen", Email: "marcus@example.com"}}
	t := &tenant.Tenant{Name: "CloudVault"}
	for b.Loop() {
		Facts("correct horse battery staple", r, t, &Blocklist{})
	}
}
