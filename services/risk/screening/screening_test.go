package screening

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/usherhq/usher/pkg/lists"
)

var update = flag.Bool("update", false, "write the golden files")

func name(text string) lists.Name { return lists.Name{Text: text} }
func weak(text string) lists.Name { return lists.Name{Text: text, Weak: true} }

// invented is a small list, with enough other entries that rarity means something.
func invented() *lists.List {
	person := func(id string, births []lists.Birth, nationalities []string, names ...lists.Name) lists.Entry {
		return lists.Entry{ID: id, Kind: lists.Individual, Names: names, Births: births, Nationalities: nationalities}
	}
	day := func(d string) []lists.Birth { return []lists.Birth{{From: d, To: d}} }
	l := &lists.List{ID: "inv", Date: "2026-11-01", Hash: strings.Repeat("ab", 32), Entries: []lists.Entry{
		person("1", day("1961-03-09"), []string{"RU"}, name("VOLKHARIN, Arkady Zorinovich"), name("Аркадий Волхарин"), weak("Volk"), weak("Ghost")),
		person("2", []lists.Birth{{From: "1970-01-01", To: "1972-12-31"}}, []string{"SY"}, name("AL-QASHURI, Mundhir Abd al-Jalil"), weak("Abu Zubur")),
		person("3", []lists.Birth{{From: "1955-01-01", To: "1955-12-31", About: true}}, []string{"MX", "CO"}, name("TREJOBLANCO ZURITAVAL, Ignacio Efrain")),
		person("4", nil, nil, name("Xi Qinghuang")),
		person("5", nil, nil, name("Robert van den Ysselgrave")),
		person("6", nil, nil, name("SUZHENKO")),
		person("7", nil, nil, name("AHMED, A.")),
		person("8", nil, nil, name("محمد القاشوري")),
		person("10", nil, nil, name("Nikolaos Vlachakopoulos")),
		{ID: "9", Kind: lists.Entity, Names: []lists.Name{name("Zorinvest Trading Corp")}},
	}}
	for i := range 400 {
		id := fmt.Sprintf("f%d", i)
		filler := fmt.Sprintf("Filler%c%c Mohammed Ali%c", 'a'+i%26, 'a'+i/26, 'a'+i%20)
		l.Entries = append(l.Entries, person(id, nil, nil, name(filler)))
	}
	return l
}

func TestWhoIsFound(t *testing.T) {
	x := NewIndex([]*lists.List{invented()})
	for sentence, test := range map[string]struct {
		name  string
		entry string // empty: nobody
		sure  bool
	}{
		"the name as listed":                       {"VOLKHARIN, Arkady Zorinovich", "1", true},
		"another order and case":                   {"arkady zorinovich volkharin", "1", true},
		"without the middle name":                  {"Arkady Volkharin", "1", true},
		"a middle name that the list lacks":        {"Xi Qinghuang Maria", "", false},
		"a typo in a rare word":                    {"Arkady Zorinovich Volkahrin", "1", true},
		"a letter left out":                        {"Arkady Zorinovich Volkhrin", "1", true},
		"diacritics":                               {"Arkády Zorinóvich Vólkharin", "1", true},
		"another transcription":                    {"Arkadiy Zorinovitch Wolkharin", "1", false},
		"Cyrillic beside a Latin list":             {"Волхарин Аркадий Зоринович", "1", true},
		"Greek letters":                            {"Νικόλαος Βλαχακόπουλος", "10", true},
		"full width letters":                       {"ＶＯＬＫＨＡＲＩＮ Ａｒｋａｄｙ Ｚｏｒｉｎｏｖｉｃｈ", "1", true},
		"a nickname":                               {"Bob Ysselgrave", "5", false},
		"particles left out":                       {"Robert Ysselgrave", "5", true},
		"particles written together":               {"Mundhir Abdaljalil Alqashuri", "2", true},
		"Arabic letters":                           {"منذر عبد الجليل القاشوري", "2", false},
		"Arabic letters as listed":                 {"محمد القاشوري", "8", true},
		"Chinese characters, two written together": {"席庆黄", "4", true},
		"syllables written apart":                  {"Xi Qing Huang", "4", true},
		"an emoji beside the name":                 {"Arkady 🐺 Zorinovich Volkharin 🐺", "1", true},
		"one word of the name":                     {"Volkharin", "", false},
		"another person with the family name":      {"Maria Volkharin", "", false},
		"the common words of an entry":             {"Mohammed Ali", "", false},
		"an initial for a given name":              {"A. Z. Volkharin", "1", false},
		"a given name for an initial":              {"Ayesha Ahmed", "", false},
		"a weak name of one word, alone":           {"Volk", "1", false},
		"a weak name of one word, among others":    {"Volk Smith", "", false},
		"a strong name of one word":                {"Suzhenko", "6", false},
		"only a legal form":                        {"Corp", "", false},
		"an organisation, asked for a person":      {"Zorinvest Trading Corp", "", false},
		"nobody":                                   {"Jane Appleby", "", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := x.Screen(Person{Names: []string{test.name}, Kind: lists.Individual}, Threshold)
			found := ""
			if len(r.Hits) > 0 {
				found = r.Hits[0].Entry
			}
			if found != test.entry || found != "" && r.Hits[0].Sure() != test.sure {
				t.Errorf("found %q, want %q, sure %v: %+v", found, test.entry, test.sure, r.Hits)
			}
		})
	}
}

