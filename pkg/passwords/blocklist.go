package passwords

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Blocklist is what everybody guesses first: the embedded words and, where a file is given, its
// passwords too. It does not change, and is safe for concurrent use.
type Blocklist struct {
	// more are the passwords of the file: the first 8 bytes of the SHA-256 of each, in order.
	more []uint64
}

// Setting is the environment variable that names a larger list; without it there are the embedded
// words alone.
const Setting = "USHER_PASSWORD_BLOCKLIST"

// Open reads a file of one password a line, such as the lists of breached passwords are; 8 bytes
// of memory for each. Letters of either case are the same. No path is the embedded words alone.
func Open(path string) (*Blocklist, error) {
	b := &Blocklist{}
	if path == "" {
		return b, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Setting, err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if word := fold(strings.TrimSuffix(lines.Text(), "\r")); word != "" {
			b.more = append(b.more, digest(word))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: read line %d of %s: %w", Setting, len(b.more)+1, path, err)
	}
	if len(b.more) == 0 {
		return nil, fmt.Errorf("%s: %w", Setting, errors.New(path+" has no passwords; give one in each line"))
	}
	slices.Sort(b.more)
	b.more = slices.Clip(slices.Compact(b.more))
	return b, nil
}

func digest(word string) uint64 {
	sum := sha256.Sum256([]byte(word))
	return binary.BigEndian.Uint64(sum[:])
}

// own.txt are keyboard patterns and words of this continent, kept by hand; frequent.txt are the
// passwords that breaches show most often.
//
//go:generate go run generate.go
//go:embed own.txt
var own string

//go:embed frequent.txt
var frequent string

var embedded = sync.OnceValue(func() map[string]struct{} {
	words := make(map[string]struct{}, 8192)
	for word := range strings.FieldsSeq(own + "\n" + frequent) {
		words[word] = struct{}{}
	}
	return words
})

// longestTail is how many digits and signs after a common word leave it common.
const longestTail = 6

// shortestStem is how long such a word must be: what is left of a shorter one is its tail.
const shortestStem = 3

var unleet = strings.NewReplacer("@", "a", "4", "a", "3", "e", "1", "i", "!", "i", "0", "o", "$", "s", "5", "s", "7", "t")

// has reports a password of the lists, also with letters written as signs ("p@ssw0rd") and with a
// short tail ("password123!"), and a password of one repeated or counted character.
func (b *Blocklist) has(folded string) bool {
	if isRun(folded) || b.lists(folded) {
		return true
	}
	words := embedded()
	word := strings.TrimRightFunc(folded, func(r rune) bool { return !unicode.IsLetter(r) })
	if len(word) < shortestStem || len(folded)-len(word) > longestTail {
		word = folded
	}
	_, stem := words[word]
	_, written := words[unleet.Replace(word)]
	return stem || written
}

// lists reports a password that stands in a list as it is.
func (b *Blocklist) lists(folded string) bool {
	if _, listed := embedded()[folded]; listed {
		return true
	}
	_, listed := slices.BinarySearch(b.more, digest(folded))
	return listed
}

// isRun reports text in which every character is the same step away from the one before.
func isRun(s string) bool {
	r := []rune(s)
	if len(r) < 3 {
		return false
	}
	step := r[1] - r[0]
	if step < -1 || step > 1 {
		return false
	}
	for i := 1; i < len(r); i++ {
		if r[i]-r[i-1] != step {
			return false
		}
	}
	return true
}
