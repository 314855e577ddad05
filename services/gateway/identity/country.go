package identity

import (
	"strings"
	"unicode"

	"github.com/biter777/countries"
)

// longestCountry bounds what is looked up, in bytes: the look-up is quadratic in the length.
const longestCountry = 64

// codes maps the alpha-2 and alpha-3 codes and the official names of ISO 3166-1, in upper case,
// to alpha-2.
var codes = func() map[string]string {
	m := map[string]string{"UK": "GB"} // exceptionally reserved, and what people write
	for _, c := range countries.All() {
		if isISO(c) {
			alpha2 := c.Alpha2()
			m[alpha2], m[c.Alpha3()], m[strings.ToUpper(c.String())] = alpha2, alpha2, alpha2
		}
	}
	return m
}()

// lastISO is the highest numeric code of ISO 3166-1; above it the library keeps its own.
const lastISO = 999

func isISO(c countries.CountryCode) bool {
	withdrawn := c == countries.YUG || c == countries.ANT
	return c > 0 && c < lastISO && !withdrawn && len(c.Alpha2()) == 2 && len(c.Alpha3()) == 3
}

// Country returns the ISO 3166-1 alpha-2 code for an alpha-2 or alpha-3 code or an English
// name, in upper or lower case. Anything else comes back as sent, without surrounding space.
func Country(s string) string {
	s = Text(s)
	if len(s) > longestCountry {
		return s
	}
	plain := strings.ToUpper(strings.ReplaceAll(s, ".", ""))
	if alpha2, known := codes[plain]; known {
		return alpha2
	}
	if len(plain) <= 3 || strings.ContainsFunc(s, notInCountry) {
		return s
	}
	if c := countries.ByName(strings.TrimPrefix(plain, "THE ")); isISO(c) {
		return c.Alpha2()
	}
	return s
}

// notInCountry keeps out digits, which the look-up would skip, and brackets, after which it
// would stop: "Korea (North)" is not Korea.
func notInCountry(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsMark(r) && !strings.ContainsRune(" .,'’&-", r)
}
