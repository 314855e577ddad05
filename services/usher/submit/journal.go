package submit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/gofrs/flock"
)

// journal is the result file and, in a file beside it, how far it goes. The state is written after
// the results that it counts, so that what it counts is there.
type journal struct {
	state
	path  string // of the state
	file  *os.File
	out   *bufio.Writer
	count *counter
	lock  *flock.Flock // of another file beside: one process writes at a time
}

// state is how far a file was submitted.
type state struct {
	Usher   string `json:"usher"` // submit 1
	Sum     string `json:"sum"`   // of the file and its layout
	Tenant  string `json:"tenant"`
	Rows    int64  `json:"rows"`
	Stored  int64  `json:"stored"`
	Refused int64  `json:"refused"`
	Bytes   int64  `json:"bytes"` // of the result file
}

const stateFormat = "submit 1"

// openJournal continues the journal of an earlier run, or begins one. The caller closes it.
func openJournal(o Options, sum string) (*journal, error) {
	lock := flock.New(o.Results + ".lock")
	locked, err := lock.TryLock()
	if err == nil && !locked {
		err = fmt.Errorf("%s is being written by another process; wait for its end, or name other results by --results", o.Results)
	}
	if err != nil {
		return nil, err
	}
	j, err := continued(o, sum)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	j.lock = lock
	return j, nil
}

func continued(o Options, sum string) (*journal, error) {
	j := &journal{path: o.Results + ".state", state: state{Usher: stateFormat, Sum: sum, Tenant: o.Tenant}}
	raw, err := os.ReadFile(j.path)
	switch {
	case o.Restart || errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(o.Results); err == nil && !o.Restart {
			return nil, fmt.Errorf("%s is there already and no result of this command; name another by --results", o.Results)
		}
	case err != nil:
		return nil, err
	default:
		var before state
		if json.Unmarshal(raw, &before) != nil || before.Usher != stateFormat {
			return nil, fmt.Errorf("%s is no state of this command; name other results by --results", j.path)
		}
		if before.Sum != sum || before.Tenant != o.Tenant {
			return nil, fmt.Errorf("%s belongs to another file, mapping or tenant; name other results by --results, or begin again by --restart", j.path)
		}
		j.state = before
	}
	if j.file, err = os.OpenFile(o.Results, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if info, err := j.file.Stat(); err != nil || info.Size() < j.Bytes {
		return nil, errors.Join(fmt.Errorf("%s is shorter than it was; begin again by --restart", o.Results), err, j.file.Close())
	}
	_, err = j.file.Seek(j.Bytes, io.SeekStart)
	if err = errors.Join(err, j.file.Truncate(j.Bytes)); err != nil {
		return nil, errors.Join(err, j.file.Close())
	}
	j.count = &counter{to: j.file, n: j.Bytes}
	j.out = bufio.NewWriter(j.count)
	return j, j.save()
}

// counter counts what is written.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// keep writes results durably, and then that they are.
func (j *journal) keep(results []Result) error {
	encoder := json.NewEncoder(j.out)
	encoder.SetEscapeHTML(false)
	for _, r := range results {
		if err := encoder.Encode(r); err != nil {
			return err
		}
		if j.Rows++; r.ID != "" {
			j.Stored++
		} else {
			j.Refused++
		}
	}
	if err := errors.Join(j.out.Flush(), j.file.Sync()); err != nil {
		return err
	}
	j.Bytes = j.count.n
	return j.save()
}

// save replaces the state as a whole.
func (j *journal) save() error {
	raw, err := json.Marshal(j.state)
	if err != nil {
		return err
	}
	next := j.path + ".next"
	if err := os.WriteFile(next, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, j.path)
}

func (j *journal) close() error { return errors.Join(j.file.Close(), j.lock.Unlock()) }
