package passwords

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

// longestJudged is the length, in bytes, above which a password is neither looked up nor
// compared: it is too long for every tenant, and the comparison would cost a server too much.
const longestJudged = 4096

// Normal is the form in which a password is counted and hashed: whoever verifies one brings it
// into normal form KC first (NIST SP 800-63B section 3.1.1.2), so that it is the same on every keyboard.
func Normal(password string) string { return norm.NFKC.String(password) }

// Facts are what the pipeline may know of a password besides its sealed form: taken against the
// applicant and user name of r, the words of the tenant and the blocklist.
func Facts(password string, r events.Registration, t *tenant.Tenant, b *Blocklist) events.PasswordFacts {
	normal := Normal(password)
	f := events.PasswordFacts{
		Present: password != "",
		Length:  utf8.RuneCountInString(normal),
		Bytes:   len(password),
	}
	for _, c := range normal {
		switch {
		case unicode.IsUpper(c) || unicode.IsTitle(c):
			f.Upper = true
		case unicode.IsLower(c):
			f.Lower = true
		case unicode.IsDigit(c):
			f.Digit = true
		case unicode.IsSpace(c):
			f.Space = true
		case unicode.IsLetter(c):
			f.Caseless = true
		case !unicode.IsMark(c):
			f.Special = true
		}
	}
	if len(password) > longestJudged {
		return f
	}
	folded := fold(password)
	f.Common = b.has(folded)
	f.Resembles = resembles(folded, r) || containsWord(folded, t)
	f.InUsername = folded != "" && strings.Contains(fold(r.Username), folded)
	return f
}

// fold is lower-case in normal form KC; lower-casing alone can leave it.
func fold(s string) string { return norm.NFKC.String(strings.ToLower(s)) }

// shortestPart is the length from which a part of the identity counts: shorter names are part
// of too many words.
const shortestPart = 4

// resembles reports whether a password contains a part of the identity, or is contained in the
// mailbox or the user name.
func resembles(folded string, r events.Registration) bool {
	if utf8.RuneCountInString(folded) < shortestPart {
		return false
	}
	a := r.Applicant
	for _, whole := range []string{mailbox(fold(a.Email)), mailbox(fold(r.Username))} {
		if utf8.RuneCountInString(whole) >= shortestPart && (strings.Contains(folded, whole) || strings.Contains(whole, folded)) {
			return true
		}
	}
	for _, name := range []string{a.GivenName, a.MiddleName, a.FamilyName, a.CompanyName, a.MothersMaidenName} {
		for part := range strings.FieldsFuncSeq(fold(name), betweenNames) {
			if utf8.RuneCountInString(part) >= shortestPart && strings.Contains(folded, part) {
				return true
			}
		}
	}
	return false
}

func betweenNames(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }

// mailbox returns the part of an address before the "@", without its "+tag".
func mailbox(email string) string {
	local := email
	if at := strings.LastIndexByte(email, '@'); at >= 0 {
		local = email[:at]
	}
	local, _, _ = strings.Cut(local, "+")
	return local
}

// containsWord reports whether a password contains the tenant's name, as a whole and whatever
// stands between its words, or one of the words that the tenant does not want in passwords.
func containsWord(folded string, t *tenant.Tenant) bool {
	joined := join(folded)
	for _, word := range append([]string{t.Name}, t.Password.Words...) {
		word = join(fold(word))
		if utf8.RuneCountInString(word) >= shortestPart && strings.Contains(joined, word) {
			return true
		}
	}
	return false
}

// join leaves out all but letters, marks and digits.
func join(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, s)
}
