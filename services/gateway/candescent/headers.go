package candescent

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/usherhq/usher/events"
)

// HeaderProblem is a header that is missing, repeated or of another form.
type HeaderProblem struct{ Header, Message string }

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// longestOffering bounds offering_id, in bytes; the vendor names no bound.
const longestOffering = 256

// Headers returns what a request's headers say of its sender, and what is wrong with them.
func Headers(h http.Header) (events.Client, []HeaderProblem) {
	client := events.Client{
		ForwardedFor: strings.ToValidUTF8(strings.Join(h.Values("X-Forwarded-For"), ", "), ""),
		UserAgent:    strings.ToValidUTF8(h.Get("User-Agent"), ""),
	}
	var found []HeaderProblem
	client.RequestID = one(h, "di_tid", &found, func(v string) string {
		if !uuid.MatchString(v) {
			return "must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000"
		}
		return ""
	})
	client.OfferingID = one(h, "offering_id", &found, func(v string) string {
		if len(v) > longestOffering {
			return "must have at most 256 characters"
		}
		return ""
	})
	return client, found
}

// one reads a required header; check says what is wrong with its value, "" for nothing.
func one(h http.Header, name string, found *[]HeaderProblem, check func(string) string) string {
	values := h.Values(name)
	value := strings.TrimSpace(strings.ToValidUTF8(strings.Join(values, ""), ""))
	message := ""
	switch {
	case len(values) > 1:
		message = "must be sent once"
	case value == "":
		message = "is required"
	default:
		message = check(value)
	}
	if message != "" {
		*found = append(*found, HeaderProblem{name, name + " header " + message})
	}
	return value
}
