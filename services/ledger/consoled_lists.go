package ledger

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/ledger/console"
)

type consoleLists struct{ api *api }

func (c consoleLists) Loaded() []console.List { return c.api.lists.loaded() }

// How far back it is looked for what risk has told.
const (
	listsSince = 400 * 24 * time.Hour // versions that came into use
	runsSince  = 60 * 24 * time.Hour
	runsShown  = 50
)

func (c consoleLists) Screening(ctx context.Context, tenant string) (console.Screening, error) {
	activated, err := c.api.env.Bus.FactsSince(ctx, tenant, events.FactList, time.Now().Add(-listsSince))
	if err != nil {
		return console.Screening{}, err
	}
	runs, err := c.api.env.Bus.FactsSince(ctx, tenant, events.FactScreening, time.Now().Add(-runsSince))
	return screeningOf(activated, runs), err
}

// screeningOf is what facts of lists and of runs tell, both the oldest first. That a version is in use
// is told once: one that came back is known by the run that it began.
func screeningOf(activated, runs []events.Record) (s console.Screening) {
	versions, last := map[string]console.ListUse{}, map[string]console.ListUse{}
	for _, r := range activated {
		if e, is := r.Event.(events.ListActivated); is {
			use := console.ListUse{ListActivated: e, At: r.Stored}
			versions[e.List+"="+e.Version], last[e.List] = use, use
		}
	}
	for _, r := range slices.Backward(runs) {
		switch e := r.Event.(type) {
		case events.CustomersScreening:
			if s.Under == nil && len(s.Runs) == 0 {
				s.Under = &console.RunUnderWay{CustomersScreening: e, At: r.Stored}
			}
		case events.CustomersScreened:
			if len(s.Runs) < runsShown {
				s.Runs = append(s.Runs, console.Run{CustomersScreened: e, At: r.Stored})
			}
		}
	}
	began, at := newestRun(s)
	for version := range strings.FieldsSeq(began) {
		if use, told := versions[version]; told && at.After(last[use.List].At) && use != last[use.List] {
			use.At = at
			last[use.List] = use
		}
	}
	if s.Under != nil && at.Before(latest(last)) {
		s.Under = nil // other lists have come into use since
	}
	for _, use := range last {
		s.Used = append(s.Used, use)
	}
	slices.SortFunc(s.Used, func(a, b console.ListUse) int { return strings.Compare(a.List, b.List) })
	return s
}

// newestRun tells the lists of the newest run, and when that was told.
func newestRun(s console.Screening) (lists string, at time.Time) {
	switch {
	case s.Under != nil:
		return s.Under.Lists, s.Under.At
	case len(s.Runs) > 0:
		return s.Runs[0].Lists, s.Runs[0].At
	}
	return "", time.Time{}
}

// latest is when the newest of versions came into use.
func latest(used map[string]console.ListUse) (at time.Time) {
	for _, use := range used {
		if use.At.After(at) {
			at = use.At
		}
	}
	return at
}
