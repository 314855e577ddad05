package identity

import (
	"strings"
	"testing"

	"github.com/biter777/countries"

	"github.com/usherhq/usher/events"
)

func TestOneAddressHasOneCanonicalForm(t *testing.T) {
	for _, c := range []struct{ name, sent, want string }{
		{"an address as it should be", "marcus@example.com", "marcus@example.com"},
		{"upper case and space around", " \tMarcus.Jensen@EXAMPLE.com\n", "marcus.jensen@example.com"},
		{"full-width letters and at sign", "ｍarcus＠example.com", "marcus@example.com"},
		{"a domain with an umlaut", "max@Bücher.example", "max@xn--bcher-kva.example"},
		{"the same domain as punycode", "max@XN--BCHER-KVA.example", "max@xn--bcher-kva.example"},
		{"a domain with a decomposed umlaut", "max@bu\u0308cher.example", "max@xn--bcher-kva.example"},
		{"a sharp s, which is a letter of its own", "max@straße.example", "max@xn--strae-oqa.example"},
		{"a tag, which is significant", "marcus+Bank@example.com", "marcus+bank@example.com"},
		{"an accent composed", "jos\u00e9@example.com", "jos\u00e9@example.com"},
		{"an accent decomposed", "jose\u0301@example.com", "jos\u00e9@example.com"},
		{"two at signs", `"a@b"@Example.com`, `"a@b"@example.com`},
		{"no address", "  Nobody ", "nobody"},
		{"a domain that cannot be encoded", "a@-x\u200d.example", "a@-x\u200d.example"},
		{"nothing", "", ""},
		{"a domain longer than any, which is not encoded", "A@" + strings.Repeat("ü", 255), "a@" + strings.Repeat("ü", 255)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := CanonicalEmail(c.sent); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzCanonicalEmail(f *testing.F) {
	for _, s := range []string{"a@example.com", "A@BÜCHER.example", "İ@İ.example", "a@xn--0.example", "\u00a8@\u00a8", "ǅ@ﬃ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := CanonicalEmail(s)
		if twice := CanonicalEmail(once); twice != once {
			t.Errorf("%+q becomes %+q, then %+q", s, once, twice)
		}
	})
}

func TestCountriesAreRecognised(t *testing.T) {
	for sent, want := range map[string]string{
		"LT": "LT", "lt": "LT", "LTU": "LT", "Lithuania": "LT", " lithuania ": "LT", "US": "US", "USA": "US", "U.S.A.": "US",
		"United States": "US", "United States of America": "US", "United Kingdom": "GB", "UK": "GB", "The Netherlands": "NL",
		"Côte d'Ivoire": "CI", "Türkiye": "TR", "Turkey": "TR", "South Korea": "KR", "North Korea": "KP", "Russia": "RU",
		"Iran (Islamic Republic of)": "IR", "Viet Nam": "VN", "Bosnia and Herzegovina": "BA", "Czechia": "CZ", "DEU": "DE", "Kosovo": "XK",
	} {
		if got := Country(sent); got != want {
			t.Errorf("%q: got %q, want %q", sent, got, want)
		}
	}
}

func TestEveryOfficialNameAndCodeIsRecognised(t *testing.T) {
	n := 0
	for _, c := range countries.All() {
		if !isISO(c) {
			continue
		}
		n++
		for _, s := range []string{c.String(), c.Alpha2(), c.Alpha3(), strings.ToLower(c.Alpha3())} {
			if got := Country(s); got != c.Alpha2() {
				t.Errorf("%q: got %q, want %q", s, got, c.Alpha2())
			}
		}
	}
	if n != 250 { // the 249 of ISO 3166-1 and Kosovo
		t.Errorf("%d countries, want 250", n)
	}
}

func TestWhatIsNoCountryStaysAsSent(t *testing.T) {
	for _, sent := range []string{"", "XX", "ZZ", "Unknown", "Atlantis", "Korea (North)", "L1T2U3", "International", "<string>", "YU", strings.Repeat("Lithuania", 1000)} {
		if got := Country(" " + sent + " "); got != sent {
			t.Errorf("%.20q: got %.20q", sent, got)
		}
	}
}

func TestNamesAreTrimmedAndComposed(t *testing.T) {
	if got := Text(" Jose\u0301 \n"); got != "Jos\u00e9" {
		t.Errorf("got %+q", got)
	}
}

func TestCommonPasswords(t *testing.T) {
	for password, want := range map[string]bool{
		"SecurePass123!": false, "SecurePassword123!": false, "correct horse battery staple": false, "Tr0ub4dor&3x": false, "Xk7#mmPq": false,
		"Password8317462910": false, "": false,
		"Password123!": true, "Qwerty123!": true, "Welcome1!": true, "P@ssw0rd!": true, "PASSWORD": true, "12345678": true, "87654321": true,
		"aaaaaaaaaa": true, "abcdefgh": true, "1q2w3e4r": true, "Summer2024!": true, "iloveyou": true, "Ｐassword1": true,
	} {
		if got := Facts(password, events.Registration{}).Common; got != want {
			t.Errorf("%q: common is %v, want %v", password, got, want)
		}
	}
}

func TestAVeryLongPasswordIsCountedButNotCompared(t *testing.T) {
	r := events.Registration{Applicant: events.Applicant{GivenName: "Marcus"}}
	got := Facts(strings.Repeat("marcus", 1000), r)
	if want := (events.PasswordFacts{Present: true, Length: 6000, Bytes: 6000, Lower: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTheListHasLowerCaseWordsOnly(t *testing.T) {
	for word := range common {
		if word != fold(word) {
			t.Errorf("%q never matches", word)
		}
	}
}

func TestPasswordsThatResembleTheApplicant(t *testing.T) {
	r := events.Registration{Username: "mj-the-first", Applicant: events.Applicant{
		GivenName: "Marcus Li", FamilyName: "Jensen-Øster", MothersMaidenName: "Smith", CompanyName: "Acme Ltd", Email: "captain.future+bank@example.com"}}
	for password, want := range map[string]bool{
		"SecurePass123!": false, "Lithium99!x": false, "Example.com1": false, "bankbank7!": false, "": false, "mj1": false,
		"1Marcus!": true, "xJENSENx": true, "øster-egg1": true, "blacksmith9": true, "acme4ever": true, "Captain.Future1": true,
		"mj-the-first!": true, "mj-the-f": true,
	} {
		if got := Facts(password, r).Resembles; got != want {
			t.Errorf("%q: resembles is %v, want %v", password, got, want)
		}
	}
}

func TestFactsCountCharactersAfterNormalisation(t *testing.T) {
	for password, want := range map[string]events.PasswordFacts{
		"":               {},
		"Ab1!":           {Present: true, Length: 4, Bytes: 4, Upper: true, Lower: true, Digit: true, Special: true},
		"Zu\u0308rich x": {Present: true, Length: 8, Bytes: 10, Upper: true, Lower: true, Space: true},
		"密码密码":           {Present: true, Length: 4, Bytes: 12},
		"Ａ１":             {Present: true, Length: 2, Bytes: 6, Upper: true, Digit: true},
		"x€":             {Present: true, Length: 2, Bytes: 4, Lower: true, Special: true},
	} {
		if got := Facts(password, events.Registration{}); got != want {
			t.Errorf("%q: got %+v, want %+v", password, got, want)
		}
	}
}
