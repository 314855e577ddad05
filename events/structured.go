package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Structured writes a stored event in the CloudEvents 1.0 JSON format, with extensions beside
// its own attributes. It takes events of any version: the data is handed on byte by byte, in base64
// where it has line breaks, and the whole is one line. Extension names are lower-case letters and
// digits (CloudEvents 1.0 section 3.1). The error wraps ErrGarbage and never contains a value of
// the message.
func Structured(header map[string][]string, data []byte, extensions map[string]string) ([]byte, error) {
	attributes, err := Attributes(header)
	if err != nil {
		return nil, err
	}
	event := make(map[string]any, len(attributes)+len(extensions)+1)
	for name, value := range attributes {
		event[name] = value
	}
	for name, value := range extensions {
		event[name] = value
	}
	switch {
	case len(data) == 0:
	case !json.Valid(data):
		return nil, fmt.Errorf("%w: data of %s is not JSON", ErrGarbage, safeName(attributes["type"]))
	case bytes.ContainsAny(data, "\r\n"):
		event["data_base64"] = data
	default:
		return withData(event, data)
	}
	return json.Marshal(event)
}

// withData writes data byte by byte as it is, which json.Marshal would not.
func withData(event map[string]any, data []byte) ([]byte, error) {
	body, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	return slices.Concat(body[:len(body)-1], []byte(`,"data":`), data, []byte("}")), nil
}

// Attributes are what a stored event says of itself, by the names that CloudEvents gives them: its
// attributes and the trace context.
func Attributes(header map[string][]string) (map[string]string, error) {
	h, err := single(header)
	if err != nil {
		return nil, err
	}
	attributes := make(map[string]string, len(h))
	for name, value := range h {
		if attribute, ours := strings.CutPrefix(name, "ce-"); ours {
			attributes[attribute] = value
		}
	}
	if attributes["specversion"] != specVersion || attributes["id"] == "" || attributes["type"] == "" {
		return nil, fmt.Errorf("%w: headers ce-specversion, ce-id and ce-type are not those of an event", ErrGarbage)
	}
	for _, name := range []string{"traceparent", "tracestate"} {
		if h[name] != "" {
			attributes[name] = h[name]
		}
	}
	return attributes, nil
}
