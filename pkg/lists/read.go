package lists

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// What a file may hold at most. A hostile file costs no more memory than a few times its size.
const (
	maxFile       = 256 << 20 // bytes of a file
	maxItem       = 1 << 20   // bytes of an entry
	maxNames      = 5_000_000 // names of a list
	maxEntryNames = 2_000     // names of an entry
)

// Error says what is wrong with a list, where, and never whom the list names.
type Error struct {
	File   string
	Line   int // 1-based; 0 when it is about the whole file
	Reason string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// bounded reads no more than a whole file and an item of it may have.
type bounded struct {
	from  io.Reader
	total int64
	item  int64
}

var (
	errFile = fmt.Errorf("the file is larger than %d MiB", maxFile>>20)
	errItem = fmt.Errorf("one entry takes more than %d KiB; is a quote or an end tag missing?", maxItem>>10)
)

func (b *bounded) Read(p []byte) (int, error) {
	if b.total >= maxFile {
		return 0, errFile
	}
	if b.item >= maxItem {
		return 0, errItem
	}
	n, err := b.from.Read(p[:min(len(p), maxItem)])
	b.total += int64(n)
	b.item += int64(n)
	return n, err
}

// next begins another item.
func (b *bounded) next() { b.item = 0 }

// table reads the rows of a CSV file.
type table struct {
	file string
	in   *bounded
	csv  *csv.Reader
	line int // of the row read last
	end  int // the last line that has been read
}

// subOnly is a row that holds only the end-of-file character of old text files, as OFAC's end.
const subOnly = "\x1a"

func newTable(file string, r io.Reader, columns int) *table {
	in := &bounded{from: r}
	c := csv.NewReader(in)
	c.FieldsPerRecord = columns
	return &table{file: file, in: in, csv: c}
}

// row returns the next row, io.EOF after the last, or an *Error.
func (t *table) row() ([]string, error) {
	row, err := t.read()
	for len(row) == 1 && row[0] == subOnly {
		row, err = t.read()
	}
	var bad *csv.ParseError
	switch {
	case err == io.EOF:
		return nil, err
	case errors.Is(err, csv.ErrFieldCount):
		return nil, t.wrong("the row has %d columns, not %d; was the file cut off?", len(row), t.csv.FieldsPerRecord)
	case errors.As(err, &bad):
		return nil, &Error{t.file, bad.Line, "not CSV: " + bad.Err.Error()}
	case err != nil:
		return nil, t.wrong("%v", err)
	}
	for _, field := range row {
		if !utf8.ValidString(field) || strings.ContainsRune(field, 0) {
			return nil, t.wrong("the row is not UTF-8 text")
		}
	}
	return row, nil
}

func (t *table) read() ([]string, error) {
	t.in.next()
	row, err := t.csv.Read()
	t.line = t.end + 1
	if len(row) > 0 {
		t.line, _ = t.csv.FieldPos(0)
		t.end, _ = t.csv.FieldPos(len(row) - 1)
	}
	return row, err
}

// wrong is an error in the row read last.
func (t *table) wrong(reason string, args ...any) *Error {
	return &Error{t.file, t.line, fmt.Sprintf(reason, args...)}
}

// builder collects the entries of a list and finds them by id.
type builder struct {
	entries []Entry
	at      map[string]int
	names   int
}

func newBuilder() *builder { return &builder{at: map[string]int{}} }

var (
	errTwice = errors.New("an entry with this id stands above already")
	errNames = fmt.Errorf("the list has more than %d names, or an entry more than %d", maxNames, maxEntryNames)
)

// add takes a new entry that has an id and a name.
func (b *builder) add(e Entry) error {
	if e.ID == "" {
		return errors.New("the entry has no id")
	}
	if _, twice := b.at[e.ID]; twice {
		return errTwice
	}
	if len(e.Names) == 0 {
		return errors.New("the entry has no name")
	}
	if err := b.count(&e, len(e.Names)); err != nil {
		return err
	}
	b.at[e.ID] = len(b.entries)
	b.entries = append(b.entries, e)
	return nil
}

// count adds to the names of the list.
func (b *builder) count(e *Entry, names int) error {
	if b.names += names; b.names > maxNames || len(e.Names) > maxEntryNames {
		return errNames
	}
	return nil
}

// find returns the entry with an id, to be completed, or nil.
func (b *builder) find(id string) *Entry {
	i, ok := b.at[id]
	if !ok {
		return nil
	}
	return &b.entries[i]
}

// addName adds a name that the entry does not have yet. What was listed as weak and as strong
// is strong. It stops one above the most that count allows.
func addName(e *Entry, n Name) {
	n.Text = strings.Join(strings.Fields(n.Text), " ")
	if n.Text == "" || len(e.Names) > maxEntryNames {
		return
	}
	for i, has := range e.Names {
		if has.Text == n.Text {
			e.Names[i].Weak = has.Weak && n.Weak
			return
		}
	}
	e.Names = append(e.Names, n)
}
