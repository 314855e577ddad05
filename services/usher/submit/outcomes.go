package submit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// Outcome is how far the pipeline is with a row that is stored.
type Outcome struct {
	Line   int64    `json:"line"`
	ID     string   `json:"id"`
	Status string   `json:"status"`
	Codes  []string `json:"codes,omitempty"` // why it was turned down
}

// Following says how the outcomes of stored rows are found.
type Following struct {
	File string // of the rows that the pipeline turned down, a line each; replaced as a whole
	Wait time.Duration
	// Status tells how far a registration is, whether the pipeline is done with it for now, and
	// whether it was turned down. A *Refusal that may be sent again is.
	Status func(ctx context.Context, id string) (o Outcome, settled, down bool, err error)
	Begin  func(stored int64)
	// Progress is told of rows that are settled or were waited for long enough.
	Progress func(rows int64)
}

const (
	followed   = 512 // rows in memory
	askers     = 16  // requests under way
	lookAgain  = time.Second
	mostErrors = 10 // in a row, of one registration
)

// Follow waits until the pipeline is done with each stored row of a summary, adds how many are in
// which status, and writes those that were turned down to a file.
func Follow(ctx context.Context, s Summary, f Following) (Summary, error) {
	results, err := os.Open(s.Results)
	if err != nil {
		return s, err
	}
	defer results.Close()
	next := f.File + ".next"
	out, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return s, err
	}
	defer out.Close()
	f.Begin(s.Stored)
	s.Outcomes, s.OutcomeFile = map[string]int64{}, f.File
	deadline := time.Now().Add(f.Wait)
	lines, encoder := json.NewDecoder(bufio.NewReader(results)), json.NewEncoder(out)
	for {
		part, err := stored(lines)
		if err != nil {
			return s, err
		}
		if len(part) == 0 {
			break
		}
		down, err := f.settle(ctx, part, deadline)
		if err != nil {
			return s, err
		}
		for i, o := range part {
			s.Outcomes[o.Status]++
			if !down[i] {
				continue
			}
			s.TurnedDown++
			if err := encoder.Encode(o); err != nil {
				return s, err
			}
		}
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return s, err
	}
	return s, os.Rename(next, f.File)
}

// stored reads the next results that have an id; none at the end.
func stored(lines *json.Decoder) (part []Outcome, err error) {
	for len(part) < followed {
		var r Result
		err := lines.Decode(&r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the results: %w", err)
		}
		if r.ID != "" {
			part = append(part, Outcome{Line: r.Line, ID: r.ID})
		}
	}
	return part, nil
}

// settle waits for rows, and fills in what became of them.
func (f Following) settle(ctx context.Context, part []Outcome, deadline time.Time) (down []bool, err error) {
	down = make([]bool, len(part))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askers)
	for i := range part {
		group.Go(func() (err error) {
			part[i], down[i], err = f.await(ctx, part[i], deadline)
			return err
		})
	}
	err = group.Wait()
	f.Progress(int64(len(part)))
	return down, err
}

func (f Following) await(ctx context.Context, o Outcome, deadline time.Time) (_ Outcome, down bool, err error) {
	failures := 0
	for {
		found, settled, down, err := f.Status(ctx, o.ID)
		pause := lookAgain
		var refused *Refusal
		switch {
		case ctx.Err() != nil:
			return o, false, ctx.Err()
		case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
			o.Status = "UNKNOWN" // the stream has let it go, and the ledger does not know it
			return o, false, nil
		case errors.As(err, &refused) && again(refused.Status):
			pause = max(pause, refused.RetryAfter)
		case err != nil:
			if failures++; failures == mostErrors || final(err) {
				return o, false, err
			}
		default:
			failures = 0
			o.Status, o.Codes = found.Status, found.Codes
			if settled || time.Now().After(deadline) {
				return o, down, nil
			}
		}
		select {
		case <-ctx.Done():
			return o, false, ctx.Err()
		case <-time.After(pause):
		}
	}
}
