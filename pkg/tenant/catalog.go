package tenant

import "slices"

// Level of risk of a category and of an assessment.
type Level string

const (
	Low    Level = "LOW"
	Medium Level = "MEDIUM"
	High   Level = "HIGH"
)

// Rank orders levels: LOW 0, MEDIUM 1, HIGH 2, anything else -1.
func (l Level) Rank() int { return slices.Index([]Level{Low, Medium, High}, l) }

// Catalog are the categories of customers.
type Catalog struct {
	Version         string      `yaml:"version"`
	DefaultCategory string      `yaml:"defaultCategory"` // for a registration that claims none
	Categories      []*Category `yaml:"categories"`
}

// Category has two ids, and is found by either. Ids are opaque.
type Category struct {
	DatabaseID  string    `yaml:"databaseId"`
	CategoryID  string    `yaml:"categoryId"`
	Name        string    `yaml:"name"`
	Description string    `yaml:"description"`
	Level       Level     `yaml:"level"`
	Features    []Feature `yaml:"features"`
}

// Feature is a feature of a category, with the values its keys may have.
type Feature struct {
	DatabaseID    string              `yaml:"databaseId"`
	Code          string              `yaml:"code"`
	Name          string              `yaml:"name"`
	MandatoryKeys []string            `yaml:"mandatoryKeys"`
	AllowedValues map[string][]string `yaml:"allowedValues"`
}

// Find looks a category up by either of its ids.
func (c *Catalog) Find(id string) (*Category, bool) {
	i := slices.IndexFunc(c.Categories, func(k *Category) bool { return k.CategoryID == id || k.DatabaseID == id })
	if i < 0 {
		return nil, false
	}
	return c.Categories[i], true
}

// Policy scores a registration: the points of the rules that match, from 0 to 100.
type Policy struct {
	Version string     `yaml:"version"`
	Medium  int        `yaml:"medium"` // from this score on; default 40
	High    int        `yaml:"high"`   // from this score on; default 70
	Rules   []RiskRule `yaml:"rules"`
}

func (p *Policy) setDefaults() { p.Medium, p.High = 40, 70 }

// RiskRule adds points where a fact is among the values In, or is a number at least AtLeast
// or below Below. It has exactly one of the three.
type RiskRule struct {
	ID      string   `yaml:"id"`
	Fact    string   `yaml:"fact"` // nationality, residence, emailDomain, age, channel
	In      []string `yaml:"in"`
	AtLeast *int     `yaml:"atLeast"`
	Below   *int     `yaml:"below"`
	Points  int      `yaml:"points"` // may be negative
	Label   string   `yaml:"label"`
}
