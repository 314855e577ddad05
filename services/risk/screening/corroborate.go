package screening

import (
	"cmp"
	"slices"
	"time"

	"github.com/usherhq/usher/pkg/lists"
)

// What a birth date or nationality does to a name's score: the share of what the name lacks
// that it adds, or the points that it takes, both of 1000.
const (
	sameDay         = 500
	withinTime      = 250
	swappedDay      = 250
	nearTime        = 100
	sameCountry     = 100
	anotherBirth    = 120
	anotherCountry  = 30
	toleranceYears  = 1
	toleranceUnsure = 3 // years around what a list is unsure of
)

// apply adds the comparison's effect to a score. A nil comparison has none.
func (c *Comparison) apply(score int) int {
	if c == nil {
		return 0
	}
	if c.Verdict == Contradicts {
		return c.Effect
	}
	c.Effect = (1000 - score) * c.Effect / 1000
	return c.Effect
}

// compareBirth compares with the listed date that corroborates most; nil when either is unknown.
func compareBirth(day string, listed []lists.Birth) *Comparison {
	born, err := time.Parse(time.DateOnly, day)
	if err != nil || len(listed) == 0 {
		return nil
	}
	var best *Comparison
	for _, b := range listed {
		verdict, effect := birthVerdict(born, day, b)
		if best == nil || effect > best.Effect {
			best = &Comparison{Verdict: verdict, Person: day, Listed: period(b), Effect: effect}
		}
	}
	return best
}

func birthVerdict(born time.Time, day string, b lists.Birth) (Verdict, int) {
	tolerance := toleranceYears
	if b.About {
		tolerance = toleranceUnsure
	}
	early, late := born.AddDate(tolerance, 0, 0).Format(time.DateOnly), born.AddDate(-tolerance, 0, 0).Format(time.DateOnly)
	swapped := day[:5] + day[8:10] + "-" + day[5:7]
	switch {
	case b.From == day && b.To == day:
		return Same, sameDay
	case b.From <= day && day <= b.To:
		return Within, withinTime
	case b.From == swapped && b.To == swapped:
		return Swapped, swappedDay
	case b.From <= early && late <= b.To:
		return Near, nearTime
	}
	return Contradicts, -anotherBirth
}

// period writes a listed birth date.
func period(b lists.Birth) string {
	text := b.From
	if b.To != b.From {
		text += " to " + b.To
	}
	if b.About {
		text = "about " + text
	}
	return text
}

// compareNationality is nil when either side is unknown.
func compareNationality(person, listed []string) *Comparison {
	codes := slices.DeleteFunc(slices.Clone(listed), func(c string) bool { return len(c) != 2 })
	if len(person) == 0 || len(codes) == 0 {
		return nil
	}
	mine := slices.Sorted(slices.Values(person))
	for _, c := range mine {
		if slices.Contains(codes, c) {
			return &Comparison{Verdict: Same, Person: c, Listed: c, Effect: sameCountry}
		}
	}
	return &Comparison{Verdict: Contradicts, Person: mine[0], Listed: slices.MinFunc(codes, cmp.Compare[string]), Effect: -anotherCountry}
}
