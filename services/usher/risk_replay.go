package usher

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/risk"
)

type riskReplay struct {
	Policy string `required:"" placeholder:"FILE" help:"The file of the tenants, as in USHER_CONFIG, with the policies and catalogs to try."`
	Since  string `placeholder:"WHEN" help:"Only registrations validated since then: 2026-01-31, 2026-01-31T12:00:00Z, or how long ago, e.g. 720h."`
	Output string `default:"table" enum:"table,csv,json" help:"table, csv or json."`
}

// Run prints the changes to out and its progress to standard error.
func (r riskReplay) Run(ctx context.Context, out io.Writer) error {
	since, err := r.since(time.Now())
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(r.Policy)
	if err != nil {
		return &unreadableError{fmt.Errorf("read policy: %w", err)}
	}
	config, err := tenant.Parse(r.Policy, raw)
	if err != nil {
		return err
	}
	b, err := riskDocuments(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	bar := newReplayBar(os.Stderr)
	replayed, err := risk.Replay(ctx, b, config, since, bar.advance)
	if err = errors.Join(err, bar.finish()); err != nil {
		return err
	}
	return map[string]func(io.Writer, risk.Replayed) error{"table": replayTable, "csv": replayCSV, "json": replayJSON}[r.Output](out, replayed)
}

// since reads --since; without it, it is the beginning.
func (r riskReplay) since(now time.Time) (time.Time, error) {
	if r.Since == "" {
		return time.UnixMilli(0), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, r.Since); err == nil {
			return t, nil
		}
	}
	if ago, err := time.ParseDuration(r.Since); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, errors.New("--since is not a time; give e.g. 2026-01-31, 2026-01-31T12:00:00Z or 720h")
}

// replayBar goes with the time in which decisions were made: how many there are nobody counts
// beforehand.
type replayBar struct {
	bar          *progressbar.ProgressBar
	begun, first time.Time
}

func newReplayBar(out io.Writer) *replayBar {
	if !isTerminal(out) {
		out = io.Discard
	}
	return &replayBar{begun: time.Now(), bar: progressbar.NewOptions64(1, progressbar.OptionSetWriter(out), progressbar.OptionSetWidth(24),
		progressbar.OptionSetDescription("replay"), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

func (b *replayBar) advance(looked int64, at time.Time) {
	if b.first.IsZero() {
		b.first = at
		b.bar.ChangeMax64(max(1, b.begun.Sub(at).Milliseconds()))
	}
	rate := float64(looked) / max(time.Since(b.begun).Seconds(), 0.001)
	b.bar.Describe(fmt.Sprintf("replay %d decisions, %.0f/s", looked, rate))
	_ = b.bar.Set64(min(max(0, at.Sub(b.first).Milliseconds()), b.bar.GetMax64()-1))
}

func (b *replayBar) finish() error { return b.bar.Finish() }

func replayJSON(out io.Writer, r risk.Replayed) error { return writeJSON(out, r) }

func replayCSV(out io.Writer, r risk.Replayed) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"tenant", "registration", "case", "decided", "from_outcome", "to_outcome", "from_level", "to_level",
		"from_category", "to_category", "from_score", "to_score", "because"}}
	for _, c := range r.Changes {
		rows = append(rows, []string{c.Tenant, c.Registration, strconv.Itoa(c.Case), c.Decided.Format(time.RFC3339), c.From.Outcome, c.To.Outcome, c.From.Level, c.To.Level,
			c.From.Category, c.To.Category, strconv.Itoa(c.From.Score), strconv.Itoa(c.To.Score), because(c)})
	}
	return w.WriteAll(rows)
}

func replayTable(out io.Writer, r risk.Replayed) error {
	if len(r.Changes) > 0 {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "REGISTRATION\tOUTCOME\tLEVEL\tCATEGORY\tSCORE\tBECAUSE")
		for _, c := range r.Changes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Registration, turns(c.From.Outcome, c.To.Outcome), turns(c.From.Level, c.To.Level),
				turns(c.From.Category, c.To.Category), turns(strconv.Itoa(c.From.Score), strconv.Itoa(c.To.Score)), because(c))
		}
		if err := w.Flush(); err != nil {
			return fmt.Errorf("print table: %w", err)
		}
		fmt.Fprintln(out)
	}
	_, err := fmt.Fprintf(out, "%d of %d decisions would be others; of %d only the score would.\n", len(r.Changes), r.Decisions, r.Scored)
	for _, what := range slices.Sorted(maps.Keys(r.Untold)) {
		_, err = fmt.Fprintf(out, "%d cannot be told: %s.\n", r.Untold[what], what)
	}
	return err
}

func turns(from, to string) string {
	if from == to {
		return from
	}
	return from + " → " + to
}

// because says which rules count otherwise.
func because(c risk.Change) string {
	var parts []string
	for _, s := range c.Because {
		parts = append(parts, s.Rule+" "+s.From+" → "+s.To)
	}
	if len(parts) == 0 {
		return "thresholds or catalog"
	}
	return strings.Join(parts, ", ")
}

type riskRescreening struct {
	Output string `default:"table" enum:"table,json" help:"table or json."`
}

func (riskReplay) shape() any {
	return risk.Replayed{Untold: map[string]int64{"reason": 0}, Changes: []risk.Change{{}}}
}

func (riskRescreening) shape() any { return []risk.Rescreening{{}} }

func (r riskRescreening) Run(ctx context.Context, out io.Writer) error {
	b, err := riskDocuments(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	runs, err := risk.Rescreenings(ctx, b)
	if err != nil {
		return err
	}
	if r.Output == "json" {
		return writeJSON(out, runs)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tRUN\tLISTS\tBEGUN\tLOOKED AT\tLEFT\tCASES\tSTATE")
	for _, run := range runs {
		state := "running"
		if run.Completed > 0 {
			state = "completed " + time.UnixMilli(run.Completed).UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", run.Tenant, run.Run, run.Lists, time.UnixMilli(run.Begun).UTC().Format(time.RFC3339),
			run.Looked, run.Left(), run.Opened, state)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}
