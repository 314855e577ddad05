package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrCursor is returned by Find for a cursor that Find did not give for the same query.
var ErrCursor = errors.New("not a cursor of this query")

// cursor is where a page ended: the last document's value of the field it is ordered by, and
// its id.
type cursor struct {
	Query string `json:"q"`
	Value any    `json:"v"` // string, int64, or nil where the document lacks the field
	ID    string `json:"i"`
}

// order returns the field that documents are ordered by, "" for the id.
func (q Query) order() (field string, descending bool) { return strings.CutPrefix(q.Order, "-") }

// fingerprint tells queries apart, whatever their limit.
func (q Query) fingerprint(collection string) string {
	text := fmt.Sprintf("%q %q", collection, q.Order)
	if len(q.Where) > 0 {
		where, _ := json.Marshal(q.Where) // strings and int64, its keys sorted
		text += string(where)
	}
	if q.Range != nil {
		text += fmt.Sprintf("%+v", *q.Range)
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// next returns the cursor of the page after the one that ends with a document.
func (q Query) next(collection string, value any, id string) string {
	raw, _ := json.Marshal(cursor{q.fingerprint(collection), value, id})
	return base64.RawURLEncoding.EncodeToString(raw)
}

// after returns where the page before ended; nil for the first page.
func (q Query) after(collection string) (*cursor, error) {
	if q.After == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(q.After)
	if err != nil {
		return nil, ErrCursor
	}
	var c cursor
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&c); err != nil || c.ID == "" || c.Query != q.fingerprint(collection) {
		return nil, ErrCursor
	}
	switch v := c.Value.(type) {
	case nil, string:
	case json.Number:
		if c.Value, err = v.Int64(); err != nil {
			return nil, ErrCursor
		}
	default:
		return nil, ErrCursor
	}
	return &c, nil
}
