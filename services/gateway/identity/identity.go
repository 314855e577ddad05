// Package identity brings what people write about themselves into the one form that the
// pipeline compares. Nothing here fails: what cannot be recognised stays as it was sent, for
// the validator to judge.
package identity

import (
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Text returns s without surrounding space, in Unicode normal form C.
func Text(s string) string { return norm.NFC.String(strings.TrimSpace(s)) }

var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// longestDomain bounds what is encoded, in bytes: the encoding is quadratic in the length, and
// no domain is longer (RFC 1035 section 2.3.4).
const longestDomain = 255

// CanonicalEmail returns the form in which addresses are compared: without surrounding space,
// in normal form KC, lower-case as a whole, the domain in its ASCII form (RFC 5891). A tag after
// "+" stays. It is idempotent. Text that is no address is treated alike, as far as it goes.
func CanonicalEmail(s string) string {
	s = fold(strings.TrimSpace(norm.NFKC.String(s)))
	at := strings.LastIndexByte(s, '@')
	if at < 0 || len(s)-at > longestDomain {
		return s
	}
	if ascii, err := domains.ToASCII(s[at+1:]); err == nil {
		s = s[:at+1] + fold(ascii)
	}
	return s
}

// fold is lower-case in normal form KC; lower-casing alone can leave it.
func fold(s string) string { return norm.NFKC.String(strings.ToLower(s)) }
