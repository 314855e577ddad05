package screening

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/usherhq/usher/pkg/lists"
)

// Weights of tokens: a hundredth is a halving of how many entries have it.
const (
	heaviest      = 1000 // also of what no entry has
	lightest      = 150
	ofParticle    = 60
	weightHalving = 100
)

const (
	maxJoined = 3 * maxToken // letters of tokens written together
)

// Index finds listed names. It is never changed once built and safe for concurrent use.
type Index struct {
	versions map[string]string
	lists    []*lists.List

	entries []entryRef
	names   []listedName
	units   []unit // of all names, one name after another

	vocabulary []word
	weights    []int32 // by word
	reach      []int32 // by word: the most that a unit of it weighs in any name
	known      []bool  // by word: stands alone in names, not only as two words together
	ids        map[token]uint32
	places     [][]uint32 // by word: names that have it, ascending
	bySound    map[string][]uint32
	bySkeleton map[string][]uint32
	frequency  map[string]int32 // by sound: how many entries have it
	deletions  []deletion       // sorted

	scratches sync.Pool
}

type entryRef struct {
	list  uint16
	entry uint32
}

// listedName is a name of an entry and its units in Index.units.
type listedName struct {
	entry       uint32
	name        uint16 // in the entry
	first, last uint32 // units[first:last]; the first tokens of them are single
	tokens      uint8
	weight      int32 // of all its tokens
}

// unit is a word of a name: a token at a position, or several from there on written together.
type unit struct {
	word uint32
	at   uint8
	span uint8
}

// deletion is a hash of a word with at most a letter taken out, and the word.
type deletion struct {
	hash uint32
	word uint32
}

// NewIndex builds an index over lists.
func NewIndex(all []*lists.List) *Index {
	x := &Index{
		versions: map[string]string{}, lists: all,
		ids: map[token]uint32{}, bySound: map[string][]uint32{}, bySkeleton: map[string][]uint32{}, frequency: map[string]int32{},
	}
	for n, l := range all {
		x.versions[l.ID] = l.Version()
		for i := range l.Entries {
			x.addEntry(uint16(n), uint32(i), &l.Entries[i])
		}
	}
	x.weigh()
	x.neighbourhoods()
	x.scratches.New = func() any { return newScratch(x) }
	return x
}

func (x *Index) entry(ref entryRef) *lists.Entry { return &x.lists[ref.list].Entries[ref.entry] }

func (x *Index) addEntry(list uint16, at uint32, e *lists.Entry) {
	id := uint32(len(x.entries))
	x.entries = append(x.entries, entryRef{list, at})
	sounds := map[string]bool{}
	for i, name := range e.Names {
		tokens := normalise(name.Text).tokens
		if len(tokens) == 0 {
			continue
		}
		x.addName(id, uint16(i), tokens)
		for _, t := range tokens {
			sounds[sound(t.text)] = true
		}
	}
	for s := range sounds {
		x.frequency[s]++
	}
}

func (x *Index) addName(entry uint32, name uint16, tokens []token) {
	n := listedName{entry: entry, name: name, first: uint32(len(x.units)), tokens: uint8(len(tokens))}
	at := uint32(len(x.names))
	for i, u := range unitsOf(tokens) {
		word := x.intern(u.token, at)
		if i < len(tokens) {
			x.known[word] = true
		}
		x.units = append(x.units, unit{word, u.at, u.span})
	}
	n.last = uint32(len(x.units))
	x.names = append(x.names, n)
}

// intern returns the word of a token and notes that a name has it.
func (x *Index) intern(t token, name uint32) uint32 {
	id, has := x.ids[t]
	if !has {
		id = uint32(len(x.vocabulary))
		w := wordOf(t)
		x.ids[t] = id
		x.vocabulary = append(x.vocabulary, w)
		x.places = append(x.places, nil)
		x.known = append(x.known, false)
		x.bySound[w.sound] = append(x.bySound[w.sound], id)
		x.bySkeleton[w.skeleton] = append(x.bySkeleton[w.skeleton], id)
	}
	if places := x.places[id]; len(places) == 0 || places[len(places)-1] != name {
		x.places[id] = append(places, name)
	}
	return id
}

