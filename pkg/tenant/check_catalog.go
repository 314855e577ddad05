package tenant

import (
	"fmt"
	"slices"
	"strings"
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

// Facts that a risk rule may look at.
var riskFacts = []string{"nationality", "residence", "emailDomain", "age", "channel"}

func (y *Policy) check(p *problems, path string) {
	p.that(y.Version != "", path+".version", "is missing; decisions record it")
	p.that(0 < y.Medium && y.Medium < y.High && y.High <= 100, path, "needs 0 < medium < high <= 100; mend the thresholds")
	ids := owners{}
	for i, r := range y.Rules {
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		ids.claim(p, r.ID, at, ".id")
		r.check(p, at)
	}
}

func (r RiskRule) check(p *problems, path string) {
	p.that(r.ID != "", path+".id", "is missing; decisions name the rule")
	known := slices.Contains(riskFacts, r.Fact)
	p.that(known, path+".fact", "is none of %s; choose one", strings.Join(riskFacts, ", "))
	counts := r.AtLeast != nil || r.Below != nil
	p.that(!known || !counts || r.Fact == "age", path+".fact", "is no number; use in, or the fact age")
	p.that(r.Points != 0 && r.Points >= -100 && r.Points <= 100, path+".points", "is 0 or not within -100 and 100; choose within")
	conditions := 0
	for _, given := range []bool{len(r.In) > 0, r.AtLeast != nil, r.Below != nil} {
		if given {
			conditions++
		}
	}
	p.that(conditions == 1, path, "needs exactly one of in, atLeast and below; give one")
}
