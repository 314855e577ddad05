package lists

import (
	"io"
	"strings"
)

// The columns of OFAC's files, after its data specification of the SDN list.
const (
	sdnColumns, sdnID, sdnName, sdnType, sdnProgram, sdnRemarks = 12, 0, 1, 2, 3, 11
	addColumns, addID, addFirst, addLast                        = 6, 0, 2, 4
	altColumns, altID, altName                                  = 5, 0, 3
	commentColumns, commentID, commentText                      = 2, 0, 1
)

// ofacFiles are the readers of an SDN list's files; comments may be nil.
type ofacFiles struct {
	sdn, add, alt, comments *table
}

// readOFAC reads the files of an SDN list. Addresses and aliases of entries that the first
// file lacks are an error: the files are of different days, or one is cut off.
func readOFAC(f ofacFiles) ([]Entry, error) {
	b := newBuilder()
	if err := eachRow(f.sdn, func(row []string) error { return b.add(sdnEntry(row)) }); err != nil {
		return nil, err
	}
	if len(b.entries) == 0 {
		return nil, &Error{File: f.sdn.file, Reason: "the file is empty"}
	}
	if f.comments != nil {
		if err := eachRow(f.comments, b.continueRemarks); err != nil {
			return nil, err
		}
	}
	for i := range b.entries {
		completeFromRemarks(&b.entries[i])
	}
	if err := eachRow(f.alt, b.addAlias); err != nil {
		return nil, err
	}
	return b.entries, eachRow(f.add, b.addAddress)
}

// eachRow applies f to every row; what f finds wrong is an error at that row.
func eachRow(t *table, f func([]string) error) error {
	for {
		row, err := t.row()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(row); err != nil {
			return t.wrong("%v", err)
		}
	}
}

// null is how OFAC writes an absent value: -0-, with spaces after it.
func null(s string) string {
	if s = strings.TrimSpace(s); s == "-0-" {
		return ""
	}
	return s
}

func sdnEntry(row []string) Entry {
	e := Entry{ID: null(row[sdnID]), Kind: Entity, Remarks: null(row[sdnRemarks])}
	switch null(row[sdnType]) {
	case "individual":
		e.Kind = Individual
	case "vessel":
		e.Kind = Vessel
	case "aircraft":
		e.Kind = Aircraft
	}
	addName(&e, Name{Text: null(row[sdnName])})
	for _, program := range strings.Split(null(row[sdnProgram]), "] [") {
		if program = strings.Trim(program, "[] "); program != "" {
			e.Programs = append(e.Programs, program)
		}
	}
	return e
}

type unknownID struct{}

func (unknownID) Error() string {
	return "the SDN file has no entry with this id; the files are of different days, or one was cut off"
}

func (b *builder) addAlias(row []string) error {
	e := b.find(null(row[altID]))
	if e == nil {
		return unknownID{}
	}
	addName(e, Name{Text: null(row[altName])})
	return b.count(e, 1)
}

func (b *builder) addAddress(row []string) error {
	e := b.find(null(row[addID]))
	if e == nil {
		return unknownID{}
	}
	var parts []string
	for _, part := range row[addFirst : addLast+1] {
		if part = null(part); part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) > 0 {
		e.Addresses = append(e.Addresses, strings.Join(parts, ", "))
	}
	return nil
}

// continueRemarks appends what did not fit into the first file. OFAC publishes comments of
// entries that are on another of its lists too.
func (b *builder) continueRemarks(row []string) error {
	if e := b.find(null(row[commentID])); e != nil {
		e.Remarks += null(row[commentText])
	}
	return nil
}

// completeFromRemarks takes from the remarks what OFAC's CSV has no column for. They are
// clauses divided by semicolons: "DOB 1957 to 1960; nationality Iraq; a.k.a. 'EL GORDO'.".
func completeFromRemarks(e *Entry) {
	for clause := range strings.SplitSeq(e.Remarks, ";") {
		clause = strings.TrimPrefix(strings.TrimSuffix(strings.TrimSpace(clause), "."), "alt. ")
		word, value, _ := strings.Cut(clause, " ")
		switch word {
		case "DOB":
			if birth, ok := parseBirth(value); ok {
				e.Births = append(e.Births, birth)
			}
		case "nationality", "citizen":
			addNationality(e, value)
		case "a.k.a.":
			addName(e, Name{Text: strings.Trim(value, "'"), Weak: true})
		}
	}
}
