package lists

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	sdnRow = `9,"AL-EXAMPLE, Bilal","individual","SDGT] [IRAQ2",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,"DOB 13 Dec 1940; alt. DOB circa 1939; alt. DOB 1957 to 1960; nationality Iraq; alt. citizen Korea, North; a.k.a. 'THE LATHE'."` + "\n"
	addRow = `9,1,"1 Long Road",-0- ,"Iraq",-0- ` + "\n"
	altRow = `9,1,"aka","AL-EXAMPEL, Belal",-0- ` + "\n"

	unHead = `<?xml version="1.0" encoding="UTF-8"?><CONSOLIDATED_LIST dateGenerated="2026-02-27T00:00:09.554Z"><INDIVIDUALS>`
	unTail = `</INDIVIDUALS><ENTITIES></ENTITIES></CONSOLIDATED_LIST>`
	unOne  = `<INDIVIDUAL><DATAID>1</DATAID><FIRST_NAME>BILAL</FIRST_NAME><SECOND_NAME>AL-EXAMPLE</SECOND_NAME>` +
		`<UN_LIST_TYPE>Demo</UN_LIST_TYPE><REFERENCE_NUMBER>XXi.001</REFERENCE_NUMBER><NATIONALITY><VALUE>Iran (Islamic Republic of)</VALUE></NATIONALITY>` +
		`<INDIVIDUAL_ALIAS><QUALITY>Low</QUALITY><ALIAS_NAME>The Lathe; Lathe (original script: بلال)</ALIAS_NAME></INDIVIDUAL_ALIAS>` +
		`<INDIVIDUAL_ALIAS><QUALITY>Good</QUALITY><ALIAS_NAME>Belal Exampel, born in Kandahar (both of his documents of identity have been confiscated)</ALIAS_NAME></INDIVIDUAL_ALIAS>` +
		`<INDIVIDUAL_ALIAS><QUALITY/><ALIAS_NAME/></INDIVIDUAL_ALIAS>` +
		`<INDIVIDUAL_ADDRESS><CITY>Kuf</CITY><COUNTRY>Iraq</COUNTRY><NOTE>in 2001</NOTE></INDIVIDUAL_ADDRESS>` +
		`<INDIVIDUAL_DATE_OF_BIRTH><TYPE_OF_DATE>BETWEEN</TYPE_OF_DATE><FROM_YEAR>1957</FROM_YEAR><TO_YEAR>1960</TO_YEAR></INDIVIDUAL_DATE_OF_BIRTH>` +
		`<INDIVIDUAL_DATE_OF_BIRTH><TYPE_OF_DATE>APPROXIMATELY</TYPE_OF_DATE><YEAR>1939</YEAR></INDIVIDUAL_DATE_OF_BIRTH></INDIVIDUAL>`

	ownHead = "id,kind,name,aliases,weak_aliases,birth_dates,nationalities\n"
	ownRow  = "x-1,individual,\"AL-EXAMPLE, Bilal\",Belal Exampel,The Lathe,circa 1939;1957 to 1960,Iraq;PRK\n"
)

// write makes a directory of files.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// loadOne loads the only list of a directory.
func loadOne(t testing.TB, files map[string]string) (*List, error) {
	t.Helper()
	sources, err := find(write(t, files))
	if err != nil || len(sources) != 1 {
		t.Fatalf("found %d lists, %v", len(sources), err)
	}
	return sources[0].load()
}

