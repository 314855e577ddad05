package identity

import (
	"strings"
	"testing"

	"github.com/biter777/countries"
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
