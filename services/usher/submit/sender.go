package submit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/usherhq/usher/services/gateway/native"
)

// sender submits one batch until each of its rows has a result.
type sender struct {
	Options
	rows    []Row
	results []*Result // nil for a row that has none yet
}

const (
	shortestWait = 500 * time.Millisecond
	longestWait  = 30 * time.Second
	stall        = 2 * time.Minute // an answer that does not go on for so long is given up
	longestLine  = 1 << 20         // of an answer
)

// done are the results of the first rows, up to one that has none.
func (s *sender) done() (all []Result) {
	for _, r := range s.results {
		if r == nil {
			break
		}
		all = append(all, *r)
	}
	return all
}

func (s *sender) send(ctx context.Context) error {
	for i, row := range s.rows {
		if row.Problem != "" {
			s.settle(i, Result{Line: row.Line, Reason: row.Problem})
		}
	}
	wait, progressed := shortestWait, time.Now()
	for {
		open := s.open()
		if len(open) == 0 {
			return nil
		}
		asked, err := s.attempt(ctx, open)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && final(err) {
			return err
		}
		left := len(s.open())
		if left == 0 {
			return nil
		}
		if left < len(open) {
			wait, progressed = shortestWait, time.Now()
		}
		if time.Since(progressed) > s.Patience {
			return fmt.Errorf("nothing was stored for %v: %w", s.Patience, errors.Join(err, errNotTaken))
		}
		pause := max(wait, asked)
		if pause > time.Second {
			s.Say(fmt.Sprintf("%d rows wait %v, as the gateway is busy or away", left, pause.Round(time.Second)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		wait = min(2*wait, longestWait)
	}
}

var errNotTaken = errors.New("the gateway takes no rows now; run the same command later")

// final reports whether the same request would be refused again.
func final(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && !again(r.Status)
}

// again reports whether what was refused by a status may be sent again as it is.
func again(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status/100 == 5
}

// open are the rows without a result, by their place.
func (s *sender) open() (open []int) {
	for i, r := range s.results {
		if r == nil {
			open = append(open, i)
		}
	}
	return open
}

func (s *sender) settle(i int, r Result) {
	s.results[i] = &r
	s.Progress(1)
}

// attempt sends rows once, and returns how long the gateway asks to wait before the next.
func (s *sender) attempt(ctx context.Context, open []int) (wait time.Duration, err error) {
	var body bytes.Buffer
	for _, i := range open {
		body.Write(s.rows[i].JSON)
		body.WriteByte('\n')
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(stall, cancel)
	defer watch.Stop()
	response, err := s.Post(ctx, &body)
	var refused *Refusal
	if errors.As(err, &refused) {
		return refused.RetryAfter, err
	}
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(response.Body, int64(len(open)+1)*longestLine))
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		watch.Reset(stall)
		var answer native.Result
		if json.Unmarshal(lines.Bytes(), &answer) != nil || answer.Line < 1 || answer.Line > len(open) {
			return wait, errors.New("the gateway's answer cannot be read; is --url a gateway?")
		}
		asked, err := s.answered(open[answer.Line-1], answer)
		if err != nil {
			return 0, err
		}
		wait = max(wait, asked)
	}
	return wait, lines.Err()
}

// answered keeps the result of a row, unless the row is to be sent again.
func (s *sender) answered(i int, answer native.Result) (wait time.Duration, err error) {
	line, p := s.rows[i].Line, answer.Problem
	switch {
	case p == nil && answer.ID != "":
		s.settle(i, Result{Line: line, ID: answer.ID})
	case p == nil:
		return 0, errors.New("the gateway's answer has a line without a result; is --url a gateway?")
	case again(p.Status):
		return time.Duration(p.RetryAfter) * time.Second, nil
	case p.Status == http.StatusUnauthorized, p.Status == http.StatusForbidden:
		return 0, &Refusal{Status: p.Status, Err: errors.New(p.Detail)}
	default:
		s.settle(i, Result{Line: line, Status: p.Status, Reason: p.Detail, Errors: p.Errors})
	}
	return 0, nil
}
