package screening

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mozillazg/go-pinyin"
	"github.com/mozillazg/go-unidecode"
	"golang.org/x/text/unicode/norm"
)

// How much of a name is looked at. No register prints longer ones; what is cut off is noted.
const (
	maxRunes  = 512
	maxTokens = 24
	maxToken  = 100 // letters of a token; no register takes longer names
)

// token is a word of a name in lower-case ASCII letters and digits.
type token struct {
	text string
	// consonants: the word was written in a script without short vowels, and has none.
	consonants bool
}

// normalised is a name as it is compared.
type normalised struct {
	tokens    []token
	cut       bool // longer than what is looked at
	shortened bool // a word of it is
}

// normalise brings a name of any script to tokens: compatibility forms composed, case and
// diacritics gone, other scripts transliterated, Han read as pinyin a character at a time,
// apostrophes taken out, and divided at everything that is no letter or digit. A name without
// letters and digits has no tokens. It never fails, also not on bytes that are not UTF-8.
func normalise(name string) normalised {
	n := normalised{}
	name, n.cut = cut(strings.ToValidUTF8(name, " "))
	for _, word := range words(norm.NFKC.String(name)) {
		for _, t := range latin(word) {
			if len(n.tokens) == maxTokens {
				n.cut = true
				return n
			}
			if len(t.text) > maxToken {
				t.text, n.shortened = t.text[:maxToken], true
			}
			n.tokens = append(n.tokens, t)
		}
	}
	return n
}

func cut(s string) (string, bool) {
	runes := 0
	for i := range s {
		if runes++; runes > maxRunes {
			return s[:i], true
		}
	}
	return s, false
}

// apostrophes and their like belong to the word around them.
const apostrophes = "'’‘`´ʼʻʿʾ′"

// words divides text where a token ends. Han characters are words of their own.
func words(s string) []string {
	var all []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			all = append(all, word.String())
			word.Reset()
		}
	}
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Han, r):
			flush()
			all = append(all, string(r))
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			word.WriteRune(r)
		case strings.ContainsRune(apostrophes, r), unicode.Is(unicode.Cf, r):
		default:
			flush()
		}
	}
	flush()
	return all
}

// latin transliterates a word, to several tokens where it is written together in its script.
func latin(word string) []token {
	first, _ := utf8.DecodeRuneInString(word)
	switch {
	case unicode.Is(unicode.Han, first):
		return spelled(han(first), false)
	case unicode.In(first, unicode.Arabic, unicode.Hebrew):
		return vowelless(word)
	}
	if unicode.Is(unicode.Greek, first) {
		word = greek.Replace(word)
	}
	return spelled(ascii(word), false)
}

// greek are the letters that the transliteration reads as Ancient Greek.
var greek = strings.NewReplacer("β", "v", "Β", "V", "μπ", "b", "Μπ", "B", "ΜΠ", "B")

func han(r rune) string {
	if reading := pinyin.SinglePinyin(r, readings); len(reading) > 0 {
		return strings.ReplaceAll(reading[0], "v", "u")
	}
	return ascii(string(r))
}

// readings are pinyin without tones; they write ü as v, and people as u.
var readings = pinyin.NewArgs()

// article is the Arabic one, written together with its word.
const article = "ال"

func vowelless(word string) []token {
	word = strings.Map(func(r rune) rune {
		if unicode.IsMark(r) {
			return -1
		}
		return r
	}, word)
	if rest, has := strings.CutPrefix(word, article); has && utf8.RuneCountInString(rest) > 2 {
		return append([]token{{text: "al"}}, spelled(ascii(rest), true)...)
	}
	return spelled(ascii(word), true)
}

// ascii keeps what the transliteration says of letters and digits, in lower case.
func ascii(word string) string {
	var b strings.Builder
	for _, r := range unidecode.Unidecode(word) {
		switch {
		case r >= 'A' && r <= 'Z':
			b.WriteRune(r + 'a' - 'A')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		}
	}
	return b.String()
}

func spelled(text string, consonants bool) []token {
	if text == "" {
		return nil
	}
	return []token{{text: text, consonants: consonants}}
}

// Tokens are the words of a text as names are compared: in lower-case ASCII letters and digits,
// whatever script, case and diacritics it is written in. A text without any has none.
func Tokens(text string) []string {
	n := normalise(text)
	tokens := make([]string, len(n.tokens))
	for i, t := range n.tokens {
		tokens[i] = t.text
	}
	return tokens
}
