package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestWait bounds Prefer: wait=N.
const longestWait = time.Minute

// preference is what a client asks for with Prefer (RFC 7240).
type preference struct {
	async, waits bool
	wait         time.Duration
	echoed       string // what is applied, for Preference-Applied
}

// preferenceOf reads respond-async and wait=N, which hold together too: answer within N
// seconds, else 202. Of a preference that is repeated the first counts; what cannot be read or
// is unknown is ignored.
func preferenceOf(r *http.Request) preference {
	var p preference
	var applied []string
	for _, field := range r.Header.Values("Prefer") {
		for _, part := range splitUnquoted(field, ',') {
			name, value, _ := strings.Cut(splitUnquoted(part, ';')[0], "=")
			value = unquoted(strings.Trim(value, " \t"))
			wait, isTime := seconds(value)
			switch strings.ToLower(strings.Trim(name, " \t")) {
			case "respond-async":
				if !p.async && value == "" {
					p.async = true
					applied = append(applied, "respond-async")
				}
			case "wait":
				if !p.waits && isTime {
					p.wait, p.waits = wait, true
					applied = append(applied, fmt.Sprintf("wait=%d", wait/time.Second))
				}
			}
		}
	}
	p.echoed = strings.Join(applied, ", ")
	return p
}

// within is how long to wait for an outcome.
func (p preference) within(usual time.Duration) time.Duration {
	switch {
	case p.waits:
		return p.wait
	case p.async:
		return 0
	}
	return usual
}

// header tells the client what was applied (RFC 7240 section 3).
func (p preference) header(w http.ResponseWriter) {
	if p.echoed != "" {
		w.Header().Set("Preference-Applied", p.echoed)
	}
}

// seconds reads delta-seconds (RFC 9110 section 10.2.3), at most longestWait.
func seconds(text string) (time.Duration, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n > int(longestWait/time.Second) {
		return longestWait, true
	}
	return time.Duration(n) * time.Second, true
}

// splitUnquoted splits at separators that stand in no quoted string (RFC 9110 section 5.6.4).
func splitUnquoted(text string, separator byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == separator && !quoted:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// unquoted returns what a quoted string says, or a token as it is.
func unquoted(text string) string {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return text
	}
	var b strings.Builder
	for i := 1; i < len(text)-1; i++ {
		if text[i] == '\\' && i+1 < len(text)-1 {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