func TestAKindLimitsTheEntries(t *testing.T) {
	x := NewIndex([]*lists.List{invented()})
	for kind, want := range map[lists.Kind]int{"": 1, lists.Entity: 1, lists.Individual: 0, lists.Vessel: 0} {
		if r := x.Screen(Person{Names: []string{"Zorinvest Trading"}, Kind: kind}, Threshold); len(r.Hits) != want {
			t.Errorf("kind %q: %d hits, want %d", kind, len(r.Hits), want)
		}
	}
}

func TestBirthDateAndNationalityCorroborateOrContradict(t *testing.T) {
	x := NewIndex([]*lists.List{invented()})
	for sentence, test := range map[string]struct {
		name, born, nationality string
		entry                   int
		birth, country          Verdict
		up                      int // the sign of what both do together
	}{
		"the day":                                {"Arkady Volkharin", "1961-03-09", "RU", 0, Same, Same, 1},
		"day and month swapped":                  {"Arkady Volkharin", "1961-09-03", "", 0, Swapped, "", 1},
		"a year off":                             {"Arkady Volkharin", "1962-01-20", "", 0, Near, "", 1},
		"another date":                           {"Arkady Zorinovich Volkharin", "1990-03-09", "", 0, Contradicts, "", -1},
		"another country":                        {"Arkady Zorinovich Volkharin", "", "FR", 0, "", Contradicts, -1},
		"within the years of the list":           {"Mundhir Abd al-Jalil Al-Qashuri", "1971-05-05", "SY", 1, Within, Same, 0},
		"about the year of the list":             {"Ignacio Trejoblanco Zuritaval", "1958-05-05", "CO", 2, Near, Same, 1},
		"far from the year that it is unsure of": {"Ignacio Efrain Trejoblanco Zuritaval", "1970-05-05", "", 2, Contradicts, "", -1},
		"a date that is none":                    {"Arkady Volkharin", "yesterday", "", 0, "", "", 0},
		"a list that knows no dates":             {"Xi Qinghuang", "1961-03-09", "CN", 3, "", "", 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			p := Person{Names: []string{test.name}, BirthDate: test.born}
			if test.nationality != "" {
				p.Nationalities = []string{test.nationality}
			}
			r := x.Screen(p, 700)
			if len(r.Hits) == 0 {
				t.Fatal("no hit")
			}
			h := r.Hits[0]
			verdict := func(c *Comparison) Verdict {
				if c == nil {
					return ""
				}
				return c.Verdict
			}
			if verdict(h.Birth) != test.birth || verdict(h.Nationality) != test.country {
				t.Errorf("birth %q, nationality %q", verdict(h.Birth), verdict(h.Nationality))
			}
			if d := h.Score - h.NameScore; d > 0 != (test.up > 0) || d < 0 != (test.up < 0) {
				t.Errorf("the score went from %d to %d", h.NameScore, h.Score)
			}
		})
	}
}

