package identity

import (
	_ "embed"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/usherhq/usher/events"
)

// longestJudged is the length, in bytes, above which a password is neither looked up nor
// compared: it is too long for every tenant, and the comparison would cost a server too much.
const longestJudged = 4096

// Facts are what the pipeline may know of a password besides its sealed form. They are taken
// against the applicant and user name of r.
func Facts(password string, r events.Registration) events.PasswordFacts {
	normal := norm.NFKC.String(password)
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
		case !unicode.IsLetter(c) && !unicode.IsMark(c):
			f.Special = true
		}
	}
	if len(password) > longestJudged {
		return f
	}
	folded := fold(password)
	f.Common, f.Resembles = isCommon(folded), resembles(folded, r)
	return f
}

//go:embed common.txt
var commonText string

var common = func() map[string]bool {
	m := map[string]bool{}
	for word := range strings.FieldsSeq(commonText) {
		m[word] = true
	}
	return m
}()

// longestTail is how many digits and signs after a common word leave it common.
const longestTail = 6

var unleet = strings.NewReplacer("@", "a", "4", "a", "3", "e", "1", "i", "!", "i", "0", "o", "$", "s", "5", "s", "7", "t")

// isCommon reports a password of the list, also with letters written as signs ("p@ssw0rd") and
// with a short tail ("password123!"), and a password of one repeated or counted character.
func isCommon(folded string) bool {
	word := strings.TrimRightFunc(folded, func(r rune) bool { return !unicode.IsLetter(r) })
	if len(folded)-len(word) > longestTail {
		word = folded
	}
	return common[folded] || common[word] || common[unleet.Replace(word)] || isRun(folded)
}

// isRun reports text in which every character is the same step away from the one before.
func isRun(s string) bool {
	r := []rune(s)
	if len(r) < 3 {
		return false
	}
	step := r[1] - r[0]
	if step < -1 || step > 1 {
		return false
	}
	for i := 1; i < len(r); i++ {
		if r[i]-r[i-1] != step {
			return false
		}
	}
	return true
}

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
