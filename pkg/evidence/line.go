package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The members of an event's JSON that are no attributes of the event: its data, and what the feed
// says of its place.
const (
	memberData     = "data"
	memberBase64   = "data_base64"
	memberSequence = "sequence"
	memberCursor   = "cursor"
)

// ReadEvent reads an event as the feed has it over HTTP, or an exported file, which has no cursor. The
// error never contains a value of the event.
func ReadEvent(line []byte) (e Event, cursor string, err error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(line, &members) != nil {
		return e, "", errors.New("it is not an event")
	}
	e.Attributes = map[string]string{}
	for name, raw := range members {
		switch name {
		case memberData:
			e.Data = raw
			continue
		case memberBase64:
			err = json.Unmarshal(raw, &e.Data)
			continue
		}
		text, ok := textOf(raw)
		if !ok {
			return e, "", fmt.Errorf("%q is not text", name)
		}
		e.Attributes[name] = text
	}
	cursor = e.Attributes[memberCursor]
	e.Sequence, _ = strconv.ParseUint(e.Attributes[memberSequence], 10, 64)
	delete(e.Attributes, memberCursor)
	delete(e.Attributes, memberSequence)
	if err != nil || e.Sequence == 0 {
		return e, "", errors.New("it has no sequence, or its data cannot be read")
	}
	return e, cursor, nil
}

// textOf reads a JSON string; most of them stand for themselves.
func textOf(raw json.RawMessage) (text string, ok bool) {
	if raw[0] == '"' && !bytes.ContainsRune(raw, '\\') && utf8.Valid(raw) {
		return string(raw[1 : len(raw)-1]), true
	}
	return text, json.Unmarshal(raw, &text) == nil
}

// line is the event as an exported file has it: without the cursor, which is of no use there.
func (e Event) line() ([]byte, error) {
	members := map[string]any{memberSequence: strconv.FormatUint(e.Sequence, 10)}
	for name, value := range e.Attributes {
		members[name] = value
	}
	if !json.Valid(e.Data) || bytes.ContainsAny(e.Data, "\r\n") {
		members[memberBase64] = e.Data
		return json.Marshal(members)
	}
	line, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	return slices.Concat(line[:len(line)-1], []byte(`,"data":`), e.Data, []byte("}")), nil
}
