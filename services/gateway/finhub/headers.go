package finhub

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/usherhq/usher/events"
)

// header is one that the dialect reads, under the name it is asked for and its aliases.
type header struct {
	name     string
	aliases  []string
	optional bool // never demanded
	lenient  bool // demanded from lenient tenants too
	list     bool // may be repeated (RFC 9110 section 5.3)
}

// headers are in the order in which their absence is told. X-Forwarded-For is required in one
// table of the vendor's page and missing from all its requests.
var headers = []header{
	{name: "Authorization", lenient: true},
	{name: "X-Tenant-ID", lenient: true},
	{name: "Content-Type", lenient: true},
	{name: "User-Agent"},
	{name: "X-Forwarded-From"},
	{name: "platform", aliases: []string{"sec-ch-ua-platform"}},
	{name: "deviceId", aliases: []string{"X-Device-Id", "device-id"}},
	{name: "X-Forwarded-For", optional: true, list: true},
}

// Headers returns what a request's headers say of its sender, and one message for every header
// that is missing or repeated. A lenient tenant demands only Authorization, X-Tenant-ID and
// Content-Type.
func Headers(h http.Header, lenient bool) (events.Client, []string) {
	var messages []string
	values := map[string]string{}
	for _, want := range headers {
		value, message := want.read(h)
		if message == "" && value == "" && !want.optional && (want.lenient || !lenient) {
			message = want.missing()
		}
		if message != "" {
			messages = append(messages, message)
		}
		values[want.name] = value
	}
	return events.Client{
		ForwardedFor:  values["X-Forwarded-For"],
		ForwardedFrom: values["X-Forwarded-From"],
		UserAgent:     values["User-Agent"],
		Platform:      strings.Trim(values["platform"], `"`),
		DeviceID:      values["deviceId"],
	}, messages
}

// read returns the value under the first name that has one.
func (w header) read(h http.Header) (value, message string) {
	for _, name := range append([]string{w.name}, w.aliases...) {
		values := h.Values(name)
		if len(values) > 1 && !w.list {
			return "", fmt.Sprintf("%s header must be sent once", name)
		}
		if value == "" {
			value = strings.TrimSpace(strings.ToValidUTF8(strings.Join(values, ", "), ""))
		}
	}
	return value, ""
}

func (w header) missing() string {
	message := w.name + " header is required"
	if len(w.aliases) > 0 {
		message += ", also accepted as " + strings.Join(w.aliases, " or ")
	}
	return message
}
