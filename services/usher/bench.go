package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/usherhq/usher/services/usher/bench"
)

type benchCommand struct {
	Store          string  `placeholder:"URL" help:"MongoDB; by default the embedded store."`
	Scale          float64 `default:"1" help:"Multiplies every count."`
	Clients        int     `default:"64" help:"Concurrent clients."`
	Profile        string  `placeholder:"DIR" help:"Directory for processor profiles."`
	ServeReference string  `hidden:"" placeholder:"ADDRESS" help:"Serve the reference there and measure nothing."`
	format
}

// Validate is kong's.
func (b benchCommand) Validate() error {
	if b.Scale <= 0 || b.Clients < 1 {
		return errors.New("--scale is more than 0, and --clients at least 1")
	}
	return nil
}

func (benchCommand) shape() any {
	reached := true
	return bench.Report{Rows: []bench.Row{{Reference: " ", Against: 1, Bar: " ", Reached: &reached}}}
}

// Run prints what was measured also where the rest could not be.
func (b benchCommand) Run(ctx context.Context, out io.Writer) error {
	if b.ServeReference != "" {
		return bench.ServeNoOp(b.ServeReference)
	}
	report, err := bench.Run(ctx, bench.Options{
		Store: b.Store, Scale: b.Scale, Clients: b.Clients, Profile: b.Profile, Err: os.Stderr, NoOp: bench.Again("bench", "--serve-reference"),
	})
	if report != nil {
		err = errors.Join(err, b.print(out, report, report.Table))
	}
	if err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	return nil
}
