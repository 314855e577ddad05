package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"unicode/utf8"
)

// longestBody is of what reviewers send: a note, and a little around it.
const longestBody = 32 << 10

// malformed is what is wrong with a request, and how to mend it.
type malformed struct {
	status int
	detail string
}

func (m *malformed) Error() string { return m.detail }

func bad(detail string, args ...any) *malformed {
	return &malformed{http.StatusBadRequest, fmt.Sprintf(detail, args...)}
}

// readBody reads a JSON object into fields, pointers by their exact names. A body that is empty is
// an empty object; a member that is repeated, unknown or of another type is refused. Null leaves a
// field that is a pointer itself.
func readBody(w http.ResponseWriter, r *http.Request, fields map[string]any) *malformed {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, longestBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &malformed{http.StatusRequestEntityTooLarge, "the body is longer than 32 KiB; shorten it"}
	case err != nil:
		return bad("the body cannot be read; send it again")
	case len(raw) == 0:
		return nil
	case !utf8.Valid(raw):
		return bad("the body is not UTF-8")
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &malformed{http.StatusUnsupportedMediaType, "send the body as Content-Type: application/json"}
	}
	return readObject(json.NewDecoder(bytes.NewReader(raw)), fields)
}

func readObject(d *json.Decoder, fields map[string]any) *malformed {
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return bad("the body is not a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return bad("the body is not JSON")
		}
		field, known := fields[name]
		switch {
		case !known:
			return bad("a member of the body is not known here; see the OpenAPI document")
		case seen[name]:
			return bad("%s is there twice; send it once", name)
		}
		seen[name] = true
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return bad("the body is not JSON")
		}
		if json.Unmarshal(raw, field) != nil {
			return bad("%s is not %s", name, kindOf(field))
		}
	}
	if _, err := d.Token(); err != nil {
		return bad("the body is not JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad("there is something after the body's object")
	}
	return nil
}

// kindOf says what a field takes.
func kindOf(field any) string {
	switch field.(type) {
	case **bool:
		return "true or false"
	case **[]string:
		return "a list of texts"
	case **int:
		return "a whole number"
	}
	return "a text"
}