func TestAWeakOrSingleWordIsNeverSureAlone(t *testing.T) {
	x := NewIndex([]*lists.List{invented()})
	for _, n := range []string{"Volk", "Ghost", "Suzhenko", "The Ghost"} {
		for _, h := range x.Screen(Person{Names: []string{n}}, 1).Hits {
			if h.Sure() || !slices.Contains(h.Limits, OneWord) {
				t.Errorf("%s: %+v", n, h)
			}
		}
	}
	h := x.Screen(Person{Names: []string{"Volk"}, BirthDate: "1961-03-09", Nationalities: []string{"RU"}}, Threshold).Hits[0]
	if h.Sure() || h.Score <= h.NameScore {
		t.Errorf("with the birth date: %+v", h)
	}
}

func TestTheBestOfSeveralNamesDecides(t *testing.T) {
	x := NewIndex([]*lists.List{invented()})
	r := x.Screen(Person{Names: []string{"Jane Appleby", "Arkadi Volkharin", "Arkady Zorinovich Volkharin"}}, Threshold)
	if len(r.Hits) != 1 || r.Hits[0].Name != 2 || r.Hits[0].Score != 1000 {
		t.Errorf("got %+v", r.Hits)
	}
}

func TestNamesThatAreNoneHaveADefinedResult(t *testing.T) {
	x := NewIndex([]*lists.List{invented()})
	r := x.Screen(Person{Names: []string{"", "🐺🐺", "...", "\xff\xfe", strings.Repeat("ab ", 4000), strings.Repeat("x", 10_000)}}, Threshold)
	want := []Unread{{0, Empty}, {1, Empty}, {2, Empty}, {3, Empty}, {4, Cut}, {5, Cut}}
	if !slices.Equal(r.Unread, want) || len(r.Hits) != 0 {
		t.Errorf("got %+v", r)
	}
	long := "Arkady Zorinovich Volkharin " + strings.Repeat("q", 10_000)
	if r := x.Screen(Person{Names: []string{long}}, 700); len(r.Hits) != 1 || len(r.Unread) != 1 {
		t.Errorf("a long name hides the listed one in it: %+v", r)
	}
	if r := NewIndex(nil).Screen(Person{Names: []string{"Jane Appleby"}}, Threshold); r.Hits == nil || len(r.Hits) != 0 {
		t.Errorf("without lists: %+v", r)
	}
	if r := x.Screen(Person{}, Threshold); len(r.Hits) != 0 {
		t.Errorf("without names: %+v", r)
	}
}

func TestHitsBeyondTheMostAreCounted(t *testing.T) {
	l := &lists.List{ID: "many"}
	for i := range maxHits + 5 {
		l.Entries = append(l.Entries, lists.Entry{ID: fmt.Sprintf("%02d", i), Kind: lists.Individual, Names: []lists.Name{name("Arkady Volkharin")}})
	}
	r := NewIndex([]*lists.List{l}).Screen(Person{Names: []string{"Arkady Volkharin"}}, Threshold)
	if len(r.Hits) != maxHits || r.More != 5 || r.Hits[0].Entry != "00" {
		t.Errorf("%d hits, %d more", len(r.Hits), r.More)
	}
}

