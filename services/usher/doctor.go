package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/usherhq/usher/services/usher/doctor"
)

// doctorCommand reads what the services read: NATS_URL, NATS_CREDS, NATS_CA, STORE_URL, USHER_CONFIG,
// USHER_KEYS and SMTP_URL.
type doctorCommand struct {
	Dev     string        `placeholder:"DIR" help:"Look at the usher dev that keeps its data in DIR and has its broker at 127.0.0.1:4222, or at NATS_URL."`
	Timeout time.Duration `default:"10s" help:"How long each part may take."`
	format
}

// doctorReport is what doctor prints as JSON.
type doctorReport struct {
	Sound    bool             `json:"sound"` // nothing failed
	Findings []doctor.Finding `json:"findings"`
}

func (doctorCommand) shape() any {
	return doctorReport{Findings: []doctor.Finding{{Mend: " "}}}
}

// errUnsound makes the command fail after it has said why.
var errUnsound = errors.New("not everything is as it must be: see the lines with fail")

func (d doctorCommand) Run(ctx context.Context, out io.Writer) error {
	return d.examine(ctx, out, doctor.Options{Getenv: d.getenv, Services: Services, Now: time.Now, Timeout: d.Timeout})
}

func (d doctorCommand) examine(ctx context.Context, out io.Writer, o doctor.Options) error {
	report := doctorReport{Findings: []doctor.Finding{}}
	report.Sound = doctor.Examine(ctx, o, func(f doctor.Finding) {
		report.Findings = append(report.Findings, f)
		if d.Output == outputText {
			printFinding(out, f)
		}
	})
	if d.Output == outputJSON {
		if err := writeJSON(out, report); err != nil {
			return err
		}
	}
	if !report.Sound {
		return errors.Join(ctx.Err(), errUnsound)
	}
	return nil
}

func printFinding(out io.Writer, f doctor.Finding) {
	fmt.Fprintf(out, "%-4s  %s: %s\n", f.Status, f.Check, f.About)
	if f.Mend != "" {
		fmt.Fprintf(out, "      -> %s\n", f.Mend)
	}
}

// getenv settles what a service would find in its environment.
func (d doctorCommand) getenv(name string) string {
	value := os.Getenv(name)
	if d.Dev == "" || value != "" {
		return value
	}
	return map[string]string{
		"NATS_URL": "nats://127.0.0.1:4222", "STORE_URL": "sqlite://" + filepath.Join(d.Dev, "store"), "USHER_KEYS": filepath.Join(d.Dev, "keys"),
	}[name]
}
