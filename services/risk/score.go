package risk

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

// unknown is the value of a fact that the registration does not tell.
const unknown = "unknown"

const highestScore = 100

// facts are what a policy's rules look at, by name.
type facts map[string]string

// factsOf derives the facts; the age is counted to the receipt.
func factsOf(r events.Registration, at time.Time) facts {
	f := facts{"channel": r.Channel, "nationality": unknown, "residence": unknown, "emailDomain": unknown, "age": unknown}
	if r.Applicant.Nationality != "" {
		f["nationality"] = r.Applicant.Nationality
	}
	if _, domain, ok := strings.Cut(r.Applicant.CanonicalEmail, "@"); ok {
		f["emailDomain"] = domain
	}
	if i := residence(r.Applicant.Addresses); i >= 0 {
		f["residence"] = r.Applicant.Addresses[i].Country
	}
	if born, err := time.Parse(time.DateOnly, r.Applicant.BirthDate); err == nil {
		f["age"] = strconv.Itoa(age(born, at))
	}
	return f
}

// residence is the index of the primary address with a country, else of the first, else -1.
func residence(addresses []events.Address) int {
	has := func(a events.Address) bool { return a.Country != "" }
	if i := slices.IndexFunc(addresses, func(a events.Address) bool { return a.Primary && has(a) }); i >= 0 {
		return i
	}
	return slices.IndexFunc(addresses, has)
}

// age is the number of birthdays until at.
func age(born, at time.Time) int {
	years := at.Year() - born.Year()
	if born.AddDate(years, 0, 0).After(at) {
		years--
	}
	return years
}

// score adds the points of the rules that match, within 0 and 100, and tells which did.
func score(p *tenant.Policy, f facts) events.Assessment {
	a := events.Assessment{Reasons: []events.Reason{}}
	for _, rule := range p.Rules {
		if matches(rule, f[rule.Fact]) {
			a.Score += rule.Points
			a.Reasons = append(a.Reasons, events.Reason{Rule: rule.ID, Points: rule.Points, Label: rule.Label})
		}
	}
	a.Score = min(max(a.Score, 0), highestScore)
	switch {
	case a.Score >= p.High:
		a.Level = string(tenant.High)
	case a.Score >= p.Medium:
		a.Level = string(tenant.Medium)
	default:
		a.Level = string(tenant.Low)
	}
	return a
}

func matches(rule tenant.RiskRule, value string) bool {
	if len(rule.In) > 0 {
		return slices.Contains(rule.In, value)
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return false
	}
	return rule.AtLeast != nil && n >= *rule.AtLeast || rule.Below != nil && n < *rule.Below
}
