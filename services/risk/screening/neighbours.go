package screening

import "slices"

// neighbour is a listed word that a unit of the person is similar to.
type neighbour struct {
	word       uint32
	similarity int16
	how        How
}

// neighbours are all listed words similar to a token, each once, in no particular order.
func (x *Index) neighbours(s *scratch, q word, single bool) []neighbour {
	s.found = s.found[:0]
	s.turn()
	id, listed := x.ids[token{q.text, q.consonants}]
	known := listed && x.known[id]
	x.consider(s, q, known, x.bySound[q.sound])
	if q.consonants || single {
		x.bySkeletons(s, q)
	}
	if single && !q.consonants {
		x.byNickname(s, q)
	}
	for hash := range around(q) {
		for _, d := range x.at(hash) {
			x.considerOne(s, q, known, d.word)
		}
	}
	return s.found
}

// bySkeletons finds the words of the other kind of script with the same consonants.
func (x *Index) bySkeletons(s *scratch, q word) {
	for _, id := range x.bySkeleton[q.skeleton] {
		if x.vocabulary[id].consonants != q.consonants {
			x.considerOne(s, q, false, id)
		}
	}
}

func (x *Index) byNickname(s *scratch, q word) {
	for _, name := range nicknames[q.text] {
		id, listed := x.ids[token{text: name}]
		if !listed || name == q.text {
			continue
		}
		i := slices.IndexFunc(s.found, func(n neighbour) bool { return n.word == id })
		switch {
		case i < 0:
			s.seen[id] = s.now
			s.found = append(s.found, neighbour{id, asNickname, Nickname})
		case s.found[i].similarity < asNickname:
			s.found[i] = neighbour{id, asNickname, Nickname}
		}
	}
}

func (x *Index) consider(s *scratch, q word, known bool, ids []uint32) {
	for _, id := range ids {
		x.considerOne(s, q, known, id)
	}
}

func (x *Index) considerOne(s *scratch, q word, known bool, id uint32) {
	if s.seen[id] == s.now {
		return
	}
	s.seen[id] = s.now
	if similar, how := similarity(q, x.vocabulary[id], known); similar >= leastSimilarity {
		s.found = append(s.found, neighbour{id, int16(similar), how})
	}
}
