package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/services/gateway/native"
	"github.com/usherhq/usher/services/usher/submit"
)

type submitCommand struct {
	File string `arg:"" help:"NDJSON, a registration of the native API on each line, or CSV, whose first line names the columns."`
	gatewayDesk
	Format   string            `default:"auto" enum:"auto,csv,ndjson" help:"auto, csv or ndjson; auto goes by the file's name."`
	Comma    string            `default:"," help:"What is between the columns of CSV."`
	Map      map[string]string `mapsep:"none" placeholder:"COLUMN=PATH" help:"Where a column goes, e.g. 'E-Mail=applicant.email'; without a path it is left out. May be repeated."`
	Results  string            `placeholder:"FILE" help:"What became of each row; by default FILE.results.ndjson. How far it goes is in a file beside it, .state."`
	Restart  bool              `help:"Begin again. Rows that are stored are found stored."`
	Patience time.Duration     `default:"10m" help:"How long nothing may be stored before it gives up."`
	Outcomes bool              `help:"Then wait until the pipeline is done with every row, and write those that it turns down, with the codes of why, to FILE.outcomes.ndjson."`
	Wait     time.Duration     `default:"10m" help:"With --outcomes: how long."`
	format
}

func (submitCommand) shape() any {
	return submit.Summary{Outcomes: map[string]int64{"ACTIVATION_SENT": 1}, TurnedDown: 1, OutcomeFile: " "}
}

// Validate keeps what kong cannot; kong calls it.
func (s *submitCommand) Validate() error {
	if utf8.RuneCountInString(s.Comma) != 1 {
		return errors.New("--comma is one character")
	}
	return nil
}

func (s submitCommand) Run(ctx context.Context, out io.Writer) error {
	if _, err := os.Stat(s.File); err != nil {
		return &unreadableError{err}
	}
	options, err := s.options()
	if err != nil {
		return err
	}
	var bar *progress
	options.Begin = func(total, before int64) {
		bar = newProgress(os.Stderr, "submit", "rows", total-before)
		if before > 0 {
			bar.say(fmt.Sprintf("goes on after row %d of %d", before, total))
		}
	}
	options.Progress = func(n int64) { bar.add(n) }
	options.Say = func(text string) { bar.say(text) }
	done, err := submit.Run(ctx, options)
	if bar != nil {
		bar.end()
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%d of %d rows have their result in %s; the same command goes on", done.Stored+done.Refused, done.Rows, options.Results)
	case err != nil:
		return err
	}
	if s.Outcomes {
		if done, err = s.follow(ctx, done); err != nil {
			return fmt.Errorf("every row has its result in %s; what the pipeline makes of them is not known: %w; the same command asks again", done.Results, err)
		}
	}
	if err := s.print(out, done, func(out io.Writer) error { return printSummary(out, done) }); err != nil {
		return err
	}
	switch {
	case done.Refused > 0:
		return fmt.Errorf("number of rows refused: %d; %s says why", done.Refused, done.Results)
	case done.TurnedDown > 0:
		return fmt.Errorf("number of rows turned down: %d; %s says why", done.TurnedDown, done.OutcomeFile)
	}
	return nil
}

// follow waits for what becomes of the rows that are stored.
func (s submitCommand) follow(ctx context.Context, done submit.Summary) (submit.Summary, error) {
	var bar *progress
	f := submit.Following{File: strings.TrimSuffix(done.Results, resultsSuffix) + ".outcomes.ndjson", Wait: s.Wait, Status: s.outcome,
		Begin:    func(stored int64) { bar = newProgress(os.Stderr, "outcomes", "rows", stored) },
		Progress: func(n int64) { bar.add(n) }}
	done, err := submit.Follow(ctx, done, f)
	if bar != nil {
		bar.end()
	}
	return done, err
}

// outcome asks how far a registration is. Where it waits for a person, or for the customer, the
// pipeline is done for now.
func (s submitCommand) outcome(ctx context.Context, id string) (o submit.Outcome, settled, down bool, err error) {
	var view app.RegistrationView
	err = s.ask(ctx, http.MethodGet, "/v1/registrations/"+url.PathEscape(id), nil, &view)
	var refused *refusalError
	if errors.As(err, &refused) {
		return o, false, false, &submit.Refusal{Status: refused.Status, RetryAfter: refused.RetryAfter, Err: refused}
	}
	o = submit.Outcome{ID: id, Status: string(view.Status), Codes: view.Codes}
	switch view.Status {
	case events.StatusRejected, events.StatusFailed, events.StatusActivationFailed:
		return o, true, true, err
	case events.StatusInReview, events.StatusActivationSent:
		return o, true, false, err
	}
	return o, view.Outcome != "", false, err
}

// resultsSuffix is how the result file's name ends unless it is given.
const resultsSuffix = ".results.ndjson"

func printSummary(out io.Writer, s submit.Summary) error {
	_, err := fmt.Fprintf(out, "%s: %d rows, %d stored, %d refused, in %.1f s (%.0f rows/s); results in %s\n",
		s.File, s.Rows, s.Stored, s.Refused, s.Seconds, float64(s.Rows-s.Before)/max(s.Seconds, 0.001), s.Results)
	for _, status := range slices.Sorted(maps.Keys(s.Outcomes)) {
		_, err = fmt.Fprintf(out, "%8d %s\n", s.Outcomes[status], status)
	}
	return err
}

func (s submitCommand) options() (submit.Options, error) {
	comma, _ := utf8.DecodeRuneInString(s.Comma)
	layout := submit.Layout{Format: s.Format, Comma: comma, Map: s.Map}
	if s.Format == "auto" {
		switch strings.ToLower(filepath.Ext(s.File)) {
		case ".csv":
			layout.Format = "csv"
		case ".ndjson", ".jsonl", ".json":
			layout.Format = "ndjson"
		default:
			return submit.Options{}, &unreadableError{errors.New("the file's name does not tell its format; give --format csv or ndjson")}
		}
	}
	if _, err := s.token(); err != nil {
		return submit.Options{}, err
	}
	results := s.Results
	if results == "" {
		results = s.File + resultsSuffix
	}
	return submit.Options{File: s.File, Results: results, Tenant: s.Tenant, Restart: s.Restart, Layout: layout, Patience: s.Patience, Post: s.post}, nil
}

// post sends a batch of registrations.
func (s submitCommand) post(ctx context.Context, batch io.Reader) (*http.Response, error) {
	response, err := s.send(ctx, s.peer(), http.MethodPost, "/v1/registrations:batch", native.MediaTypeLines, batch)
	var refused *refusalError
	if errors.As(err, &refused) {
		return nil, &submit.Refusal{Status: refused.Status, RetryAfter: refused.RetryAfter, Err: refused}
	}
	return response, err
}
