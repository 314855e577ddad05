package screening

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/usherhq/usher/pkg/lists"
)

func TestNormalise(t *testing.T) {
	for text, want := range map[string]string{
		"DOE, Jane-Ann O'Brien":  "doe jane ann obrien",
		"Sa‘id  ’Ali":            "said ali",
		"Müller Straße Łódź Øre": "muller strasse lodz ore",
		"ﬁne Ｗide":               "fine wide",
		"Ждан Цой":               "zhdan tsoi",
		"Γιώργος":                "giorgos",
		"习近平":                    "xi jin ping",
		"沈万":                     "shen wan",
		"عبد الله القاشوري":      "bd llh al qshwry",
		"김정은":                    "gimjeongeun",
		"🐺 x":                    "x",
		"":                       "",
		"\xff":                   "",
		"e\u0301":                "e",
	} {
		var got []string
		for _, token := range normalise(text).tokens {
			got = append(got, token.text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", text, strings.Join(got, " "), want)
		}
	}
}

func TestSpellingsOfOneNameSoundAlike(t *testing.T) {
	for _, group := range []string{
		"mohammed muhammad mohamad muhamed", "hussein husayn hussain hossein", "yusuf yoosuf", "qadir kadir", "khalid halid",
		"sergey sergei", "osama usama", "abdullah abdulla", "qaddafi kadhafi", "jugashvili jughashvili",
	} {
		names := strings.Fields(group)
		for _, n := range names[1:] {
			if sound(n) != sound(names[0]) {
				t.Errorf("%s sounds %q, %s %q", names[0], sound(names[0]), n, sound(n))
			}
		}
	}
	for _, pair := range []string{"maria mario", "hassan hussein", "ivan ivana", "ali alia"} {
		a, b, _ := strings.Cut(pair, " ")
		if sound(a) == sound(b) {
			t.Errorf("%s and %s sound alike", a, b)
		}
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[string]int{
		"abc abc": 0, "abc abd": 1, "abc acb": 1, "abc ab": 1, "abc abcd": 1, "abcd badc": 2, "abcdef abxxef": 2, "abc xyz": 3, "a abcdefgh": 3,
	} {
		a, b, _ := strings.Cut(pair, " ")
		if got := distance(a, b); got != want || distance(b, a) != want {
			t.Errorf("%s: %d, want %d", pair, got, want)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"Jane Doe", "عبد الرحمن", "习近平", "\xff\xfe", strings.Repeat("é", 600), "a\u0300\u0301", "ﷺ", "김"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := normalise(s)
		if len(n.tokens) > maxTokens {
			t.Fatalf("%d tokens", len(n.tokens))
		}
		for _, token := range n.tokens {
			if token.text == "" || len(token.text) > maxToken || strings.Trim(token.text, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
				t.Fatalf("token %q", token.text)
			}
		}
	})
}

// FuzzScreen checks on any names, listed and asked, that scores are scores, that every token is
// accounted for once, and that a listed name is found by itself.
func FuzzScreen(f *testing.F) {
	f.Add("VOLKHARIN, Arkady", "Arkady Wolkharin", "1961-03-09")
	f.Add("عبد الرحمن", "Abd al-Rahman", "x")
	f.Add("a b c d", "d. c. b. a.", "")
	f.Add("Kim Jong-un", "Kim Jongun", "1984-99-99")
	f.Fuzz(func(t *testing.T, listed, asked, born string) {
		if !utf8.ValidString(listed) {
			return
		}
		e := lists.Entry{ID: "1", Kind: lists.Individual, Names: []lists.Name{{Text: listed}}, Births: []lists.Birth{{From: "1961-03-09", To: "1961-03-09"}}}
		x := NewIndex([]*lists.List{{ID: "l", Hash: "h", Entries: []lists.Entry{e}}})
		r := x.Screen(Person{Names: []string{asked, listed}, BirthDate: born}, 1)
		for _, h := range r.Hits {
			if h.Score < 1 || h.Score > 1000 || h.NameScore > 1000 || len(h.Pairs) == 0 || len(h.Words()) < 2 {
				t.Fatalf("hit %+v", h)
			}
		}
		itself := x.Screen(Person{Names: []string{listed}}, 700)
		if len(normalise(listed).tokens) > 0 && (len(itself.Hits) != 1 || itself.Hits[0].CoveredListed != 1000) {
			t.Fatalf("%q does not find itself: %+v", listed, itself)
		}
	})
}