func TestTheSameQuestionGivesTheSameBytes(t *testing.T) {
	person := Person{Names: []string{"Filleraa Mohammed Alia", "Arkady Volkharin"}, BirthDate: "1961-03-09", Nationalities: []string{"RU", "BY"}}
	answer := func(x *Index) []byte {
		b, err := json.Marshal(x.Screen(person, 700))
		if err != nil {
			t.Error(err)
		}
		return b
	}
	x := NewIndex([]*lists.List{invented()})
	want := answer(x)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				x.Screen(Person{Names: []string{"Ali Mohammed Fillerbb"}}, 700)
				if got := answer(x); !bytes.Equal(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	wg.Wait()
	if got := answer(NewIndex([]*lists.List{invented()})); !bytes.Equal(got, want) {
		t.Errorf("another index: %s, want %s", got, want)
	}
}

func TestTheExplanation(t *testing.T) {
	x := NewIndex([]*lists.List{invented()})
	people := map[string]Person{
		"corroborated": {Names: []string{"Arkadiy Zorinovich Wolkharin"}, BirthDate: "1961-09-03", Nationalities: []string{"RU"}},
		"contradicted": {Names: []string{"Jane Appleby", "Arkady Zorinovich Volkharin Gomez"}, BirthDate: "1990-01-01", Nationalities: []string{"ES"}},
		"nickname":     {Names: []string{"Bob Ysselgrave"}},
		"weak":         {Names: []string{"Volk"}},
		"initial":      {Names: []string{"A. Zorinovich Volkharin"}},
		"arabic":       {Names: []string{"منذر عبد الجليل القاشوري"}, BirthDate: "1971-05-05"},
	}
	for what, p := range people {
		t.Run(what, func(t *testing.T) {
			r := x.Screen(p, 650)
			var b strings.Builder
			enc := json.NewEncoder(&b)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			if err := enc.Encode(r); err != nil {
				t.Fatal(err)
			}
			for _, h := range r.Hits {
				b.WriteString("\n" + strings.Join(h.Words(), "\n") + "\n")
			}
			golden(t, what+".txt", b.String())
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if that is meant, run with -update:\n%s", path, got)
	}
}

func TestPersonsStayOutOfText(t *testing.T) {
	p := Person{Names: []string{"Secret"}}
	h := Hit{List: "l", Entry: "1", Primary: "Secret", Pairs: []Pair{{Person: "secret"}}}
	r := Result{Hits: []Hit{h}}
	text := fmt.Sprint(p, &p, p.LogValue(), h.LogValue(), r.LogValue()) + fmt.Sprintf("%+v %#v", p, p) + fmt.Sprintf("%v %+v %#v %v %+v %#v", h, h, h, r, r, r)
	if strings.Contains(strings.ToLower(text), "secret") {
		t.Error(text)
	}
}

func TestAScreenerSwapsItsLists(t *testing.T) {
	var s Screener
	p := Person{Names: []string{"Arkady Volkharin"}}
	if _, err := s.Screen(p, Threshold); err != ErrNoLists {
		t.Errorf("got %v", err)
	}
	s.Use(&lists.Set{Lists: []*lists.List{invented()}})
	r, err := s.Screen(p, Threshold)
	if err != nil || len(r.Hits) != 1 || r.Lists["inv"] != "2026-11-01/abababababab" || r.Hits[0].Version != r.Lists["inv"] {
		t.Errorf("got %+v, %v", r, err)
	}
	s.Use(&lists.Set{Lists: []*lists.List{{ID: "inv", Hash: "other"}}})
	if r, err = s.Screen(p, Threshold); err != nil || len(r.Hits) != 0 || r.Lists["inv"] != "other" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestTheDemoList(t *testing.T) {
	all, err := lists.Load("../../../pkg/lists/demo")
	if err != nil {
		t.Fatal(err)
	}
	x := NewIndex(all)
	for n, want := range map[string]string{"Arkadij Volkharin": "demo-1", "Ouyang Xu Zhen": "demo-6", "Quorra Ysselgrave": "demo-5", "John Doe": ""} {
		r := x.Screen(Person{Names: []string{n}}, Threshold)
		got := ""
		if len(r.Hits) > 0 {
			got = r.Hits[0].Entry
		}
		if got != want {
			t.Errorf("%s: %q, want %q", n, got, want)
		}
	}
}
