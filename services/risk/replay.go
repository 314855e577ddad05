package risk

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// Verdict is what is decided on a registration.
type Verdict struct {
	Outcome  string `json:"outcome"` // categorized, review or refuse
	Level    string `json:"level"`
	Category string `json:"category"` // of a review: what an approval assigns
	Score    int    `json:"score"`
}

// Shift is a rule, or part of the screening, that counts otherwise than it did.
type Shift struct {
	Rule string `json:"rule"`
	From string `json:"from"` // points and outcome; "-" where it does not hold
	To   string `json:"to"`
}

// Change is a decision that would be another.
type Change struct {
	Tenant       string    `json:"tenant"`
	Registration string    `json:"registration"`
	Case         int       `json:"case"`
	Decided      time.Time `json:"decided"`
	From         Verdict   `json:"from"`
	To           Verdict   `json:"to"`
	Because      []Shift   `json:"because"`
}

// Replayed is what a configuration would have decided on registrations of the past.
type Replayed struct {
	Decisions int64 `json:"decisions"` // that were decided again
	Scored    int64 `json:"scored"`    // those of them of which nothing but the score would be another
	// Untold counts what cannot be decided again, by the reason.
	Untold  map[string]int64 `json:"untold"`
	Changes []Change         `json:"changes"`
}

const replayPage = 500

// Replay asks a configuration what it would have decided on the registrations that a policy has
// decided since a time. It reads a store of risk and writes nothing. What persons decided stays
// theirs. progress is told how many decisions have been looked at, and of what time the last is.
func Replay(ctx context.Context, b store.Backend, c *tenant.Config, since time.Time, progress func(looked int64, at time.Time)) (Replayed, error) {
	decisions := store.NewDocs(b, decisionSchema, decision.fields)
	r := Replayed{Untold: map[string]int64{}, Changes: []Change{}}
	looked := int64(0)
	for after := ""; ; {
		page, next, err := decisions.Find(ctx, store.Query{
			Range: &store.Range{Field: "decidedAt", From: max(since.UnixMilli(), 1), To: farOff}, Order: "decidedAt", Limit: replayPage, After: after,
		})
		if err != nil {
			return r, fmt.Errorf("read decisions: %w", err)
		}
		for _, s := range page {
			r.replay(c, s)
			looked++
		}
		if len(page) > 0 {
			progress(looked, time.UnixMilli(page[len(page)-1].Value.DecidedAt))
		}
		if after = next; next == "" {
			return r, nil
		}
	}
}

const farOff = 1 << 52 // Unix milliseconds

func (r *Replayed) replay(c *tenant.Config, s store.Stored[decision]) {
	d := s.Value
	t, known := c.Tenant(d.Tenant)
	if !known {
		r.Untold["tenant "+d.Tenant+" is not in the file"]++
		return
	}
	then, untold := d.Evidence.under(t, d.Claimed, d.Found)
	if len(untold) > 0 {
		for _, what := range untold {
			r.Untold[what]++
		}
		return
	}
	r.Decisions++
	from, to := d.verdict(), then.verdict()
	score := to.Score
	to.Score = from.Score
	if from == to {
		if score != from.Score {
			r.Scored++
		}
		return
	}
	to.Score = score
	id, _, _ := strings.Cut(s.ID, "/")
	r.Changes = append(r.Changes, Change{d.Tenant, id, d.Found.Case, time.UnixMilli(d.DecidedAt).UTC(), from, to, shifts(d.Found.Reasons, then.Found.Reasons)})
}

func (d decision) verdict() Verdict {
	return Verdict{cmp.Or(string(d.Outcome), "categorized"), d.Found.Level, d.Category.ID, d.Found.Score}
}

// shifts are the reasons that differ, by the id of the rule.
func shifts(before, after []events.Reason) []Shift {
	from, to := countOf(before), countOf(after)
	all := maps.Clone(from)
	maps.Copy(all, to)
	list := []Shift{}
	for _, rule := range slices.Sorted(maps.Keys(all)) {
		if s := (Shift{rule, cmp.Or(from[rule], "-"), cmp.Or(to[rule], "-")}); s.From != s.To {
			list = append(list, s)
		}
	}
	return list
}

// countOf says what each reason counts.
func countOf(reasons []events.Reason) map[string]string {
	counts := map[string]string{}
	for _, r := range reasons {
		text := fmt.Sprintf("%+d", r.Points)
		if r.Outcome != "" {
			text = strings.TrimPrefix(text+" ", "+0 ") + r.Outcome
		}
		counts[r.Rule] = text
	}
	return counts
}
