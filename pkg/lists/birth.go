package lists

import (
	"regexp"
	"strings"
	"time"
)

// Birth is what a list knows of a birth date: the days from From to To, both YYYY-MM-DD and
// included. About says that the list itself is unsure.
type Birth struct {
	From  string `json:"from"`
	To    string `json:"to"`
	About bool   `json:"about,omitempty"`
}

// birthLayouts are the forms of a date that lists print, with how much time each covers.
var birthLayouts = []struct {
	layout string
	months int // 0: a day
}{
	{time.DateOnly, 0}, {"2 Jan 2006", 0}, {"02 Jan 2006", 0}, {"2006-01", 1}, {"Jan 2006", 1}, {"2006", 12},
}

var spanOfYears = regexp.MustCompile(`^(\d{4})\s*(?:-|/|to)\s*(\d{4})$`)

// parseBirth reads a day, month or year, or two of them joined by "to", optionally after
// "circa". Years before 1800 and after 2200 are typing errors.
func parseBirth(s string) (Birth, bool) {
	s = strings.TrimSpace(s)
	rest, about := cutAbout(s)
	if m := spanOfYears.FindStringSubmatch(rest); m != nil {
		rest = m[1] + " to " + m[2]
	}
	first, last, span := strings.Cut(rest, " to ")
	b, ok := parsePoint(first)
	if !ok {
		return Birth{}, false
	}
	if span {
		end, ok := parsePoint(last)
		if !ok || end.To < b.From {
			return Birth{}, false
		}
		b.To = end.To
	}
	b.About = about
	return b, true
}

func cutAbout(s string) (string, bool) {
	for _, word := range []string{"circa ", "c. ", "approximately ", "about "} {
		if len(s) > len(word) && strings.EqualFold(s[:len(word)], word) {
			return strings.TrimSpace(s[len(word):]), true
		}
	}
	return s, false
}

func parsePoint(s string) (Birth, bool) {
	s = strings.TrimSpace(s)
	for _, l := range birthLayouts {
		from, err := time.Parse(l.layout, s)
		if err != nil || from.Year() < 1800 || from.Year() > 2200 {
			continue
		}
		to := from
		if l.months > 0 {
			to = from.AddDate(0, l.months, -1)
		}
		return Birth{From: from.Format(time.DateOnly), To: to.Format(time.DateOnly)}, true
	}
	return Birth{}, false
}
