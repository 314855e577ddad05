package tenant

import (
	"slices"
	"time"

	"github.com/usherhq/usher/pkg/rules"
)

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

// Policy scores a registration: the points of the rules that hold, from 0 to 100.
type Policy struct {
	Version string     `yaml:"version"`
	Medium  int        `yaml:"medium"` // from this score on; default 40
	High    int        `yaml:"high"`   // from this score on; default 70
	Rules   []RiskRule `yaml:"rules"`
	// Screening is required: who does not screen says so.
	Screening *Screening `yaml:"screening"`
	// MaxReview is how long a person may take to decide; default 72h. Then Unreviewed decides.
	MaxReview  Duration `yaml:"maxReview"`
	Unreviewed Outcome  `yaml:"unreviewed"` // refuse (default) or approve
	// FourEyes demands of an approval that a second person, who has MaxReview as well, gives it too.
	FourEyes bool `yaml:"fourEyes"`
}

func (p *Policy) setDefaults() {
	p.Medium, p.High = 40, 70
	p.MaxReview, p.Unreviewed = Duration(72*time.Hour), Refuse
}

// LongestReview is how long reviews of one registration may take together.
func (p *Policy) LongestReview() Duration {
	if p.FourEyes {
		return 2 * p.MaxReview
	}
	return p.MaxReview
}

// Asks reports whether a rule uses one of the facts.
func (p *Policy) Asks(facts ...string) bool {
	return slices.ContainsFunc(p.Rules, func(r RiskRule) bool {
		return slices.ContainsFunc(r.When.Facts(), func(f string) bool { return slices.Contains(facts, f) })
	})
}

// Screening compares applicants with lists. Either it is off or it names lists.
type Screening struct {
	Off      bool     `yaml:"off"`
	Lists    []string `yaml:"lists"`    // ids of lists, all of which must be there
	PEPLists []string `yaml:"pepLists"` // those of them that list politically exposed persons
	ReviewAt int      `yaml:"reviewAt"` // a person decides from this score of 1000 on; default 850
	RefuseAt int      `yaml:"refuseAt"` // refused from this score of 1000 on; default 0, never
	// MaxAge is how long ago a list may last have been fetched; default 0, no limit.
	MaxAge Duration `yaml:"maxAge"`
	// Outage is what happens while a list is missing or older than MaxAge: wait (default), until it
	// is back and at most MaxWait, or review. It is never a pass.
	Outage  Outcome  `yaml:"outage"`
	MaxWait Duration `yaml:"maxWait"` // after it a person decides; default 24h
}

func (s *Screening) setDefaults() {
	s.ReviewAt, s.Outage, s.MaxWait = 850, Wait, Duration(24*time.Hour)
}

// RiskRule adds points, or has an outcome, or both, where its condition holds.
type RiskRule struct {
	ID      string          `yaml:"id"`
	When    rules.Condition `yaml:"when"`    // an expression in CEL on the facts
	Points  int             `yaml:"points"`  // may be negative
	Outcome Outcome         `yaml:"outcome"` // refuse or review, whatever the score; default none
	Label   string          `yaml:"label"`
}

// Outcome is what is to become of a registration. Of what rules demand Refuse goes before Review.
type Outcome string

const (
	Refuse  Outcome = "refuse"  // the registration is turned down
	Review  Outcome = "review"  // a person decides
	Wait    Outcome = "wait"    // until the lists are there
	Approve Outcome = "approve" // the registration goes on
)
