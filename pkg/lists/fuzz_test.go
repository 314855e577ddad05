package lists

import (
	"errors"
	"strings"
	"testing"
)

func FuzzOFAC(f *testing.F) {
	f.Add(sdnRow, addRow, altRow, "9,\"; more\"\n\x1a")
	f.Add(sdnRow[:50], "", "\x1a\n\x1a", "\"")
	f.Fuzz(func(t *testing.T, sdn, add, alt, comments string) {
		table := func(file, content string, columns int) *table {
			return newTable(file, strings.NewReader(content), columns)
		}
		entries, err := readOFAC(ofacFiles{table("sdn", sdn, sdnColumns), table("add", add, addColumns), table("alt", alt, altColumns), table("comments", comments, commentColumns)})
		wellFormed(t, entries, err)
	})
}

func FuzzUN(f *testing.F) {
	f.Add(unHead + unOne + unTail)
	f.Add(`<!DOCTYPE x [<!ENTITY a "a">]><CONSOLIDATED_LIST>&a;`)
	f.Add(unHead + unOne[:len(unOne)-30])
	f.Fuzz(func(t *testing.T, content string) {
		entries, _, err := readUN("un.xml", strings.NewReader(content))
		wellFormed(t, entries, err)
	})
}

func FuzzGeneric(f *testing.F) {
	f.Add("# date: 2026-01-01\n# entries: 1\n" + ownHead + ownRow)
	f.Add("\ufeffid,kind,name\n1,entity,\"a\nb\"\n")
	f.Fuzz(func(t *testing.T, content string) {
		entries, _, err := readGeneric("own.csv", strings.NewReader(content))
		wellFormed(t, entries, err)
	})
}

// wellFormed checks what every loader promises: entries with ids and names, or an error that
// says where.
func wellFormed(t *testing.T, entries []Entry, err error) {
	var located *Error
	if err != nil {
		if !errors.As(err, &located) || located.File == "" || located.Reason == "" {
			t.Fatalf("an error that does not say where: %v", err)
		}
		return
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if e.ID == "" || seen[e.ID] || len(e.Names) == 0 || e.Names[0].Text == "" {
			t.Fatalf("entry %+v", e)
		}
		seen[e.ID] = true
		for _, b := range e.Births {
			if b.From > b.To || len(b.From) != 10 || len(b.To) != 10 {
				t.Fatalf("birth %+v", b)
			}
		}
	}
}
