package usher

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/usherhq/usher/pkg/tenant"
)

type configCommand struct {
	Check  configCheck  `cmd:"" help:"Tell every problem of a file at once: FILE:LINE:COLUMN path: problem; mend. Exits 0 where there is none, 1 where there are, 2 where the file cannot be read."`
	Schema configSchema `cmd:"" help:"Print the JSON Schema (2020-12) of the file, for editors."`

	Environment configEnvironment `cmd:"" help:"Tell every environment variable: who reads it, its default and its meaning."`
}

type configCheck struct {
	File string  `arg:"" help:"The file, as in USHER_CONFIG."`
	Rate float64 `help:"Registrations per second to reckon with, instead of the file's broker.rate."`
	format
}

// unreadableError is a file that the command line names and that cannot be read.
type unreadableError struct{ error }

func (e *unreadableError) Unwrap() error { return e.error }

// checked is what is found out about a file.
type checked struct {
	File      string            `json:"file"`
	Version   string            `json:"version,omitempty"` // only of a good one
	Tenants   int               `json:"tenants,omitempty"`
	Problems  []tenant.Problem  `json:"problems"`
	Rate      float64           `json:"rate,omitempty"` // registrations per second
	Footprint *tenant.Footprint `json:"footprint,omitempty"`

	maxAge time.Duration
}

// Run prints what it found to out; that there are problems is its error.
func (c configCheck) Run(out io.Writer) error {
	if c.Rate < 0 {
		return fmt.Errorf("--rate is negative; give registrations per second")
	}
	raw, err := os.ReadFile(c.File)
	if err != nil {
		return &unreadableError{fmt.Errorf("read configuration: %w", err)}
	}
	found := c.check(raw)
	if err := c.print(out, found, found.text); err != nil {
		return err
	}
	if n := len(found.Problems); n > 0 {
		return fmt.Errorf("%s: number of problems: %d", c.File, n)
	}
	return nil
}

func (c configCheck) check(raw []byte) checked {
	config, problems := tenant.Check(c.File, raw, c.Rate)
	if len(problems) > 0 {
		return checked{File: c.File, Problems: problems}
	}
	found := checked{File: c.File, Problems: []tenant.Problem{}, Version: config.Version, Tenants: len(config.Tenants), maxAge: time.Duration(config.Broker.MaxAge)}
	if config.Broker.Rate > 0 {
		footprint := config.Broker.Footprint()
		found.Rate, found.Footprint = config.Broker.Rate, &footprint
	}
	return found
}

func (c checked) text(out io.Writer) error {
	for _, p := range c.Problems {
		if _, err := fmt.Fprintln(out, p.Error()); err != nil {
			return err
		}
	}
	if len(c.Problems) > 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "%s is good: version %s, %d tenants\n%s\n", c.File, c.Version, c.Tenants, c.capacity())
	return err
}

func (configCheck) shape() any {
	return checked{Version: " ", Tenants: 1, Problems: []tenant.Problem{{}}, Rate: 1, Footprint: &tenant.Footprint{}}
}

const mib = 1 << 20

func (c checked) capacity() string {
	if c.Footprint == nil {
		return "broker.rate is not given: what the brokers need was not reckoned; --rate N reckons it for N registrations per second"
	}
	f := c.Footprint
	return fmt.Sprintf("at %v registrations/s each broker keeps about %d for %v: %d subjects in %d MiB of memory, %d MiB of events on disk",
		c.Rate, f.Registrations, c.maxAge, f.Subjects, f.Memory/mib, f.Disk/mib)
}

type configSchema struct{}

func (configSchema) Run(out io.Writer) error {
	_, err := out.Write(tenant.Schema())
	return err
}
