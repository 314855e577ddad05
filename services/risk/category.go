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
	return events.Category{ID: category.CategoryID, Name: category.Name, Description: category.Description}, features(category, claim)
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

// features lists the category's features with the claimed values it allows; other values
// count as not sent.
func features(category *tenant.Category, claim *events.CategoryClaim) []events.Feature {
	list := []events.Feature{}
	for _, f := range category.Features {
		assigned := events.Feature{ID: f.DatabaseID, Code: f.Code, Enabled: true, Parameters: []events.Parameter{}}
		for _, p := range claimedParameters(claim, f) {
			if slices.Contains(f.AllowedValues[p.Name], p.Value) {
				assigned.Parameters = append(assigned.Parameters, p)
			}
		}
		list = append(list, assigned)
	}
	return list
}

func claimedParameters(claim *events.CategoryClaim, f tenant.Feature) []events.Parameter {
	if claim == nil {
		return nil
	}
	i := slices.IndexFunc(claim.Features, func(c events.FeatureClaim) bool { return c.ID == f.DatabaseID || c.Code == f.Code })
	if i < 0 {
		return nil
	}
	return claim.Features[i].Parameters
}
