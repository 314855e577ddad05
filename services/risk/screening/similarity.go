package screening

// How tells why two tokens are taken for the same.
type How string

// Ways in which tokens match, the surest first.
const (
	Exact    How = "exact"
	Spelling How = "spelling" // another transcription of the same sounds
	Nickname How = "nickname"
	Skeleton How = "skeleton" // the same consonants, one of them from a script without vowels
	Typo     How = "typo"
	Initial  How = "initial"
)

// Similarities of tokens, of 1000.
const (
	exactly         = 1000
	sameSound       = 960
	sameShortSound  = 870 // of up to three letters
	asNickname      = 920
	sameSkeleton    = 900
	shortSkeleton   = 830 // of two consonants
	asInitial       = 750
	leastSimilarity = 700

	typoCost     = 700 // divided by the length, for each edit
	firstLetter  = 40  // people rarely mistype the first letter
	soundOnly    = 60  // close by sound, but not by letters
	anotherName  = 130 // a word that is a name itself is rarely a mistyped other name
	longForTwo   = 8   // letters from which on two edits are still the same word
	shortWord    = 3   // letters up to which sounds say little
	shortestTypo = 3   // letters below which another letter is another name
)

// word is what is compared of a token.
type word struct {
	text, sound, skeleton string
	consonants            bool
}

func wordOf(t token) word {
	s := sound(t.text)
	return word{text: t.text, sound: s, skeleton: skeleton(s), consonants: t.consonants}
}

// similarity of a token of the person to one of the list. known says that the person's is a
// name that the lists have by itself.
func similarity(q, listed word, known bool) (int, How) {
	switch {
	case q.text == listed.text && q.consonants == listed.consonants:
		return exactly, Exact
	case q.consonants != listed.consonants:
		return ofSkeletons(q.skeleton, listed.skeleton), Skeleton
	case q.sound == listed.sound && !q.consonants:
		if min(len(q.text), len(listed.text)) <= shortWord {
			return sameShortSound, Spelling
		}
		return sameSound, Spelling
	}
	return ofEdits(q, listed, known), Typo
}

func ofSkeletons(a, b string) int {
	switch {
	case a != b || len(a) < 2:
		return 0
	case len(a) == 2:
		return shortSkeleton
	}
	return sameSkeleton
}

func ofEdits(q, listed word, known bool) int {
	longest, edits, penalty := max(len(q.text), len(listed.text)), distance(q.text, listed.text), 0
	if edits > 2 {
		longest, edits, penalty = max(len(q.sound), len(listed.sound)), distance(q.sound, listed.sound), soundOnly
	}
	if edits > 2 || edits == 2 && longest < longForTwo || min(len(q.text), len(listed.text)) < shortestTypo {
		return 0
	}
	if q.text[0] != listed.text[0] {
		penalty += firstLetter
	}
	if known {
		penalty += anotherName
	}
	return 1000 - edits*typoCost/longest - penalty
}

// distance counts insertions, deletions, substitutions and swaps of neighbours, no part edited
// twice; above 2 it is 3. Both are at most maxJoined long.
func distance(a, b string) int {
	const far = 3
	if len(a)-len(b) >= far || len(b)-len(a) >= far {
		return far
	}
	var rows [3][maxJoined + 1]uint8
	before, last, now := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = uint8(j)
	}
	for i := 1; i <= len(a); i++ {
		now[0] = uint8(i)
		least := now[0]
		for j := 1; j <= len(b); j++ {
			cost := uint8(1)
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
			least = min(least, now[j])
		}
		if least >= far {
			return far
		}
		before, last, now = last, now, before
	}
	return min(far, int(last[len(b)]))
}
