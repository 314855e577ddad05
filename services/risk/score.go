package risk

import (
	"slices"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/tenant"
)

const highestScore = 100

// score is what the policy's rules make of the facts, with the values of those that they name.
func score(p *tenant.Policy, values rules.Values) events.Assessment {
	a := weigh(p, func(r tenant.RiskRule) (bool, error) { return r.When.Holds(values) })
	var seen []string
	for _, rule := range p.Rules {
		seen = append(seen, rule.When.Facts()...)
	}
	a.Facts = values.Shown(seen)
	return a
}

// weigh adds the points of the rules that hold, within 0 and 100, and tells which did. A rule that
// cannot be evaluated is a reason for review: it might have held.
func weigh(p *tenant.Policy, holds func(tenant.RiskRule) (bool, error)) events.Assessment {
	a := events.Assessment{Reasons: []events.Reason{}}
	for _, rule := range p.Rules {
		does, err := holds(rule)
		switch {
		case err != nil:
			a.Reasons = append(a.Reasons, events.Reason{Rule: rule.ID, Outcome: string(tenant.Review), Label: rule.Label, Failed: true})
		case does:
			a.Score += rule.Points
			a.Reasons = append(a.Reasons, events.Reason{Rule: rule.ID, Points: rule.Points, Outcome: string(rule.Outcome), Label: rule.Label})
		}
	}
	a.Score = min(max(a.Score, 0), highestScore)
	a.Level = string(levelOf(p, a.Score))
	return a
}

func levelOf(p *tenant.Policy, score int) tenant.Level {
	switch {
	case score >= p.High:
		return tenant.High
	case score >= p.Medium:
		return tenant.Medium
	}
	return tenant.Low
}

// demanded is the outcome that the reasons demand together: a refusal goes before a review.
func demanded(reasons []events.Reason) tenant.Outcome {
	for _, o := range []tenant.Outcome{tenant.Refuse, tenant.Review} {
		if slices.ContainsFunc(reasons, func(r events.Reason) bool { return r.Outcome == string(o) }) {
			return o
		}
	}
	return ""
}
