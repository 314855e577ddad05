package submit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/usherhq/usher/services/gateway/jsonbody"
)

// Row is a row of a file.
type Row struct {
	Line    int64  // where it begins, from 1
	JSON    []byte // as the batch API takes it, with an idempotency key; no line end
	Problem string // why it cannot be sent; empty for one that can
}

// Source gives the rows of a file, then io.EOF.
type Source interface{ Next() (Row, error) }

// Layout is how a file is read.
type Layout struct {
	Format string            // csv or ndjson
	Comma  rune              // between the columns of CSV
	Map    map[string]string // by the column's name; "" leaves a column out
}

// Open reads a file as its layout says. It refuses columns that have no place.
func (l Layout) Open(file io.Reader) (Source, error) {
	in := bufio.NewReaderSize(file, 64<<10)
	if mark, _ := in.Peek(3); string(mark) == "\xef\xbb\xbf" { // byte order mark
		_, _ = in.Discard(3)
	}
	if l.Format == "csv" {
		return newTable(in, l)
	}
	return &lines{in: in}, nil
}

const keyMember = "idempotencyKey"

// keyed adds an idempotency key to an object that has none; null and "" are none to the gateway. It
// derives from the content alone, so that whoever sends the same row again, in whatever file, finds
// what is stored.
func keyed(object []byte, members map[string]json.RawMessage) []byte {
	if key, has := members[keyMember]; has {
		if !blank(key) {
			return object
		}
		object = unkeyed(object)
	}
	sum := sha256.Sum256(append([]byte("usher submit\x00"), object...))
	key := `{"` + keyMember + `":"submit-` + hex.EncodeToString(sum[:16]) + `"`
	rest := bytes.TrimSpace(object[1:])
	if rest[0] != '}' {
		key += ","
	}
	return append([]byte(key), rest...)
}

func blank(key json.RawMessage) bool { return string(key) == "null" || string(key) == `""` }

// unkeyed is an object without keys that are blank. All else is as it was, names that are there twice
// too: the gateway refuses them.
func unkeyed(object []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(object)) // of what is valid: no call fails
	_, _ = d.Token()
	var kept [][]byte
	for d.More() {
		from := d.InputOffset()
		name, _ := d.Token()
		var value json.RawMessage
		_ = d.Decode(&value)
		if name != keyMember || !blank(value) {
			kept = append(kept, bytes.Trim(object[from:d.InputOffset()], ", \t\r\n"))
		}
	}
	return append(append([]byte("{"), bytes.Join(kept, []byte(","))...), '}')
}

// checked is the row of an object.
func checked(line int64, object []byte) Row {
	var members map[string]json.RawMessage
	switch {
	case !utf8.Valid(object):
		return Row{Line: line, Problem: "the row is not UTF-8; convert the file"}
	case json.Unmarshal(object, &members) != nil || members == nil:
		return Row{Line: line, Problem: "the row is not a JSON object"}
	}
	row := Row{Line: line, JSON: keyed(object, members)}
	if len(row.JSON) > jsonbody.MaxBytes {
		return Row{Line: line, Problem: fmt.Sprintf("the row is larger than %d KiB", jsonbody.MaxBytes>>10)}
	}
	return row
}

// lines are the rows of NDJSON.
type lines struct {
	in *bufio.Reader
	n  int64
}

// Next implements Source. Empty lines are no rows.
func (l *lines) Next() (Row, error) {
	for {
		line, err := l.read()
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return Row{}, err
		}
		l.n++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return checked(l.n, line), nil
		}
	}
}

// read returns a line; of one that is too long only so much that it is refused.
func (l *lines) read() (line []byte, err error) {
	for {
		part, err := l.in.ReadSlice('\n')
		if room := jsonbody.MaxBytes + 1 - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// table are the rows of CSV.
type table struct {
	in     *csv.Reader
	places []place // of each column; nil for one that is left out
}

func newTable(in io.Reader, l Layout) (*table, error) {
	t := &table{in: csv.NewReader(in)}
	t.in.Comma, t.in.TrimLeadingSpace = l.Comma, true
	header, err := t.in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty; its first line must name the columns")
	}
	if err != nil {
		return nil, fmt.Errorf("read the columns' names: %w", err)
	}
	t.places, err = placesOf(header, l.Map)
	t.in.ReuseRecord = true
	return t, err
}

// Next implements Source.
func (t *table) Next() (Row, error) {
	record, err := t.in.Read()
	var broken *csv.ParseError
	if errors.As(err, &broken) {
		return Row{Line: int64(broken.StartLine), Problem: "the row cannot be read: " + broken.Err.Error()}, nil
	}
	if err != nil {
		return Row{}, err
	}
	line, _ := t.in.FieldPos(0)
	for _, cell := range record {
		if !utf8.ValidString(cell) {
			return Row{Line: int64(line), Problem: "the row is not UTF-8; convert the file"}, nil
		}
	}
	object, err := t.object(record)
	if err != nil {
		return Row{Line: int64(line), Problem: err.Error()}, nil
	}
	return checked(int64(line), object), nil
}

// object is a record with each cell in its place. Empty cells are left out.
func (t *table) object(record []string) ([]byte, error) {
	root := map[string]any{}
	for i, cell := range record {
		if cell = strings.TrimSpace(cell); cell == "" || t.places[i] == nil {
			continue
		}
		if err := t.places[i].put(root, cell); err != nil {
			return nil, err
		}
	}
	return json.Marshal(dense(root))
}
