// Package submit hands the rows of a file to the gateway's batch API, each once however often it is
// interrupted, in memory that does not grow with the file.
package submit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/usherhq/usher/services/gateway/native"
)

// Options say what is submitted, and how.
type Options struct {
	File    string
	Results string // what became of each row; its state is kept in Results + ".state"
	Tenant  string // part of what a run is continued by
	Restart bool   // begin again: rows that are stored are found stored
	Layout
	// Patience is how long nothing may be stored before the run gives up.
	Patience time.Duration
	// Post sends a batch and returns its answer of success, whose body Run closes. A *Refusal tells
	// why there is none; any other error is the network's.
	Post func(ctx context.Context, batch io.Reader) (*http.Response, error)
	// Begin is told how many rows there are in all, and how many an earlier run has submitted.
	Begin func(total, before int64)
	// Progress is told of rows that have their result.
	Progress func(rows int64)
	// Say is told why the run waits.
	Say func(string)
}

// Refusal is a request that the gateway refused as a whole.
type Refusal struct {
	Status     int
	RetryAfter time.Duration
	Err        error
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Summary is what became of a file.
type Summary struct {
	File    string  `json:"file"`
	Rows    int64   `json:"rows"`
	Before  int64   `json:"before"`  // of them submitted by earlier runs
	Stored  int64   `json:"stored"`  // of all, now and before
	Refused int64   `json:"refused"` // of all, now and before; Results has the reasons
	Results string  `json:"results"`
	Seconds float64 `json:"seconds"`

	Outcomes    map[string]int64 `json:"outcomes,omitempty"`    // stored rows by the status they have
	TurnedDown  int64            `json:"turnedDown,omitempty"`  // of them rejected or failed
	OutcomeFile string           `json:"outcomeFile,omitempty"` // has the reasons
}

// Result is a line of the result file. It has nothing of the row itself.
type Result struct {
	Line   int64               `json:"line"`         // in the file, where the row begins, from 1
	ID     string              `json:"id,omitempty"` // of the registration that is stored
	Status int                 `json:"status,omitempty"`
	Reason string              `json:"reason,omitempty"` // why the row is refused, and what to mend
	Errors []native.FieldError `json:"errors,omitempty"`
}

// Bounds of a batch: what is under way, and what is kept in memory.
const (
	batchRows  = 1000
	batchBytes = 8 << 20
)

// Run submits the rows that no earlier run has. When ctx ends it keeps what has a result, and a
// later run goes on from there.
func Run(ctx context.Context, o Options) (Summary, error) {
	began := time.Now()
	sum, total, err := o.survey(ctx)
	if err != nil {
		return Summary{}, err
	}
	j, err := openJournal(o, sum)
	if err != nil {
		return Summary{}, err
	}
	before := j.Rows
	o.Begin(total, before)
	err = o.submit(ctx, j)
	err = errors.Join(err, j.close())
	return Summary{File: o.File, Rows: total, Before: before, Stored: j.Stored, Refused: j.Refused, Results: o.Results, Seconds: time.Since(began).Seconds()}, err
}

// survey counts the rows and takes the file's checksum.
func (o Options) survey(ctx context.Context) (sum string, rows int64, err error) {
	file, err := os.Open(o.File)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	hash := sha256.New()
	layout, _ := json.Marshal(o.Layout)
	hash.Write(layout)
	source, err := o.Open(io.TeeReader(file, hash))
	for err == nil && ctx.Err() == nil {
		if _, err = source.Next(); err == nil {
			rows++
		}
	}
	if err = errors.Join(ctx.Err(), err); !errors.Is(err, io.EOF) {
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), rows, nil
}

// submit sends batch after batch from where the journal ends.
func (o Options) submit(ctx context.Context, j *journal) error {
	file, err := os.Open(o.File)
	if err != nil {
		return err
	}
	defer file.Close()
	source, err := o.Open(file)
	if err != nil {
		return err
	}
	for range j.Rows {
		if _, err := source.Next(); err != nil {
			return fmt.Errorf("find the place to go on from: %w", err)
		}
	}
	for {
		rows, err := batchOf(source)
		if err != nil || len(rows) == 0 {
			return err
		}
		s := sender{Options: o, rows: rows, results: make([]*Result, len(rows))}
		err = s.send(ctx)
		if err = errors.Join(err, j.keep(s.done())); err != nil {
			return err
		}
	}
}

func batchOf(source Source) (rows []Row, err error) {
	for size := 0; len(rows) < batchRows && size < batchBytes; {
		row, err := source.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
		size += len(row.JSON)
	}
	return rows, nil
}
