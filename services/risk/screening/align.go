package screening

import (
	"cmp"
	"slices"
)

// pairing is a unit of the person beside a unit of a listed name.
type pairing struct {
	question   uint8 // index in question.units
	listed     uint8 // index in the name's units
	how        How
	similarity int32
	weight     int32
	same       bool // the same word, written as one on both sides
}

// compare puts the same words first, then what contributes most.
func (p pairing) compare(o pairing) int {
	switch {
	case p.same && !o.same:
		return -1
	case o.same && !p.same:
		return 1
	}
	return cmp.Or(cmp.Compare(o.similarity*o.weight, p.similarity*p.weight), cmp.Compare(p.question, o.question), cmp.Compare(p.listed, o.listed))
}

// alignment is how a name of the person fits a listed one.
type alignment struct {
	pairs          []pairing
	person, listed uint32                          // bits of the tokens that are paired
	firm           struct{ person, listed uint32 } // initials of the person, and what is not paired by initials

	score                        int
	coveredPerson, coveredListed int
	matched                      int // weight that fits
	limits                       []Cap
}

// align pairs tokens, each at most once.
func (x *Index) align(s *scratch, q question, n *listedName) alignment {
	s.pairs = s.pairs[:0]
	for i, u := range x.units[n.first:n.last] {
		for l := s.linked(u.word); l != noLink; l = s.links[l].next {
			link := s.links[l]
			if u.span > 1 && q.units[link.unit].span > 1 {
				continue
			}
			same := link.how == Exact && u.span == 1 && q.units[link.unit].span == 1
			s.pairs = append(s.pairs, pairing{link.unit, uint8(i), link.how, int32(link.similarity), x.unitWeight(n, u), same})
		}
	}
	slices.SortFunc(s.pairs, pairing.compare)
	var a alignment
	for _, p := range s.pairs {
		a.take(p, q.units[p.question].bits(), x.units[n.first+uint32(p.listed)].bits())
	}
	x.initials(&a, q, n)
	x.measure(&a, q, n)
	return a
}

func (p placed) bits() uint32 { return bits(p.at, p.span) }
func (u unit) bits() uint32   { return bits(u.at, u.span) }

func bits(at, span uint8) uint32 { return (1<<span - 1) << at }

// take keeps a pair unless one of its tokens has a partner already.
func (a *alignment) take(p pairing, person, listed uint32) {
	if a.person&person == 0 && a.listed&listed == 0 {
		a.person |= person
		a.listed |= listed
		a.pairs = append(a.pairs, p)
	}
}

// initials pairs what is left by first letters, where one side has nothing but the letter.
func (x *Index) initials(a *alignment, q question, n *listedName) {
	a.firm.person, a.firm.listed = a.person, a.listed
	for i, t := range q.tokens {
		if len(t.text) == 1 {
			a.firm.person |= bits(uint8(i), 1)
		}
		for j := range int(n.tokens) {
			u := x.units[n.first+uint32(j)]
			listed := x.vocabulary[u.word].text
			if t.text[0] == listed[0] && (len(t.text) == 1) != (len(listed) == 1) {
				weight := max(x.weights[u.word], int32(q.weights[i]))
				a.take(pairing{question: uint8(i), listed: uint8(j), how: Initial, similarity: asInitial, weight: weight}, bits(uint8(i), 1), u.bits())
			}
		}
	}
}

// measure computes how much of each name is covered, and the score.
func (x *Index) measure(a *alignment, q question, n *listedName) {
	fits, paired := 0, 0
	for _, p := range a.pairs {
		fits += int(p.similarity) * int(p.weight)
		paired += int(p.weight)
	}
	a.matched = paired
	person, listed := paired, paired
	for i, w := range q.weights {
		if a.person&(1<<i) == 0 {
			person += w
		}
	}
	for i, u := range x.units[n.first : n.first+uint32(n.tokens)] {
		if a.listed&(1<<i) == 0 {
			listed += int(x.weights[u.word])
		}
	}
	a.coveredPerson, a.coveredListed = fits/max(person, 1), fits/max(listed, 1)
	less, more, share := a.coveredPerson, a.coveredListed, shareOnlyPerson
	if less > more {
		less, more, share = more, less, shareOnlyListed
	}
	a.score = less + (more-less)*share/1000
}

// limit caps what a name alone can score. words are those that fit and are no particles.
func (a *alignment) limit(weak bool, words int, q question) {
	highest := 1000
	apply := func(is bool, c Cap, most int) {
		if is {
			a.limits = append(a.limits, c)
			highest = min(highest, most)
		}
	}
	apply(weak, WeakName, capped)
	apply(words < 2, OneWord, capped)
	apply(a.matched < commonEvidence, CommonName, capped)
	apply(a.firm.listed != a.listed, ByInitial, capped)
	if weak && words < 2 {
		highest = cappedWeakWord
	}
	if words < 2 && a.firm.person != 1<<len(q.tokens)-1 {
		highest = cappedOneOfMany
	}
	a.score = min(a.score, highest)
}

// words counts the listed tokens that fit, not by initials, and are no particles.
func (x *Index) words(a *alignment, n *listedName) int {
	count := 0
	for i := range int(n.tokens) {
		w := x.vocabulary[x.units[n.first+uint32(i)].word]
		if a.firm.listed&(1<<i) != 0 && !particles[w.text] && len(w.text) > 1 {
			count++
		}
	}
	return count
}
