package evidence

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/usherhq/usher/events"
)

// Bundle is a part of a tenant's feed that verifies without an installation. As a file its first
// line is the head, then come the events, one a line, then the checkpoints that sign them.
type Bundle struct {
	Head
	Events []Event
	Signed Signed
}

// Head says what a bundle has.
type Head struct {
	Usher  string `json:"usher"` // feed 1
	Tenant string `json:"tenant"`
	From   uint64 `json:"from"` // sequence of the first event
	To     uint64 `json:"to"`   // and of the last
	Keys   Keys   `json:"keys"` // of the installation when it was exported
}

// Signed are checkpoints by their numbers.
type Signed map[uint64]events.Checkpoint

// Find is a Checkpoints.
func (s Signed) Find(number uint64) (events.Checkpoint, bool, error) {
	c, ok := s[number]
	return c, ok, nil
}

const bundleFormat = "feed 1"

// longestLine bounds the lines that are read, in bytes.
const longestLine = 16 << 20

// ErrNoBundle is returned for what is not an exported feed.
var ErrNoBundle = errors.New("it is not an exported feed")

// signature is a line with a checkpoint.
type signature struct {
	Checkpoint *events.Checkpoint `json:"checkpoint"`
}

// WriteTo writes the file. It leaves out the checkpoints of other events.
func (b Bundle) WriteTo(w io.Writer) (n int64, err error) {
	buffered := bufio.NewWriter(w)
	write := func(line []byte, err error) error {
		if err == nil {
			_, err = buffered.Write(append(line, '\n'))
			n += int64(len(line)) + 1
		}
		return err
	}
	b.Usher = bundleFormat
	if err := write(json.Marshal(b.Head)); err != nil {
		return n, err
	}
	for _, e := range b.Events {
		if err := write(e.line()); err != nil {
			return n, err
		}
	}
	for number := NumberOf(b.From); number <= NumberOf(b.To); number++ {
		if c, ok := b.Signed[number]; ok {
			if err := write(json.Marshal(signature{&c})); err != nil {
				return n, err
			}
		}
	}
	return n, buffered.Flush()
}

// ReadBundle reads a file. What is wrong with its events is for Verify to say; an error is of what
// cannot be read, or would be written otherwise.
func ReadBundle(r io.Reader) (b Bundle, err error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, longestLine)
	if !scanner.Scan() || json.Unmarshal(scanner.Bytes(), &b.Head) != nil || b.Usher != bundleFormat {
		return b, ErrNoBundle
	}
	b.Signed = Signed{}
	for number := 2; scanner.Scan(); number++ {
		var s signature
		if json.Unmarshal(scanner.Bytes(), &s) == nil && s.Checkpoint != nil {
			if written, err := json.Marshal(s); err != nil || !bytes.Equal(written, scanner.Bytes()) {
				return b, fmt.Errorf("line %d: the checkpoint is not as it was written", number)
			}
			b.Signed[s.Checkpoint.Number] = *s.Checkpoint
			continue
		}
		e, _, err := ReadEvent(scanner.Bytes())
		if err != nil {
			return b, fmt.Errorf("line %d: %w", number, err)
		}
		b.Events = append(b.Events, e)
	}
	return b, scanner.Err()
}

// Verify audits the events from one sequence to another, or to the last where to is 0, in the order
// in which the file has them. each is called after every event.
func (b Bundle) Verify(keys Keys, from, to uint64, each func()) (Report, error) {
	from, last := max(b.From, from), b.To
	if to > 0 {
		last = min(last, to)
	}
	audit := NewAudit(b.Tenant, from, keys, b.Signed.Find)
	for _, e := range b.Events {
		if each(); e.Sequence < b.From || e.Sequence > b.To {
			return Report{}, fmt.Errorf("event %d is not of the part that the file says it has", e.Sequence)
		}
		if e.Sequence < from || e.Sequence > last {
			continue
		}
		if err := audit.Check(e); err != nil {
			return Report{}, err
		}
	}
	return audit.Report(last), nil
}
