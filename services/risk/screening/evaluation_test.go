package screening

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/usherhq/usher/pkg/lists"
)

// The bars that the shipped threshold must reach.
const (
	leastExact    = 0.97
	leastReorder  = 0.97
	leastTypo     = 0.90
	mostFalseHits = 0.01
	ordinaryNames = 6000
)

//go:embed testdata/ordinary.txt
var ordinaryText string

// publishedLists loads the real lists, or skips the test by name.
func publishedLists(t testing.TB) []*lists.List {
	t.Helper()
	dir := os.Getenv("USHER_SCREENING_LISTS")
	if dir == "" {
		t.Skipf("NOT RUN: %s. USHER_SCREENING_LISTS names no directory with ofac_*.csv and un_consolidated.xml", t.Name())
	}
	all, err := lists.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sought is a listed name of an individual.
type sought struct {
	list, entry string
	name        lists.Name
}

func individuals(all []*lists.List) []sought {
	var names []sought
	for _, l := range all {
		for _, e := range l.Entries {
			for _, n := range e.Names {
				if e.Kind == lists.Individual {
					names = append(names, sought{l.ID, e.ID, n})
				}
			}
		}
	}
	return names
}

// variants change a name as people do. One returns "" where it does not apply.
var variants = []struct {
	name   string
	least  float64
	change func(*rand.Rand, string) string
}{
	{"exact", leastExact, func(_ *rand.Rand, s string) string { return s }},
	{"reordered", leastReorder, reordered},
	{"diacritics changed", 0, diacritics},
	{"one typo", leastTypo, typo},
	{"a token dropped", 0, dropped},
}

func reordered(r *rand.Rand, s string) string {
	words := strings.Fields(strings.ReplaceAll(s, ",", " "))
	if len(words) < 2 {
		return ""
	}
	before := strings.Join(words, " ")
	for range 10 {
		r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		if after := strings.Join(words, " "); after != before {
			return after
		}
	}
	return ""
}

// dropped leaves one word out of three or more.
func dropped(r *rand.Rand, s string) string {
	words := strings.Fields(s)
	if len(words) < 3 {
		return ""
	}
	i := r.IntN(len(words))
	return strings.Join(slices.Delete(words, i, i+1), " ")
}

var marked = map[rune]rune{'a': 'á', 'e': 'é', 'i': 'ï', 'o': 'ö', 'u': 'ů', 'c': 'č', 's': 'š', 'n': 'ñ', 'z': 'ž'}

func diacritics(r *rand.Rand, s string) string {
	return strings.Map(func(c rune) rune {
		if m := marked[unicode.ToLower(c)]; m != 0 && r.IntN(2) == 0 {
			return m
		}
		return c
	}, s)
}

// letter is another letter of the name's script.
func letter(r *rand.Rand, of []rune) rune {
	if c := of[r.IntN(len(of))]; c > unicode.MaxLatin1 {
		return c
	}
	return rune('a' + r.IntN(26))
}

// typo deletes, doubles, replaces or swaps one letter somewhere.
func typo(r *rand.Rand, s string) string {
	letters := []rune(s)
	var at []int
	for i, c := range letters {
		if unicode.IsLetter(c) {
			at = append(at, i)
		}
	}
	if len(at) < 3 {
		return ""
	}
	i := at[r.IntN(len(at))]
	switch r.IntN(4) {
	case 0:
		letters = slices.Delete(letters, i, i+1)
	case 1:
		letters = slices.Insert(letters, i, letter(r, letters))
	case 2:
		letters[i] = letter(r, letters)
	case 3:
		if i+1 < len(letters) && unicode.IsLetter(letters[i+1]) {
			letters[i], letters[i+1] = letters[i+1], letters[i]
		} else {
			letters[i] = letter(r, letters)
		}
	}
	return string(letters)
}

// ordinary combines the parts of names into as many different ones, of all cultures alike.
func ordinary(n int) []string {
	r := rand.New(rand.NewPCG(5, 8))
	var cultures []func() string
	for _, line := range lines(ordinaryText) {
		culture, parts, _ := strings.Cut(line, ": ")
		given, family, _ := strings.Cut(parts, " | ")
		first, last := strings.Fields(given), strings.Fields(family)
		cultures = append(cultures, func() string {
			g, f := first[r.IntN(len(first))], last[r.IntN(len(last))]
			if second := first[r.IntN(len(first))]; second != g && r.IntN(5) == 0 {
				g += " " + second
			}
			if strings.HasSuffix(culture, "{f}") {
				g, f = f, g
			}
			return strings.ReplaceAll(g+" "+f, "_", " ")
		})
	}
	seen := map[string]bool{}
	var names []string
	for i := 0; len(names) < n; i++ {
		name := cultures[i%len(cultures)]()
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// tally counts how many of the tried were found, and found for sure.
type tally struct{ tried, found, sure int }

func (c *tally) add(h *Hit) {
	c.tried++
	if h != nil {
		c.found++
	}
	if h != nil && h.Sure() {
		c.sure++
	}
}

func (c tally) rate() float64 { return float64(c.found) / float64(max(c.tried, 1)) }

func (c tally) row(what string) string {
	return fmt.Sprintf("%-20s %7d %7d %8.4f %8.4f\n", what, c.tried, c.found, c.rate(), float64(c.sure)/float64(max(c.tried, 1)))
}

func screened(x *Index, name string) Result {
	return x.Screen(Person{Names: []string{name}, Kind: lists.Individual}, Threshold)
}

// recall seeks every name after a change of it.
func recall(t *testing.T, x *Index, names []sought, change func(*rand.Rand, string) string) tally {
	var c tally
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range names {
		name := change(r, s.name.Text)
		if name == "" {
			continue
		}
		h := hitOf(screened(x, name), s)
		c.add(h)
		if h != nil && h.Sure() && h.Weak && len(normalise(h.Listed).tokens) == 1 {
			t.Errorf("a weak name of one word is a sure hit: entry %s of %s", s.entry, s.list)
		}
	}
	return c
}

func falseHits(x *Index) tally {
	var c tally
	for _, name := range ordinary(ordinaryNames) {
		var first *Hit
		if r := screened(x, name); len(r.Hits) > 0 {
			first = &r.Hits[0]
		}
		c.add(first)
	}
	return c
}

func TestRecallAndFalseHitsOnThePublishedLists(t *testing.T) {
	all := publishedLists(t)
	x := NewIndex(all)
	names := individuals(all)
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:len(names)/sampled]
	table := fmt.Sprintf("\nthreshold %d, names alone\n%-20s %7s %7s %8s %8s\n", Threshold, "variant", "names", "found", "rate", "sure")
	for _, v := range variants {
		c := recall(t, x, names, v.change)
		table += c.row(v.name)
		if c.rate() < v.least {
			t.Errorf("%s: recall %.4f, want %.2f", v.name, c.rate(), v.least)
		}
	}
	c := falseHits(x)
	table += c.row("ordinary names")
	if c.rate() > mostFalseHits {
		t.Errorf("false hits %.4f, want at most %.2f", c.rate(), mostFalseHits)
	}
	t.Log(table)
}

func hitOf(r Result, s sought) *Hit {
	for i, h := range r.Hits {
		if h.List == s.list && h.Entry == s.entry {
			return &r.Hits[i]
		}
	}
	return nil
}
