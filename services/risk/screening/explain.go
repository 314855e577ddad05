package screening

import (
	"fmt"
	"slices"
	"strings"
)

// verdict is a score and what it was made of besides the names.
type verdict struct {
	name               int
	score              int
	birth, nationality *Comparison
}

func (x *Index) explain(q question, n *listedName, a alignment, v verdict) Hit {
	ref := x.entries[n.entry]
	l, e := x.lists[ref.list], x.entry(ref)
	h := Hit{
		List: l.ID, Version: x.versions[l.ID], Entry: e.ID, Primary: e.Names[0].Text, Listed: e.Names[n.name].Text, Weak: e.Names[n.name].Weak,
		Name: v.name, Score: v.score, NameScore: a.score, CoveredPerson: a.coveredPerson, CoveredListed: a.coveredListed, Limits: a.limits,
		Birth: v.birth, Nationality: v.nationality, Pairs: []Pair{},
	}
	slices.SortFunc(a.pairs, func(a, b pairing) int { return int(q.units[a.question].at) - int(q.units[b.question].at) })
	for _, p := range a.pairs {
		listed := x.vocabulary[x.units[n.first+uint32(p.listed)].word]
		h.Pairs = append(h.Pairs, Pair{q.units[p.question].token.text, listed.text, p.how, int(p.similarity), int(p.weight)})
	}
	for i, t := range q.tokens {
		if a.person&(1<<i) == 0 {
			h.OnlyPerson = append(h.OnlyPerson, t.text)
		}
	}
	for i, u := range x.units[n.first : n.first+uint32(n.tokens)] {
		if a.listed&(1<<i) == 0 {
			h.OnlyListed = append(h.OnlyListed, x.vocabulary[u.word].text)
		}
	}
	return h
}

var saidOf = map[How]string{
	Exact:    "%s is %s",
	Spelling: "%s is another spelling of %s",
	Nickname: "%s is used for %s",
	Skeleton: "%s has the consonants of %s",
	Typo:     "%s is nearly %s",
	Initial:  "%s and %s begin with the same letter",
}

var saidOfCap = map[Cap]string{
	WeakName:   "the list calls this name a poor identifier",
	OneWord:    "only one word fits",
	CommonName: "what fits is common",
	ByInitial:  "a word fits by its first letter only",
}

var saidOfVerdict = map[Verdict]string{
	Same:        "is",
	Within:      "lies within",
	Swapped:     "has day and month swapped with",
	Near:        "is close to",
	Contradicts: "contradicts",
}

// Words explains a hit to a person, a sentence an element. The text is personal data.
func (h Hit) Words() []string {
	said := []string{fmt.Sprintf("Entry %s of list %s (version %s), %q, scores %d of 1000.", h.Entry, h.List, h.Version, h.Primary, h.Score)}
	if h.Listed != h.Primary {
		said = append(said, fmt.Sprintf("The name that fits best is %q.", h.Listed))
	}
	var pairs []string
	for _, p := range h.Pairs {
		pairs = append(pairs, fmt.Sprintf(saidOf[p.How], p.Person, p.Listed))
	}
	said = append(said, fmt.Sprintf("The names alone score %d: %s.", h.NameScore, strings.Join(pairs, "; ")))
	if len(h.OnlyPerson) > 0 {
		said = append(said, "Only the person has: "+strings.Join(h.OnlyPerson, ", ")+".")
	}
	if len(h.OnlyListed) > 0 {
		said = append(said, "Only the list has: "+strings.Join(h.OnlyListed, ", ")+".")
	}
	for _, c := range h.Limits {
		said = append(said, "The names alone do not make it sure: "+saidOfCap[c]+".")
	}
	said = append(said, h.Birth.words("The birth date")...)
	return append(said, h.Nationality.words("The nationality")...)
}

func (c *Comparison) words(what string) []string {
	if c == nil {
		return nil
	}
	return []string{fmt.Sprintf("%s %s %s %s, as listed (%+d).", what, c.Person, saidOfVerdict[c.Verdict], c.Listed, c.Effect)}
}
