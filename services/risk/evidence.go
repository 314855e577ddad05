package risk

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/tenant"
)

// evidence is what a decision of the policy keeps so that another policy can be asked what it would
// have decided. It tells of the person no more than the decision's reasons do.
type evidence struct {
	Facts rules.Kept `json:"facts"`
	// Held is what the conditions gave that use facts which are not kept, by their text's print: the
	// same condition gives the same again.
	Held map[string]bool `json:"held,omitempty"`
	// Lists were searched from the score ReviewAt on; none where screening was off.
	Lists    []string `json:"lists,omitempty"`
	ReviewAt int      `json:"reviewAt,omitempty"`
	Outage   bool     `json:"outage,omitempty"` // they were not usable
	Unread   bool     `json:"unread,omitempty"` // a name could not be compared as it is
}

// phoneFacts are derived only where a rule asks for one of them.
var phoneFacts = []string{"phone", "phoneCountry", "phoneType"}

// underived are the facts that no rule of the policy asks for and that are therefore not there.
func underived(p *tenant.Policy) (names []string) {
	if !p.Asks(phoneFacts...) {
		names = append(names, phoneFacts...)
	}
	for _, counted := range velocities {
		for _, name := range counted {
			if !p.Asks(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// evidenceOf keeps what a policy saw and came to.
func evidenceOf(p *tenant.Policy, found screened, values rules.Values, a events.Assessment) *evidence {
	e := &evidence{Facts: values.Kept(underived(p)...), Outage: has(found.reasons, tenant.ScreeningOutage), Unread: has(found.reasons, tenant.ScreeningUnread)}
	if !p.Screening.Off {
		e.Lists, e.ReviewAt = p.Screening.Lists, p.Screening.ReviewAt
	}
	for _, r := range p.Rules {
		reason := slices.IndexFunc(a.Reasons, func(one events.Reason) bool { return one.Rule == r.ID })
		if e.Facts.Tells(r.When.Facts()) || reason >= 0 && a.Reasons[reason].Failed {
			continue
		}
		if e.Held == nil {
			e.Held = map[string]bool{}
		}
		e.Held[printOf(r.When)] = reason >= 0
	}
	return e
}

func printOf(c rules.Condition) string {
	sum := sha256.Sum256([]byte(c.String()))
	return hex.EncodeToString(sum[:8])
}

func has(reasons []events.Reason, rule string) bool {
	return slices.ContainsFunc(reasons, func(r events.Reason) bool { return r.Rule == rule })
}

// screened is what a policy would have found. untold is why that cannot be told, or empty.
func (e evidence) screened(p *tenant.Screening, before events.Assessment) (found screened, untold string) {
	switch {
	case p.Off:
		return screened{reasons: []events.Reason{}}, ""
	case e.Outage:
		return screened{reasons: []events.Reason{{Rule: tenant.ScreeningOutage, Outcome: string(tenant.Review)}}}, ""
	case p.ReviewAt < e.ReviewAt:
		return found, "screening: hits below the score of then were not kept"
	}
	for _, id := range p.Lists {
		if !slices.Contains(e.Lists, id) {
			return found, "screening: list " + id + " was not searched"
		}
	}
	found.versions = before.Versions.Lists
	for _, h := range before.Hits {
		if h.Score >= p.ReviewAt && slices.Contains(p.Lists, h.List) {
			found.hits = append(found.hits, h)
		}
	}
	if len(found.hits) == len(before.Hits) {
		found.more = before.MoreHits
	}
	for _, r := range before.Reasons {
		if r.Rule == tenant.ScreeningCleared {
			found.reasons = append(found.reasons, r)
		}
	}
	found.reasons = append(found.reasons, reasonsOf(p, found.hits, found.more, e.Unread)...)
	return found, ""
}

// under is what a tenant's policy would have decided. untold names what cannot be told; the rest
// then means nothing.
func (e evidence) under(t *tenant.Tenant, claim string, before events.Assessment) (d decision, untold []string) {
	found, missing := e.screened(t.Policy.Screening, before)
	if missing != "" {
		return d, []string{missing}
	}
	values := e.Facts.Values()
	var f rules.Facts
	found.tell(&f)
	for name, value := range f.Values() {
		if slices.Contains(screeningFacts, name) {
			values[name] = value
		}
	}
	a := weigh(t.Policy, func(r tenant.RiskRule) (bool, error) {
		if e.Facts.Tells(r.When.Facts()) {
			return r.When.Holds(values)
		}
		holds, known := e.Held[printOf(r.When)]
		if !known {
			untold = append(untold, "rule "+r.ID+": a fact that it uses was not kept")
		}
		return holds, nil
	})
	a.Reasons = append(found.reasons, a.Reasons...)
	d.Found, d.Outcome = a, demanded(a.Reasons)
	var claimed *events.CategoryClaim
	if claim != "" {
		claimed = &events.CategoryClaim{ID: claim}
	}
	d.Category, _ = assign(t.Catalog, claimed, a)
	return d, untold
}

var screeningFacts = []string{"screened", "screeningScore", "screeningHits", "screeningLists"}
