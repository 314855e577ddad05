package risk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// Decisions reads the events that tell of a registration's stored decisions, by case version. It
// reads a store of risk; carried facts are left out.
func Decisions(ctx context.Context, b store.Backend, registration string) ([]events.Event, error) {
	decisions := store.NewDocs(b, decisionSchema, decision.fields)
	var told []events.Event
	for version := 1; ; version++ {
		d, err := decisions.Get(ctx, decisionID(registration, version))
		if errors.Is(err, store.ErrNotFound) {
			return told, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read decision: %w", err)
		}
		told = append(told, d.Value.event(events.Carried{MAC: d.Value.MAC}))
	}
}

// Explain says in plain words why risk decided as these events tell, a line an element. Other
// events are passed over. No line says anything of the person but the facts that decisions keep.
func Explain(told []events.Event) (lines []string) {
	for _, e := range told {
		switch e := e.(type) {
		case events.Categorized:
			lines = append(lines, fmt.Sprintf("Case %d, decided by %s: category %s.", e.Case, e.By, e.Category.ID))
			if e.Claimed != "" && e.Claimed != e.Category.ID {
				lines = append(lines, "  The client asked for "+e.Claimed+".")
			}
			lines = append(lines, why(e.Assessment)...)
		case events.ReviewRequired:
			lines = append(lines, fmt.Sprintf("Case %d, decided by %s: a person has to decide, as case %d.", e.Case, e.By, e.NextCase))
			lines = append(lines, why(e.Assessment)...)
		case events.ScreeningWait:
			lines = append(lines, fmt.Sprintf("Case %d: waits, because lists of the policy were missing or too old; it goes on by itself as case %d.", e.Case, e.NextCase), under(e.Versions))
		case events.ReviewDecided:
			verdict := map[bool]string{true: "approved", false: "refused"}[e.Approved]
			lines = append(lines, fmt.Sprintf("The review was %s by %s, for case %d: %s.", verdict, e.Actor, e.Case, e.Reason))
		case events.Rejected:
			lines = append(lines, refusal(e)...)
		}
	}
	return lines
}

func refusal(e events.Rejected) []string {
	switch {
	case e.At != events.StepRisk:
		return nil
	case e.Assessment == nil:
		return []string{fmt.Sprintf("Case %d: refused, because the id was used before with another content.", e.Case), under(e.Versions)}
	}
	return append([]string{fmt.Sprintf("Case %d, decided by %s: refused.", e.Case, e.Assessment.By)}, why(*e.Assessment)...)
}

// why explains an assessment.
func why(a events.Assessment) []string {
	lines := []string{fmt.Sprintf("  Score %d of %d, level %s.", a.Score, highestScore, a.Level)}
	if len(a.Reasons) == 0 {
		lines = append(lines, "  No rule holds.")
	}
	for _, r := range a.Reasons {
		lines = append(lines, "  "+r.Rule+" "+said(r)+".")
	}
	for _, h := range a.Hits {
		lines = append(lines, fmt.Sprintf("  Entry %s of list %s fits with %d of 1000.", h.Entry, h.List, h.Score))
	}
	if a.MoreHits > 0 {
		lines = append(lines, fmt.Sprintf("  %d more entries fit.", a.MoreHits))
	}
	if a.PEP {
		lines = append(lines, "  A list of politically exposed persons has the name.")
	}
	if len(a.PossibleDuplicateOf) > 0 {
		lines = append(lines, "  It may be of the same person as "+strings.Join(a.PossibleDuplicateOf, ", ")+".")
	}
	var seen []string
	for _, name := range slices.Sorted(maps.Keys(a.Facts)) {
		seen = append(seen, name+"="+a.Facts[name])
	}
	if len(seen) > 0 {
		lines = append(lines, "  The rules saw "+strings.Join(seen, ", ")+".")
	}
	return append(lines, under(a.Versions))
}

var saidOfScreening = map[string]string{
	tenant.ScreeningHit:    "someone on a list has the name",
	tenant.ScreeningOutage: "lists were missing or too old",
	tenant.ScreeningUnread: "a name cannot be compared as it is",
}

// said is what a reason does, after its id.
func said(r events.Reason) string {
	var effects []string
	if r.Failed {
		effects = append(effects, "could not be evaluated")
	}
	if r.Rule == tenant.ScreeningCleared {
		effects = append(effects, "leaves a hit out")
	}
	if r.Points != 0 {
		effects = append(effects, fmt.Sprintf("counts %+d", r.Points))
	}
	if r.Outcome != "" {
		effects = append(effects, "demands "+map[string]string{string(tenant.Refuse): "a refusal", string(tenant.Review): "a review"}[r.Outcome])
	}
	text := strings.Join(effects, " and ")
	if about := r.Label + saidOfScreening[r.Rule]; about != "" {
		text += ": " + about
	}
	return text
}

func under(v events.Versions) string {
	text := "  Under configuration " + v.Config
	for _, part := range []struct{ name, version string }{{"policy", v.Policy}, {"catalog", v.Catalog}, {"lists", v.Lists}} {
		if part.version != "" {
			text += ", " + part.name + " " + part.version
		}
	}
	return text + "."
}
