package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is an event with its envelope: CloudEvents 1.0 in the NATS binary mode.
type Record struct {
	Subject     Subject
	Source      Service
	Time        time.Time // the publisher's clock; order and durations come from Sequence and Stored
	TraceParent string    // W3C trace context of the publisher, or empty
	TraceState  string
	Event       Event

	// Set on records read from the stream.
	Sequence uint64
	Stored   time.Time // the stream's clock
	Data     []byte    // Event as the stream has it, with what a newer minor version added
}

// Major is the version of every event type in this package. A change that old readers cannot
// take raises it.
const Major = 1

// ErrGarbage is wrapped by Decode for a message that no version of Usher can have written.
var ErrGarbage = errors.New("garbage")

// ErrNewer is wrapped by Decode for a message of a newer major version or of an unknown type:
// an upgrade is under way, and a newer reader will take it.
var ErrNewer = errors.New("newer than this reader")

const (
	specVersion  = "1.0"
	contentType  = "application/json"
	sourcePrefix = "/usher/"
	schemaPrefix = "urn:usher:event:"
)

// SchemaURI names the JSON Schema of an event type (ce-dataschema).
func SchemaURI(eventType string) string {
	return schemaPrefix + eventType + ":" + strconv.Itoa(Major)
}

// Encode returns the headers and the data of r. Header names are lower-case, one value each
// (CloudEvents NATS binding 1.0.3, W3C Trace Context).
func (r Record) Encode() (header map[string][]string, data []byte, err error) {
	data, err = json.Marshal(r.Event)
	if err != nil {
		return nil, nil, fmt.Errorf("encode %s: %w", r.Event.Type(), err)
	}
	header = make(map[string][]string, 10)
	set := func(name, value string) {
		if value != "" {
			header[name] = []string{value}
		}
	}
	set("ce-specversion", specVersion)
	set("ce-id", escape(r.Subject.String()))
	set("ce-source", escape(sourcePrefix+string(r.Source)))
	set("ce-type", escape(r.Event.Type()))
	set("ce-subject", escape(r.Subject.Registration))
	set("ce-time", r.Time.UTC().Format(time.RFC3339Nano))
	set("ce-datacontenttype", contentType)
	set("ce-dataschema", SchemaURI(r.Event.Type()))
	set("traceparent", r.TraceParent)
	set("tracestate", r.TraceState)
	return header, data, nil
}

// Decode is the inverse of Encode. Its error wraps ErrSubject, ErrGarbage or ErrNewer, and
// never contains a value of the message. Unknown fields and headers are ignored.
func Decode(subject string, header map[string][]string, data []byte) (Record, error) {
	s, err := ParseSubject(subject)
	if err != nil {
		return Record{}, err
	}
	h, err := single(header)
	if err != nil {
		return Record{}, err
	}
	r := Record{Subject: s, TraceParent: h["traceparent"], TraceState: h["tracestate"], Data: data}
	eventType, err := checkEnvelope(h, subject)
	if err != nil {
		return Record{}, err
	}
	r.Source = Service(strings.TrimPrefix(h["ce-source"], sourcePrefix))
	if r.Time, err = time.Parse(time.RFC3339Nano, h["ce-time"]); err != nil {
		return Record{}, fmt.Errorf("%w: ce-time is not RFC 3339", ErrGarbage)
	}
	if r.Event, err = DecodeData(eventType, data); err != nil {
		return Record{}, err
	}
	if want := SubjectOf(s.Tenant, s.Registration, r.Event); want != s {
		return Record{}, fmt.Errorf("%w: data of %s does not belong to its subject", ErrGarbage, eventType)
	}
	return r, nil
}

// single folds a header to one value a name and undoes the binding's percent-encoding.
func single(header map[string][]string) (map[string]string, error) {
	h := make(map[string]string, len(header))
	for name, values := range header {
		if len(values) != 1 {
			return nil, fmt.Errorf("%w: header %q has %d values, want one", ErrGarbage, safeName(name), len(values))
		}
		v := values[0]
		if strings.HasPrefix(name, "ce-") {
			var err error
			if v, err = unescape(v); err != nil {
				return nil, fmt.Errorf("%w: header %q is not percent-encoded UTF-8", ErrGarbage, safeName(name))
			}
		}
		h[name] = v
	}
	return h, nil
}

func checkEnvelope(h map[string]string, subject string) (eventType string, err error) {
	switch v := h["ce-specversion"]; {
	case v == "":
		return "", fmt.Errorf("%w: header ce-specversion is missing", ErrGarbage)
	case majorOf(v) > 1:
		return "", fmt.Errorf("%w: CloudEvents major version", ErrNewer)
	case v != specVersion:
		return "", fmt.Errorf("%w: ce-specversion is not %s", ErrGarbage, specVersion)
	}
	eventType = h["ce-type"]
	if eventType == "" {
		return "", fmt.Errorf("%w: header ce-type is missing", ErrGarbage)
	}
	if h["ce-id"] != subject {
		return "", fmt.Errorf("%w: ce-id is not the subject", ErrGarbage)
	}
	if !strings.HasPrefix(h["ce-source"], sourcePrefix) {
		return "", fmt.Errorf("%w: ce-source does not start with %s", ErrGarbage, sourcePrefix)
	}
	if v := h["ce-datacontenttype"]; v != "" && v != contentType {
		return "", fmt.Errorf("%w: ce-datacontenttype is not %s", ErrGarbage, contentType)
	}
	if schemaMajor(h["ce-dataschema"]) > Major {
		return "", fmt.Errorf("%w: major version of ce-dataschema", ErrNewer)
	}
	return eventType, nil
}

func schemaMajor(uri string) int {
	rest, ours := strings.CutPrefix(uri, schemaPrefix)
	if !ours {
		return Major
	}
	return majorOf(rest[strings.LastIndexByte(rest, ':')+1:])
}

func majorOf(version string) int {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	return n
}

// escape percent-encodes space, double quote, percent and everything outside U+0021–U+007E.
func escape(s string) string {
	if !strings.ContainsFunc(s, escaped) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; escaped(rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func escaped(c rune) bool { return c <= 0x20 || c >= 0x7f || c == '"' || c == '%' }

func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") && utf8.ValidString(s) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", ErrGarbage
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", ErrGarbage
		}
		b.WriteByte(byte(c))
		i += 2
	}
	if !utf8.ValidString(b.String()) {
		return "", ErrGarbage
	}
	return b.String(), nil
}

// safeName keeps a foreign header's name printable and short.
func safeName(name string) string {
	if len(name) > 40 {
		name = name[:40]
	}
	return escape(name)
}
