package screening

import "strings"

// digraphs are letters that stand for one sound, and the letter it is written as here. Longer
// ones come first.
var digraphs = []struct{ spelled, sound string }{
	{"shch", "$"}, {"dzh", "j"}, {"tch", "%"}, {"sch", "$"},
	{"sh", "$"}, {"ch", "%"}, {"kh", "h"}, {"gh", "g"}, {"ph", "f"}, {"th", "t"}, {"dh", "d"},
	{"bh", "b"}, {"zh", "j"}, {"dj", "j"}, {"ck", "k"}, {"ts", "z"}, {"tz", "z"},
	{"ou", "u"}, {"oo", "u"}, {"ee", "i"}, {"ie", "i"},
	{"ce", "sa"}, {"ci", "si"}, {"cy", "si"},
}

// sounds are single letters that several spellings of one name interchange.
var sounds = [256]byte{'e': 'a', 'o': 'u', 'y': 'i', 'c': 'k', 'q': 'k', 'w': 'v'}

// sound folds a token so that usual transcriptions of one name become equal: mohammed and
// muhamad, yousef and yusuf nearly, qaddafi and kadhafi.
func sound(text string) string {
	folded := make([]byte, 0, len(text)+2)
	for len(text) > 0 {
		s, n := nextSound(text)
		for i := range len(s) {
			if len(folded) == 0 || folded[len(folded)-1] != s[i] {
				folded = append(folded, s[i])
			}
		}
		text = text[n:]
	}
	if n := len(folded); n > 2 && folded[n-1] == 'h' && vowel(folded[n-2]) {
		folded = folded[:n-1]
	}
	return string(folded)
}

func nextSound(text string) (string, int) {
	for _, d := range digraphs {
		if strings.HasPrefix(text, d.spelled) {
			return d.sound, len(d.spelled)
		}
	}
	switch {
	case text[0] == 'x':
		return "ks", 1
	case sounds[text[0]] != 0:
		return string(sounds[text[0]]), 1
	}
	return text[:1], 1
}

func vowel(b byte) bool { return b == 'a' || b == 'i' || b == 'u' }

// skeleton is what remains of a sound in scripts without vowels: v stands for waw there, i for
// yod, and h at the end for a mute letter.
func skeleton(sound string) string {
	bare := make([]byte, 0, len(sound))
	for i := range len(sound) {
		b := sound[i]
		mute := vowel(b) || b == 'v' || b == 'h' && i == len(sound)-1
		if !mute && (len(bare) == 0 || bare[len(bare)-1] != b) {
			bare = append(bare, b)
		}
	}
	return string(bare)
}
