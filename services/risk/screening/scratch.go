package screening

// scratch is the working memory of one search, used again by the next. What was marked in an
// earlier turn counts as unmarked, so nothing is cleared.
type scratch struct {
	now  uint32
	seen []uint32 // by word: the turn in which it was considered

	found []neighbour
	links []link   // of the question
	first []int32  // by word: its first link, valid when linked in this question
	asked []uint32 // by word: the question in which first was set
	asks  uint32

	gains   []int32  // by name: an upper bound of the weight that fits
	byUnit  []int32  // by name: what the current unit has added
	gained  []uint32 // by name: the question in which gains was set
	unit    []uint32 // by name: the turn in which byUnit was set
	touched []uint32 // names with gains

	pairs []pairing
}

// link says that a unit of the question is similar to a word; next is the word's next link.
type link struct {
	neighbour
	unit uint8
	next int32
}

const noLink = -1

func newScratch(x *Index) *scratch {
	words, names := len(x.vocabulary), len(x.names)
	return &scratch{
		seen: make([]uint32, words), first: make([]int32, words), asked: make([]uint32, words),
		gains: make([]int32, names), byUnit: make([]int32, names), gained: make([]uint32, names), unit: make([]uint32, names),
	}
}

// turn forgets what has been seen.
func (s *scratch) turn() {
	if s.now++; s.now == 0 {
		clear(s.seen)
		clear(s.unit)
		s.now = 1
	}
}

// forget begins another question.
func (s *scratch) forget() {
	s.links = s.links[:0]
	if s.asks++; s.asks == 0 {
		clear(s.asked)
		clear(s.gained)
		s.asks = 1
	}
}

func (s *scratch) link(n neighbour, unit uint8) {
	next := int32(noLink)
	if s.asked[n.word] == s.asks {
		next = s.first[n.word]
	}
	s.asked[n.word] = s.asks
	s.first[n.word] = int32(len(s.links))
	s.links = append(s.links, link{n, unit, next})
}

// linked is the first link of a word, or noLink.
func (s *scratch) linked(word uint32) int32 {
	if s.asked[word] != s.asks {
		return noLink
	}
	return s.first[word]
}

// gather sums up for every name that has a linked word what can fit at most. Links are in the
// order of their units.
func (s *scratch) gather(x *Index) {
	s.touched = s.touched[:0]
	unit := -1
	for _, l := range s.links {
		if int(l.unit) != unit {
			unit = int(l.unit)
			s.turn()
		}
		gain := int32(l.similarity) * x.reach[l.word] / 1000
		for _, name := range x.places[l.word] {
			s.gain(name, gain)
		}
	}
}

// gain adds to a name what the current unit can contribute: its best word.
func (s *scratch) gain(name uint32, gain int32) {
	if s.gained[name] != s.asks {
		s.gained[name] = s.asks
		s.gains[name] = 0
		s.touched = append(s.touched, name)
	}
	if s.unit[name] != s.now {
		s.unit[name] = s.now
		s.byUnit[name] = 0
	}
	if more := gain - s.byUnit[name]; more > 0 {
		s.byUnit[name] = gain
		s.gains[name] += more
	}
}
