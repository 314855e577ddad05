package risk

import (
	"maps"
	"slices"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/risk/screening"
)

// screened is what screening says of a registration. It names nobody.
type screened struct {
	hits     []events.Hit
	prints   map[string]string // of the entries that hits name, by list/entry: their content
	more     int
	pep      bool   // one is politically exposed
	versions string // as in events.Versions
	reasons  []events.Reason
}

// screen compares the applicant with the policy's lists. ok is false while these are not usable.
func (s *service) screen(p *tenant.Screening, a events.Applicant) (found screened, ok bool) {
	if p.Off {
		return screened{reasons: []events.Reason{}}, true
	}
	outage := screened{reasons: []events.Reason{{Rule: tenant.ScreeningOutage, Outcome: string(tenant.Review)}}}
	if !s.lists.usable(p) {
		return outage, false
	}
	found, err := s.lists.screen(p, a)
	if err != nil {
		return outage, false
	}
	return found, true
}

// screen compares a person with the policy's lists in use, whatever their age.
func (s *screener) screen(p *tenant.Screening, a events.Applicant) (found screened, err error) {
	result, err := s.Screen(personOf(a), p.ReviewAt, p.Lists...)
	if err != nil {
		return screened{}, err
	}
	found.versions, found.more, found.prints = versionsOf(result.Lists), result.More, map[string]string{}
	for _, h := range result.Hits {
		found.hits = append(found.hits, events.Hit{List: h.List, Entry: h.Entry, Score: h.Score})
		found.prints[h.List+"/"+h.Entry] = h.Print
		found.pep = found.pep || slices.Contains(p.PEPLists, h.List)
	}
	unread := slices.ContainsFunc(result.Unread, func(u screening.Unread) bool { return u.Reason != screening.Shortened })
	found.reasons = reasonsOf(p, found.hits, found.more, unread)
	return found, nil
}

// reasonsOf is what the policy makes of hits and of how many more there are. unread tells of a name
// that could not be compared as it is.
func reasonsOf(p *tenant.Screening, hits []events.Hit, more int, unread bool) []events.Reason {
	reasons := hitReasons(p, hits, more)
	if unread {
		reasons = append(reasons, events.Reason{Rule: tenant.ScreeningUnread, Outcome: string(tenant.Review)})
	}
	return reasons
}

// hitReasons is what the policy makes of hits, the highest score first, and of how many more there
// are. By default nobody is refused for a name.
func hitReasons(p *tenant.Screening, hits []events.Hit, more int) []events.Reason {
	outcome := tenant.Review
	switch {
	case len(hits)+more == 0:
		return []events.Reason{}
	case len(hits) > 0 && p.RefuseAt > 0 && hits[0].Score >= p.RefuseAt:
		outcome = tenant.Refuse
	}
	return []events.Reason{{Rule: tenant.ScreeningHit, Outcome: string(outcome)}}
}

// personOf is whom the lists are searched for. A company is also looked for among the listed
// organisations.
func personOf(a events.Applicant) screening.Person {
	name := strings.Join(strings.Fields(a.GivenName+" "+a.MiddleName+" "+a.FamilyName), " ")
	p := screening.Person{Kind: lists.Individual, BirthDate: a.BirthDate}
	if a.CompanyName != "" {
		p.Kind = ""
		p.Names = append(p.Names, a.CompanyName)
	}
	if name != "" || len(p.Names) == 0 {
		p.Names = append(p.Names, name)
	}
	if len(a.Nationality) == 2 {
		p.Nationalities = []string{a.Nationality}
	}
	return p
}

// tell adds what screening found to the facts of the rules.
func (found screened) tell(f *rules.Facts) {
	f.Screened = found.versions != ""
	f.ScreeningHits = len(found.hits) + found.more
	for _, h := range found.hits {
		f.ScreeningScore = max(f.ScreeningScore, h.Score)
		if !slices.Contains(f.ScreeningLists, h.List) {
			f.ScreeningLists = append(f.ScreeningLists, h.List)
		}
	}
	slices.Sort(f.ScreeningLists)
}

func versionsOf(lists map[string]string) string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(lists)) {
		all = append(all, id+"="+lists[id])
	}
	return strings.Join(all, " ")
}
