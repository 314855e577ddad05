package fincode

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/usherhq/usher/events"
)

// dialingCode is a country code of E.164, with the area codes that some countries are known by.
var dialingCode = regexp.MustCompile(`^\+[1-9]\d{0,6}$`)

// phone joins dialingCode and phone. A phone with a + of its own is used alone and must begin
// with the dialing code. It is "" where it cannot be made, which is then found.
func (q *request) phone() (string, []events.Violation) {
	code, number := bare(q.DialingCode), bare(q.Phone)
	switch {
	case code == "" || number == "":
		return "", nil // missing, which is told as such
	case !dialingCode.MatchString(code):
		return "", []events.Violation{{Code: events.CodeFormat, Field: "dialingCode"}}
	case !strings.HasPrefix(number, "+"):
		return code + number, nil
	case !strings.HasPrefix(number, code):
		return "", []events.Violation{{Code: events.CodeDisagrees, Field: "dialingCode|phone"}}
	}
	return number, nil
}

// bare takes out what people group digits with: spaces, hyphens, dots, slashes and brackets.
func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || strings.ContainsRune("./()", r) {
			return -1
		}
		return r
	}, s)
}
