package tenant

import (
	"fmt"
	"slices"
	"time"
)

func (c *Catalog) check(p *problems, path string) {
	p.that(c.Version != "", path+".version", "is missing; decisions record it")
	_, found := c.Find(c.DefaultCategory)
	p.that(c.DefaultCategory != "" && found, path+".defaultCategory", "names no category of this catalog; add it")
	ids := owners{}
	for i, category := range c.Categories {
		at := fmt.Sprintf("%s.categories[%d]", path, i)
		ids.claim(p, category.CategoryID, at, ".categoryId")
		if category.DatabaseID != category.CategoryID {
			ids.claim(p, category.DatabaseID, at, ".databaseId")
		}
		category.check(p, at)
	}
}

func (c *Category) check(p *problems, path string) {
	p.that(c.CategoryID != "", path+".categoryId", "is missing; clients claim the category by it")
	p.that(c.DatabaseID != "", path+".databaseId", "is missing; clients claim the category by it")
	p.that(c.Name != "", path+".name", "is missing; answers show it")
	p.that(c.Level.Rank() >= 0, path+".level", "is not LOW, MEDIUM or HIGH; choose one")
	codes, ids := owners{}, owners{}
	for i, f := range c.Features {
		at := fmt.Sprintf("%s.features[%d]", path, i)
		codes.claim(p, f.Code, at, ".code")
		ids.claim(p, f.DatabaseID, at, ".databaseId")
		f.check(p, at)
	}
}

func (f Feature) check(p *problems, path string) {
	p.that(f.Code != "", path+".code", "is missing; clients name the feature by it")
	p.that(f.DatabaseID != "", path+".databaseId", "is missing; clients name the feature by it")
	for i, key := range f.MandatoryKeys {
		_, listed := f.AllowedValues[key]
		p.that(listed, fmt.Sprintf("%s.mandatoryKeys[%d]", path, i), "has no allowedValues; list some for it")
	}
	for key, values := range f.AllowedValues {
		p.that(len(values) > 0, join(path+".allowedValues", key), "is empty; list a value or remove it")
	}
}

// What screening says stands in decisions under these ids; no rule has them.
const (
	ScreeningHit    = "screening-hit"
	ScreeningOutage = "screening-outage"
	ScreeningUnread = "screening-unread" // a name cannot be compared as it is
	// ScreeningCleared: a review has found before that an entry is not this person.
	ScreeningCleared = "screening-cleared"
)

const (
	// waitMargin is what remains of broker.maxAge for the pipeline itself.
	waitMargin = Duration(time.Hour)
	// lowestReview is a score below which no name is looked at.
	lowestReview = 750
)

func (y *Policy) check(p *problems, path string, maxAge Duration) {
	p.that(y.Version != "", path+".version", "is missing; decisions record it")
	p.that(0 < y.Medium && y.Medium < y.High && y.High <= 100, path, "needs 0 < medium < high <= 100; mend the thresholds")
	y.checkReview(p, path, maxAge)
	ids := owners{ScreeningHit: "screening", ScreeningOutage: "screening", ScreeningUnread: "screening", ScreeningCleared: "screening"}
	for i, r := range y.Rules {
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		ids.claim(p, r.ID, at, ".id")
		r.check(p, at)
	}
}

func (r RiskRule) check(p *problems, path string) {
	p.that(r.ID != "", path+".id", "is missing; decisions name the rule")
	p.that(!r.When.IsZero(), path+".when", "is missing; write an expression in CEL, e.g. nationality in ['KP']")
	p.that(r.Points >= -100 && r.Points <= 100, path+".points", "is not within -100 and 100; choose within")
	p.that(r.Points != 0 || r.Outcome != "", path, "has neither points nor an outcome; give one")
	p.that(slices.Contains([]Outcome{"", Refuse, Review}, r.Outcome), path+".outcome", "is neither refuse nor review; choose one or remove it")
}

// checkReview holds what may wait to what the broker keeps: older messages are dropped.
func (y *Policy) checkReview(p *problems, path string, maxAge Duration) {
	p.that(y.MaxReview > 0, path+".maxReview", "is not above 0; give e.g. 72h")
	p.that(slices.Contains([]Outcome{Refuse, Approve}, y.Unreviewed), path+".unreviewed", "is neither refuse nor approve; choose one")
	if y.Screening == nil {
		p.that(false, path+".screening", "is missing; name lists, e.g. {lists: [ofac]}, or write {off: true}")
		return
	}
	y.Screening.check(p, path+".screening")
	waits := y.LongestReview() + waitMargin
	if !y.Screening.Off {
		waits += y.Screening.MaxWait
	}
	p.that(waits <= maxAge || maxAge < waitMargin, path+".maxReview",
		"and screening.maxWait together, maxReview twice under fourEyes, come within an hour of broker.maxAge, after which registrations are dropped; shorten them")
}

func (s *Screening) check(p *problems, path string) {
	p.that(s.Off != (len(s.Lists) > 0), path, "needs either lists or off: true; give one")
	for i, id := range s.Lists {
		p.that(id != "" && !slices.Contains(s.Lists[:i], id), fmt.Sprintf("%s.lists[%d]", path, i), "is empty or there twice; give each id once")
	}
	for i, id := range s.PEPLists {
		p.that(slices.Contains(s.Lists, id), fmt.Sprintf("%s.pepLists[%d]", path, i), "is none of lists; name it there too")
	}
	p.that(s.ReviewAt >= lowestReview && s.ReviewAt <= 1000, path+".reviewAt", "is not within %d and 1000; give e.g. 850", lowestReview)
	p.that(s.RefuseAt == 0 || s.RefuseAt >= s.ReviewAt && s.RefuseAt <= 1000, path+".refuseAt", "is not within reviewAt and 1000; choose within, or 0 for never")
	p.that(s.MaxAge >= 0, path+".maxAge", "is negative; give e.g. 48h, 0 for no limit")
	p.that(slices.Contains([]Outcome{Wait, Review}, s.Outage), path+".outage", "is neither wait nor review; choose one")
	p.that(s.MaxWait >= 0, path+".maxWait", "is negative; give e.g. 24h")
}
