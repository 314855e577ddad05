package fincode

import (
	"net/http"
	"strings"

	"github.com/usherhq/usher/events"
)

// Headers returns what a request's headers say of its sender, and one error for each header
// that is missing, repeated or wrong. platform is the tenant's value of the header of that name.
func Headers(h http.Header, platform string) (events.Client, []FieldError) {
	var found []FieldError
	values := map[string]string{}
	for _, name := range []string{"platform", "uuid"} {
		sent := h.Values(name)
		values[name] = strings.TrimSpace(strings.ToValidUTF8(strings.Join(sent, ", "), ""))
		switch {
		case len(sent) > 1:
			found = append(found, FieldError{Field: name, Code: codeRepeated, Message: "Must be sent once"})
		case values[name] == "":
			found = append(found, FieldError{Field: name, Code: events.CodeRequired, Message: isRequired})
		case name == "platform" && !strings.EqualFold(values[name], platform):
			found = append(found, FieldError{Field: name, Code: events.CodeNotAllowed, Message: "Use " + platform})
		}
	}
	return events.Client{
		ForwardedFor: strings.ToValidUTF8(strings.Join(h.Values("X-Forwarded-For"), ", "), ""),
		UserAgent:    strings.ToValidUTF8(h.Get("User-Agent"), ""),
		RequestID:    values["uuid"],
	}, found
}