// placed is a unit of a name that need not be listed.
type placed struct {
	token token
	at    uint8
	span  uint8
}

// unitsOf are the tokens of a name; then each two neighbours written together, and each two
// that have a particle between them with it: abd al rahman is abdalrahman too.
func unitsOf(tokens []token) []placed {
	units := make([]placed, 0, 3*len(tokens))
	for i, t := range tokens {
		units = append(units, placed{t, uint8(i), 1})
	}
	for i := 1; i < len(tokens); i++ {
		units = together(units, tokens, i-1, 2)
		if i > 1 && particles[tokens[i-1].text] {
			units = together(units, tokens, i-2, 3)
		}
	}
	return units
}

// together adds tokens written as one, unless they are of different scripts.
func together(units []placed, tokens []token, at, span int) []placed {
	one := token{consonants: tokens[at].consonants}
	for _, t := range tokens[at : at+span] {
		if t.consonants != one.consonants {
			return units
		}
		one.text += t.text
	}
	return append(units, placed{one, uint8(at), uint8(span)})
}

// weigh gives each word its weight, and each name the sum of its tokens'.
func (x *Index) weigh() {
	x.weights = make([]int32, len(x.vocabulary))
	x.reach = make([]int32, len(x.vocabulary))
	for i, w := range x.vocabulary {
		x.weights[i] = int32(x.weight(w))
	}
	for i := range x.names {
		n := &x.names[i]
		for _, u := range x.units[n.first:n.last] {
			weight := x.unitWeight(n, u)
			x.reach[u.word] = max(x.reach[u.word], weight)
			if u.span == 1 {
				n.weight += weight
			}
		}
	}
}

// unitWeight is what the tokens of a unit weigh.
func (x *Index) unitWeight(n *listedName, u unit) int32 {
	sum := int32(0)
	for _, t := range x.units[n.first+uint32(u.at) : n.first+uint32(u.at)+uint32(u.span)] {
		sum += x.weights[t.word]
	}
	return sum
}

// weight of a token, of the lists or not.
func (x *Index) weight(w word) int {
	if particles[w.text] || len(w.text) == 1 {
		return ofParticle
	}
	entries := max(x.frequency[w.sound], 1)
	halvings := math.Log2(float64(len(x.entries)+1) / float64(entries))
	return min(max(int(math.Round(weightHalving*halvings)), lightest), heaviest)
}

// neighbourhoods hashes every word with each of its letters taken out, by letters and by sound.
func (x *Index) neighbourhoods() {
	for id, w := range x.vocabulary {
		for hash := range around(w) {
			x.deletions = append(x.deletions, deletion{hash, uint32(id)})
		}
	}
	slices.SortFunc(x.deletions, func(a, b deletion) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.word, b.word)) })
	x.deletions = slices.Clip(slices.Compact(x.deletions))
}

// at returns the words that have a hash in their neighbourhood.
func (x *Index) at(hash uint32) []deletion {
	first, _ := slices.BinarySearchFunc(x.deletions, hash, func(d deletion, h uint32) int { return cmp.Compare(d.hash, h) })
	last := first
	for last < len(x.deletions) && x.deletions[last].hash == hash {
		last++
	}
	return x.deletions[first:last]
}

// around yields the hashes of a word's neighbourhood. Words too short for a typing error have none.
func around(w word) func(func(uint32) bool) {
	return func(yield func(uint32) bool) {
		if len(w.text) < shortestTypo {
			return
		}
		for _, text := range []string{w.text, w.sound} {
			for skip := -1; skip < len(text); skip++ {
				if !yield(without(text, skip)) {
					return
				}
			}
			if w.sound == w.text {
				return
			}
		}
	}
}

// without is FNV-1a of a text but for one letter.
func without(text string, skip int) uint32 {
	hash := uint32(2166136261)
	for i := range len(text) {
		if i != skip {
			hash = (hash ^ uint32(text[i])) * 16777619
		}
	}
	return hash
}
