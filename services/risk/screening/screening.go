// Package screening compares persons with the lists that pkg/lists loads.
//
// A name is brought to Latin tokens (normalise.go); tokens are compared by letters, sound,
// nicknames and, for scripts without vowels, by consonants (similarity.go); the tokens of a
// person and of a listed name are paired so that the pairs weigh most, whatever their order
// (match.go). A rare token weighs more than a common one, particles and titles next to nothing
// (index.go). The birth date and nationality then corroborate or contradict (corroborate.go).
//
// Names are found by an index of deletion neighbourhoods, not by a scan: two tokens that are an
// edit apart become equal when a letter is taken out of one or both.
//
// Scores are whole numbers of 1000, computed in integers, so that the same person, lists and
// threshold give the same bytes everywhere.
//
// Libraries: golang.org/x/text normalises. mozillazg/go-pinyin (v0.21.0, July 2025) reads Han:
// 沈, 叶, 薛 and 万, common surnames, are misread by the older tables of go-unidecode.
// mozillazg/go-unidecode transliterates the other scripts; its last release, v0.2.0 of August
// 2022, is by the same author, and its tables are those of Python's Unidecode, which change
// little. Only the function ascii knows it, if a livelier one is to take its place. The edit
// distance is our own: it works on what the index found, without allocating.
package screening

import (
	"fmt"
	"log/slog"

	"github.com/usherhq/usher/pkg/lists"
)

// What scores mean, of 1000.
const (
	// Threshold is the shipped score from which on a hit is reported: evaluation_test.go holds
	// it to its recall and to false hits of at most 1 %.
	Threshold = 850
	// Sure is the score from which on a person can be taken for the listed one. A weak name, a
	// name of one word, common words and initials alone never reach it.
	Sure = 970
)

// Person is who is screened. It is personal data.
type Person struct {
	// Names are all full names: as given, of birth, in another script. Their order does not matter.
	Names []string
	// Kind limits the entries; empty means all kinds.
	Kind          lists.Kind
	BirthDate     string   // YYYY-MM-DD; empty or otherwise written: unknown
	Nationalities []string // ISO 3166-1 alpha-2
}

// LogValue keeps personal data out of logs.
func (Person) LogValue() slog.Value { return slog.StringValue("person") }

// String keeps personal data out of formatted text.
func (Person) String() string { return "person" }

// GoString keeps personal data out of formatted text.
func (p Person) GoString() string { return p.String() }

// Result is the answer about one person. It is personal data: the explanation quotes the name.
type Result struct {
	Threshold int               `json:"threshold"`
	Lists     map[string]string `json:"lists"` // version by id
	// Hits reach the threshold: the highest score first, then by list and entry. At most maxHits.
	Hits []Hit `json:"hits"`
	// More is how many further entries reach it.
	More int `json:"more,omitempty"`
	// Unread are names that could not be compared, or not wholly.
	Unread []Unread `json:"unread,omitempty"`
}

const maxHits = 25

// LogValue keeps personal data out of logs.
func (r Result) LogValue() slog.Value { return slog.StringValue(r.String()) }

// String keeps personal data out of formatted text.
func (r Result) String() string { return fmt.Sprintf("result:%d hits", len(r.Hits)) }

// GoString keeps personal data out of formatted text.
func (r Result) GoString() string { return r.String() }

// Unread is a name that was not compared as it is.
type Unread struct {
	Name   int    `json:"name"` // its index in the person's names
	Reason string `json:"reason"`
}

// Reasons of Unread.
const (
	Empty = "empty" // it has no letters and no digits
	Cut   = "cut"   // it is longer than what is compared
	// Shortened: of a word only the beginning was compared, as of listed words of that length.
	Shortened = "shortened"
)

// Hit is an entry that the person may be, explained by the name of it that fits best.
type Hit struct {
	List    string `json:"list"`
	Version string `json:"version"`
	Entry   string `json:"entry"`
	Print   string `json:"print"`   // of the entry's content: another where anything of it changes
	Primary string `json:"primary"` // the entry's primary name
	Listed  string `json:"listed"`  // the name that fits best, as listed
	Weak    bool   `json:"weak,omitempty"`
	Name    int    `json:"name"` // the index of the person's name that it fits

	Score     int `json:"score"`
	NameScore int `json:"nameScore"` // without birth date and nationality
	// Covered is how much of each name fits the other, of 1000, by weight.
	CoveredPerson int    `json:"coveredPerson"`
	CoveredListed int    `json:"coveredListed"`
	Limits        []Cap  `json:"limits,omitempty"` // what keeps the name alone from being sure
	Pairs         []Pair `json:"pairs"`
	// Only* are tokens without counterpart.
	OnlyPerson []string `json:"onlyPerson,omitempty"`
	OnlyListed []string `json:"onlyListed,omitempty"`

	Birth       *Comparison `json:"birth,omitempty"`
	Nationality *Comparison `json:"nationality,omitempty"`
}

// LogValue keeps personal data out of logs.
func (h Hit) LogValue() slog.Value { return slog.StringValue(h.String()) }

// String keeps personal data out of formatted text.
func (h Hit) String() string { return "hit:" + h.List + "/" + h.Entry }

// GoString keeps personal data out of formatted text.
func (h Hit) GoString() string { return h.String() }

// Sure tells whether the score is high enough to take the person for the listed one.
func (h Hit) Sure() bool { return h.Score >= Sure }

// Cap is why a name alone does not make a sure hit.
type Cap string

// Caps.
const (
	WeakName   Cap = "weak_name"   // the publisher calls it a poor identifier
	OneWord    Cap = "one_word"    // only one token fits that is no particle
	CommonName Cap = "common_name" // all that fits is common
	ByInitial  Cap = "initial"     // a token fits by its first letter only
)

// Pair is a token of the person beside one of the list. Either may be two words of its name
// written together.
type Pair struct {
	Person     string `json:"person"`
	Listed     string `json:"listed"`
	How        How    `json:"how"`
	Similarity int    `json:"similarity"`
	Weight     int    `json:"weight"`
}

// Comparison is what a birth date or nationality does to the score.
type Comparison struct {
	Verdict Verdict `json:"verdict"`
	Person  string  `json:"person"`
	Listed  string  `json:"listed"` // the value of the entry that decided
	Effect  int     `json:"effect"` // points added to the name's score
}

// Verdict is the outcome of a comparison.
type Verdict string

// Verdicts, the most corroborating first.
const (
	Same        Verdict = "same"
	Within      Verdict = "within"  // in the time that the list gives
	Swapped     Verdict = "swapped" // day and month
	Near        Verdict = "near"    // a year off, or about what the list is unsure of
	Contradicts Verdict = "contradicts"
)
