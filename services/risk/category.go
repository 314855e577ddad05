package risk

import (
	"slices"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

func claimed(c *events.CategoryClaim) string {
	if c == nil {
		return ""
	}
	return c.ID
}

// assign honours a claim at or above the assessed risk. A claim below it, and no claim, get
// the first category of the assessed level; without a claim the lowest level is the default
// category.
func assign(catalog *tenant.Catalog, claim *events.CategoryClaim, found events.Assessment) (events.Category, []events.Feature) {
	level := tenant.Level(found.Level)
	category, _ := catalog.Find(catalog.DefaultCategory)
	if claim != nil {
		if k, known := catalog.Find(claim.ID); known {
			category = k
		}
	}
	if category.Level.Rank() < level.Rank() {
		category = ofLevel(catalog, level)
	}
	return events.Category{ID: category.CategoryID, Name: category.Name, Description: category.Description}, features(category, claim, found)
}

// ofLevel is the first category of a level, or the one of the highest level below it.
func ofLevel(catalog *tenant.Catalog, level tenant.Level) *tenant.Category {
	best := catalog.Categories[0]
	for _, k := range catalog.Categories {
		if k.Level == level {
			return k
		}
		if k.Level.Rank() < level.Rank() && k.Level.Rank() > best.Level.Rank() {
			best = k
		}
	}
	return best
}

// features lists the category's features with the claimed values it allows; other values count
// as not sent. Mandatory keys without a value get the one that the assessed risk selects.
func features(category *tenant.Category, claim *events.CategoryClaim, found events.Assessment) []events.Feature {
	list := []events.Feature{}
	for _, f := range category.Features {
		list = append(list, events.Feature{ID: f.DatabaseID, Code: f.Code, Enabled: true, Parameters: parameters(f, claim, found)})
	}
	return list
}

func parameters(f tenant.Feature, claim *events.CategoryClaim, found events.Assessment) []events.Parameter {
	list := []events.Parameter{}
	has := func(key string) bool {
		return slices.ContainsFunc(list, func(p events.Parameter) bool { return p.Name == key })
	}
	for _, p := range claimedParameters(claim, f) {
		if key, known := f.Key(p.Name); known && !has(key) && slices.Contains(f.AllowedValues[key], p.Value) {
			list = append(list, events.Parameter{Name: key, Value: p.Value})
		}
	}
	for _, key := range f.MandatoryKeys {
		if !has(key) {
			list = append(list, events.Parameter{Name: key, Value: f.Select(key, tenant.Level(found.Level), found.Score, found.PEP)})
		}
	}
	return list
}

// claimedParameters are those of every claimed feature that is f.
func claimedParameters(claim *events.CategoryClaim, f tenant.Feature) (list []events.Parameter) {
	if claim == nil {
		return nil
	}
	for _, c := range claim.Features {
		if c.ID == f.DatabaseID || c.Code == f.Code {
			list = append(list, c.Parameters...)
		}
	}
	return list
}
