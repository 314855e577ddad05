package lists

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// genericColumns are the columns of the generic CSV; the first three are required.
var genericColumns = []string{"id", "kind", "name", "aliases", "weak_aliases", "birth_dates", "nationalities", "programs", "remarks"}

const (
	requiredColumns = 3
	separator       = ";"
	comment         = '#'
	byteOrderMark   = "\ufeff"
)

type genericReader struct {
	table   *table
	columns []string // of the file
	list    *builder
}

// readGeneric reads the CSV that demo/README.md describes. It returns the date of its "# date:"
// line, if it has one.
func readGeneric(file string, r io.Reader) ([]Entry, string, error) {
	head := &headReader{from: r}
	g := &genericReader{table: newTable(file, head, 0), list: newBuilder()}
	g.table.csv.Comment = comment
	row, err := g.table.row()
	if err == io.EOF {
		return nil, "", &Error{File: file, Reason: "the file is empty"}
	}
	if err == nil {
		err = g.header(row)
	}
	if err == nil {
		err = eachRow(g.table, g.row)
	}
	if err == nil {
		err = head.check(file, len(g.list.entries))
	}
	return g.list.entries, head.date, err
}

func (g *genericReader) header(row []string) error {
	for i, name := range row {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(genericColumns, name) {
			return g.table.wrong("column %d is none of %s", i+1, strings.Join(genericColumns, ", "))
		}
		if slices.Contains(g.columns, name) {
			return g.table.wrong("column %s stands twice", name)
		}
		g.columns = append(g.columns, name)
	}
	for _, name := range genericColumns[:requiredColumns] {
		if !slices.Contains(g.columns, name) {
			return g.table.wrong("column %s is missing", name)
		}
	}
	return nil
}

func (g *genericReader) row(row []string) error {
	var e Entry
	cells := map[string]string{}
	for i, name := range g.columns {
		cells[name] = strings.TrimSpace(row[i])
	}
	e.ID, e.Kind, e.Remarks = cells["id"], Kind(strings.ToUpper(cells["kind"])), cells["remarks"]
	if !slices.Contains([]Kind{Individual, Entity, Vessel, Aircraft}, e.Kind) {
		return errors.New("kind is none of individual, entity, vessel, aircraft")
	}
	if cells["name"] == "" {
		return errors.New("name is empty")
	}
	addName(&e, Name{Text: cells["name"]})
	for _, text := range several(cells["aliases"]) {
		addName(&e, Name{Text: text})
	}
	for _, text := range several(cells["weak_aliases"]) {
		addName(&e, Name{Text: text, Weak: true})
	}
	for _, text := range several(cells["birth_dates"]) {
		birth, ok := parseBirth(text)
		if !ok {
			return errors.New("birth_dates: write YYYY-MM-DD, YYYY-MM, YYYY, or two of them with \" to \" between, circa before it if unsure")
		}
		e.Births = append(e.Births, birth)
	}
	for _, text := range several(cells["nationalities"]) {
		addNationality(&e, text)
	}
	e.Programs = several(cells["programs"])
	return g.list.add(e)
}

func several(cell string) []string {
	var all []string
	for part := range strings.SplitSeq(cell, separator) {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// longestHead is how far into a file its "# date:" and "# entries:" lines may stand.
const longestHead = 4096

// headReader looks at the comments before the first row while they are read.
type headReader struct {
	from    io.Reader
	done    bool
	date    string
	entries string
}

func (h *headReader) Read(p []byte) (int, error) {
	if h.done {
		return h.from.Read(p)
	}
	h.done = true
	buffer := make([]byte, longestHead)
	n, err := io.ReadFull(h.from, buffer)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err
	}
	h.look(buffer[:n])
	h.from = io.MultiReader(strings.NewReader(strings.TrimPrefix(string(buffer[:n]), byteOrderMark)), h.from)
	return h.from.Read(p)
}

func (h *headReader) look(head []byte) {
	for line := range strings.Lines(strings.TrimPrefix(string(head), byteOrderMark)) {
		said, isComment := strings.CutPrefix(line, string(comment))
		if !isComment {
			return
		}
		name, value, _ := strings.Cut(said, ":")
		switch strings.TrimSpace(name) {
		case "date":
			h.date = strings.TrimSpace(value)
		case "entries":
			h.entries = strings.TrimSpace(value)
		}
	}
}

// check compares what the comments say with what the file has.
func (h *headReader) check(file string, entries int) error {
	if h.date != "" {
		if _, err := time.Parse(time.DateOnly, h.date); err != nil {
			return &Error{File: file, Reason: "\"# date:\" is not a day, YYYY-MM-DD"}
		}
	}
	if want, err := strconv.Atoi(h.entries); h.entries != "" && (err != nil || want != entries) {
		return &Error{File: file, Reason: fmt.Sprintf("\"# entries:\" does not match: the file has %d; was it cut off?", entries)}
	}
	return nil
}