func TestEachFormatTellsNamesBirthsAndNationalities(t *testing.T) {
	births := []Birth{{From: "1957-01-01", To: "1960-12-31"}, {From: "1939-01-01", To: "1939-12-31", About: true}}
	for name, test := range map[string]struct {
		files map[string]string
		date  string
		want  Entry
	}{
		"OFAC, with the rest from the remarks": {
			map[string]string{"o_sdn.csv": sdnRow, "o_add.csv": addRow, "o_alt.csv": altRow, "o_sdn_comments.csv": "8,\"of another list\"\n\x1a"}, "",
			Entry{ID: "9", Kind: Individual, Names: []Name{{Text: "AL-EXAMPLE, Bilal"}, {Text: "THE LATHE", Weak: true}, {Text: "AL-EXAMPEL, Belal"}},
				Births:        []Birth{{From: "1940-12-13", To: "1940-12-13"}, {From: "1939-01-01", To: "1939-12-31", About: true}, {From: "1957-01-01", To: "1960-12-31"}},
				Nationalities: []string{"IQ", "KP"}, Programs: []string{"SDGT", "IRAQ2"}, Addresses: []string{"1 Long Road, Iraq"},
				Remarks: "DOB 13 Dec 1940; alt. DOB circa 1939; alt. DOB 1957 to 1960; nationality Iraq; alt. citizen Korea, North; a.k.a. 'THE LATHE'."}},
		"OFAC, with remarks that go on in the comments": {
			map[string]string{"o_sdn.csv": `9,"X Y",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,"DOB 19"`, "o_add.csv": "", "o_alt.csv": "", "o_sdn_comments.csv": `9,"57."`}, "",
			Entry{ID: "9", Kind: Entity, Names: []Name{{Text: "X Y"}}, Births: []Birth{{From: "1957-01-01", To: "1957-12-31"}}, Remarks: "DOB 1957."}},
		"the UN's, with several names in one field": {
			map[string]string{"u_consolidated.xml": unHead + unOne + unTail}, "2026-02-27T00:00:09.554Z",
			Entry{ID: "XXi.001", Kind: Individual, Births: births, Nationalities: []string{"IR"}, Programs: []string{"Demo"}, Addresses: []string{"Kuf, Iraq"},
				Names: []Name{{Text: "BILAL AL-EXAMPLE"}, {Text: "بلال", Weak: true}, {Text: "The Lathe", Weak: true}, {Text: "Lathe", Weak: true}, {Text: "Belal Exampel"}}}},
		"an own list, with a byte order mark": {
			map[string]string{"own.csv": "\ufeff# date: 2026-11-01\n# entries: 1\n" + ownHead + ownRow}, "2026-11-01",
			Entry{ID: "x-1", Kind: Individual, Names: []Name{{Text: "AL-EXAMPLE, Bilal"}, {Text: "Belal Exampel"}, {Text: "The Lathe", Weak: true}},
				Births: []Birth{births[1], births[0]}, Nationalities: []string{"IQ", "KP"}}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := loadOne(t, test.files)
			if err != nil {
				t.Fatal(err)
			}
			if l.Date != test.date || len(l.Hash) != 64 {
				t.Errorf("date %q, hash %q", l.Date, l.Hash)
			}
			if diff := cmp.Diff([]Entry{test.want}, l.Entries); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestABrokenListIsRefusedByFileLineAndReason(t *testing.T) {
	ofac := func(sdn, add, alt string) map[string]string {
		return map[string]string{"o_sdn.csv": sdn, "o_add.csv": add, "o_alt.csv": alt}
	}
	un := func(s string) map[string]string { return map[string]string{"u_consolidated.xml": s} }
	own := func(s string) map[string]string { return map[string]string{"own.csv": s} }
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"an empty SDN file":                {ofac("", "", ""), "o_sdn.csv: the file is empty"},
		"a row that was cut off":           {ofac(sdnRow+sdnRow[:40], addRow, altRow), "o_sdn.csv:2: "},
		"a row with a column too few":      {ofac(sdnRow+"10,\"X\",-0- \n", addRow, altRow), "o_sdn.csv:2: the row has 3 columns, not 12"},
		"a page instead of a list":         {ofac("<html>\n", addRow, altRow), "o_sdn.csv:1: the row has 1 columns, not 12"},
		"an alias of nobody":               {ofac(sdnRow, addRow, altRow+strings.Replace(altRow, "9", "10", 1)), "o_alt.csv:2: the SDN file has no entry"},
		"an address of nobody":             {ofac(sdnRow, strings.Replace(addRow, "9", "10", 1), altRow), "o_add.csv:1: the SDN file has no entry"},
		"an id that stands twice":          {ofac(sdnRow+sdnRow, addRow, altRow), "o_sdn.csv:2: an entry with this id"},
		"a file of OFAC's missing":         {map[string]string{"o_sdn.csv": sdnRow}, "o_add.csv: the file is missing"},
		"text in another encoding":         {ofac(strings.Replace(sdnRow, "Bilal", "B\xeclal", 1), addRow, altRow), "o_sdn.csv:1: the row is not UTF-8"},
		"a quote that never ends":          {own(ownHead + "x-1,individual,\"" + strings.Repeat("n\n", maxItem)), "own.csv:2: one entry takes more than"},
		"an empty XML file":                {un(""), "u_consolidated.xml: the file lists nobody"},
		"XML that was cut off":             {un(unHead + "\n" + unOne), "u_consolidated.xml:2: not XML: unexpected EOF"},
		"no XML":                           {un("id,kind,name\n"), "u_consolidated.xml: the file lists nobody"},
		"another document":                 {un("<html/>"), "u_consolidated.xml:1: the root element is not CONSOLIDATED_LIST"},
		"a document type with entities":    {un(`<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>` + unHead + unOne + unTail), "u_consolidated.xml:1: a document type is not part"},
		"an entity that nobody declared":   {un(unHead + strings.Replace(unOne, "BILAL", "&b;", 1) + unTail), "u_consolidated.xml:1: not XML: invalid character entity"},
		"an entry without an id":           {un(unHead + "\n" + strings.Replace(unOne, "XXi.001", "", 1) + unTail), "u_consolidated.xml:2: the entry has no id"},
		"an entry without a name":          {un(unHead + "<INDIVIDUAL><REFERENCE_NUMBER>1</REFERENCE_NUMBER></INDIVIDUAL>" + unTail), "u_consolidated.xml:1: the entry has no name"},
		"an entry of endless text":         {un(unHead + strings.Replace(unOne, "BILAL", strings.Repeat("B", 2*maxItem), 1) + unTail), "u_consolidated.xml:1: one entry takes more than"},
		"an entry of endless names":        {un(unHead + strings.Replace(unOne, "Lathe", strings.Join(numbers(maxEntryNames), ";"), 1) + unTail), "u_consolidated.xml:1: the list has more than"},
		"an entry of endless elements":     {un(unHead + "<INDIVIDUAL>" + strings.Repeat("<A>", 40)), "u_consolidated.xml:1: elements are nested too deeply"},
		"an empty own list":                {own(""), "own.csv: the file is empty"},
		"an own list without a header":     {own(ownRow), "own.csv:1: column 1 is none of id, kind, name"},
		"a required column missing":        {own("id,name\n1,X\n"), "own.csv:1: column kind is missing"},
		"a column twice":                   {own("id,kind,name,name\n"), "own.csv:1: column name stands twice"},
		"a kind that is none":              {own(ownHead + strings.Replace(ownRow, "individual", "person", 1)), "own.csv:2: kind is none of"},
		"a birth date that is none":        {own(ownHead + strings.Replace(ownRow, "1957", "57", 1)), "own.csv:2: birth_dates: write YYYY-MM-DD"},
		"a row without a name":             {own(ownHead + "x-1,individual,,,,,\n"), "own.csv:2: name is empty"},
		"fewer entries than the file says": {own("# entries: 2\n" + ownHead + ownRow), "own.csv: \"# entries:\" does not match: the file has 1"},
		"a date that is none":              {own("# date: 1 May\n" + ownHead + ownRow), "own.csv: \"# date:\" is not a day"},
		"a file of no format":              {map[string]string{"pep.xlsx": "x"}, "pep.xlsx: the name fits no format"},
		"files of two formats":             {map[string]string{"a.csv": ownHead + ownRow, "a_consolidated.xml": unHead + unOne + unTail}, "a: files of several formats"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadOne(t, test.files)
			var located *Error
			if !errors.As(err, &located) || !strings.HasPrefix(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if strings.Contains(strings.ToLower(err.Error()), "bilal") {
				t.Errorf("the error tells a name: %v", err)
			}
		})
	}
}

func numbers(n int) []string {
	all := make([]string, n+1)
	for i := range all {
		all[i] = fmt.Sprint(i)
	}
	return all
}

func TestTheVersionIsTheContent(t *testing.T) {
	files := map[string]string{"own.csv": "# date: 2026-11-01\n" + ownHead + ownRow}
	one, err := loadOne(t, files)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := loadOne(t, files)
	files["own.csv"] += "# an afterthought\n"
	other, _ := loadOne(t, files)
	if one.Version() != again.Version() || one.Version() == other.Version() {
		t.Errorf("versions %s, %s, %s", one.Version(), again.Version(), other.Version())
	}
	if !strings.HasPrefix(one.Version(), "2026-11-01/") || one.ID != "own" {
		t.Errorf("%s %s", one.ID, one.Version())
	}
}

func TestTheDemoListLoads(t *testing.T) {
	sources, err := find("demo")
	if err != nil || len(sources) != 1 {
		t.Fatalf("found %v, %v", sources, err)
	}
	l, err := sources[0].load()
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Entries) != 8 || l.ID != "demo" {
		t.Errorf("%s has %d entries", l.ID, len(l.Entries))
	}
}

// publishedLists is the directory of real lists, or the reason why there is none. A test that
// needs one and has none is skipped by name.
func publishedLists(t testing.TB) string {
	dir := os.Getenv("USHER_SCREENING_LISTS")
	if dir == "" {
		t.Skipf("NOT RUN: %s. USHER_SCREENING_LISTS names no directory with ofac_*.csv and un_consolidated.xml", t.Name())
	}
	return dir
}

func TestThePublishedListsLoad(t *testing.T) {
	sources, err := find(publishedLists(t))
	if err != nil {
		t.Fatal(err)
	}
	least := map[string]int{"ofac": 7000, "un": 900}
	for _, s := range sources {
		l, err := s.load()
		if err != nil {
			t.Fatal(err)
		}
		individuals, names, born, recognised := 0, 0, 0, 0
		for _, e := range l.Entries {
			if e.Kind == Individual {
				individuals++
				names += len(e.Names)
				born += min(len(e.Births), 1)
			}
			if !slices.ContainsFunc(e.Nationalities, func(n string) bool { return len(n) != 2 }) {
				recognised++
			}
		}
		t.Logf("%s, version %s: %d entries, %d individuals with %d names, %d with a birth date", l.ID, l.Version(), len(l.Entries), individuals, names, born)
		if len(l.Entries) < least[l.ID] || names < 2*individuals || born*10 < individuals*9 {
			t.Errorf("%s: too little was read", l.ID)
		}
		if recognised*100 < len(l.Entries)*99 {
			t.Errorf("%s: the countries of %d entries were not recognised", l.ID, len(l.Entries)-recognised)
		}
		delete(least, l.ID)
	}
	if len(least) > 0 {
		t.Errorf("not there: %v", least)
	}
}
