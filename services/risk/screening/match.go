package screening

import (
	"cmp"
	"maps"
	"slices"

	"github.com/usherhq/usher/pkg/lists"
)

// From coverage to the score of a name.
const (
	// How much of the difference between the two coverages counts, of 1000. That a list has
	// more names than the person gave costs less than that the person has others.
	shareOnlyListed = 600
	shareOnlyPerson = 400
	// leastNameScore is what a name must reach for birth date and nationality to be looked at.
	leastNameScore = 750
	// leastCovered is how much of a listed name must fit for that, of 1000.
	leastCovered = 1000 * (leastNameScore - shareOnlyListed) / (1000 - shareOnlyListed)
	// Names alone are capped below Sure; where one word of several fits, below Threshold.
	capped          = 940
	cappedWeakWord  = 900
	cappedOneOfMany = 840
	// commonEvidence is the weight of what fits below which it is common.
	commonEvidence = 1000
)

// Screen compares a person with the lists of these ids, or with all. threshold is of 1000; Threshold
// is the shipped one. A lower one finds more, but no name that by itself scores below
// leastNameScore. How rare a word is tells the index as a whole: the result names all versions.
func (x *Index) Screen(p Person, threshold int, ids ...string) Result {
	r := Result{Threshold: threshold, Lists: maps.Clone(x.versions), Hits: []Hit{}}
	s := x.scratches.Get().(*scratch)
	defer x.scratches.Put(s)
	best := map[uint32]Hit{}
	for i, name := range p.Names {
		n := normalise(name)
		switch {
		case len(n.tokens) == 0:
			r.Unread = append(r.Unread, Unread{i, Empty})
			continue
		case n.cut:
			r.Unread = append(r.Unread, Unread{i, Cut})
		case n.shortened:
			r.Unread = append(r.Unread, Unread{i, Shortened})
		}
		x.screenName(s, p, i, n.tokens, threshold, ids, best)
	}
	for id, h := range best {
		h.Print = x.entry(x.entries[id]).Print()
		r.Hits = append(r.Hits, h)
	}
	slices.SortFunc(r.Hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.List, b.List), cmp.Compare(a.Entry, b.Entry))
	})
	if r.More = max(len(r.Hits)-maxHits, 0); r.More > 0 {
		r.Hits = slices.Clip(r.Hits[:maxHits])
	}
	return r
}

// screenName keeps in best, by entry, what reaches the threshold with this name.
func (x *Index) screenName(s *scratch, p Person, name int, tokens []token, threshold int, ids []string, best map[uint32]Hit) {
	q := x.question(s, tokens)
	for _, candidate := range x.candidates(s, q, p.Kind) {
		n := &x.names[candidate]
		if len(ids) > 0 && !slices.Contains(ids, x.lists[x.entries[n.entry].list].ID) {
			continue
		}
		e := x.entry(x.entries[n.entry])
		a := x.align(s, q, n)
		a.limit(e.Names[n.name].Weak, x.words(&a, n), q)
		if a.score < leastNameScore {
			continue
		}
		birth, nationality := compareBirth(p.BirthDate, e.Births), compareNationality(p.Nationalities, e.Nationalities)
		score := a.score + birth.apply(a.score) + nationality.apply(a.score)
		score = min(max(score, 0), 1000)
		if score < threshold || score <= best[n.entry].Score {
			continue
		}
		best[n.entry] = x.explain(q, n, a, verdict{name, score, birth, nationality})
	}
}

// question is a name of a person, prepared.
type question struct {
	tokens  []token
	units   []placed
	weights []int // of the tokens
}

func (x *Index) question(s *scratch, tokens []token) question {
	q := question{tokens: tokens, units: unitsOf(tokens), weights: make([]int, len(tokens))}
	for i, t := range tokens {
		q.weights[i] = x.weight(wordOf(t))
	}
	s.forget()
	for i, u := range q.units {
		for _, n := range x.neighbours(s, wordOf(u.token), u.span == 1) {
			s.link(n, uint8(i))
		}
	}
	return q
}

// candidates are the names that can reach leastNameScore, ascending.
func (x *Index) candidates(s *scratch, q question, kind lists.Kind) []uint32 {
	s.gather(x)
	initials := q.initials()
	kept := s.touched[:0]
	for _, at := range s.touched {
		n := &x.names[at]
		if s.gains[at]+initials < n.weight*leastCovered/1000 || kind != "" && x.entry(x.entries[n.entry]).Kind != kind {
			continue
		}
		kept = append(kept, at)
	}
	slices.Sort(kept)
	return kept
}

// initials is the most that the person's initials can fit, which are no neighbours of anything.
func (q question) initials() int32 {
	most := int32(0)
	for _, t := range q.tokens {
		if len(t.text) == 1 {
			most += heaviest * asInitial / 1000
		}
	}
	return most
}
