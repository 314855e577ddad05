package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/services/risk"
)

type riskCommand struct {
	Explain     riskExplain     `cmd:"" help:"Say in plain words why risk decided as it did. Reads the stream of NATS_URL or, for what that no longer has, the documents of STORE_URL."`
	Replay      riskReplay      `cmd:"" help:"Tell what another policy would have decided on the registrations of the past, and change nothing. Reads the documents of STORE_URL."`
	Rescreening riskRescreening `cmd:"" help:"Tell how far customers have been screened under the lists in use. Reads the documents of STORE_URL."`
}

type riskExplain struct {
	Registration string `arg:"" help:"Id of the registration."`
	format
}

// explained is why risk decided as it did, a sentence each.
type explained struct {
	Registration string   `json:"registration"`
	Because      []string `json:"because"`
}

func (riskExplain) shape() any { return explained{Because: []string{""}} }

func (r riskExplain) Run(ctx context.Context, out io.Writer) error {
	if !events.ValidToken(r.Registration) {
		return errors.New("the id is not one of a registration; give it as the receipt told it")
	}
	if os.Getenv("NATS_URL") == "" && os.Getenv("STORE_URL") == "" {
		return errors.New("neither NATS_URL nor STORE_URL is set; give the broker, or the documents of risk")
	}
	told, err := r.told(ctx)
	if err != nil {
		return err
	}
	lines := risk.Explain(told)
	if len(lines) == 0 {
		return errors.New("risk has not decided on this registration, or it is not known here")
	}
	return r.print(out, explained{r.Registration, lines}, func(out io.Writer) error {
		_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
		return err
	})
}

// told reads the events of the registration, or what the documents say they were.
func (r riskExplain) told(ctx context.Context) ([]events.Event, error) {
	if os.Getenv("NATS_URL") != "" {
		told, err := r.streamed(ctx)
		if err != nil || len(told) > 0 || os.Getenv("STORE_URL") == "" {
			return told, err
		}
	}
	b, err := riskDocuments(ctx)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return risk.Decisions(ctx, b, r.Registration)
}

// riskDocuments opens the documents of risk, to read. The caller closes them.
func riskDocuments(ctx context.Context) (store.Backend, error) {
	if os.Getenv("STORE_URL") == "" {
		return nil, errors.New("STORE_URL is not set; give the documents of risk, e.g. sqlite://DIR")
	}
	b, err := store.Open(ctx, os.Getenv("STORE_URL"), string(events.Risk), nil)
	if err != nil {
		return nil, err
	}
	if err := b.Verify(ctx, risk.Service.Schemas...); err != nil {
		return nil, errors.Join(fmt.Errorf("read risk's documents: %w", err), b.Close())
	}
	return b, nil
}

func (r riskExplain) streamed(ctx context.Context) ([]events.Event, error) {
	b, done, err := dial(ctx, bus.OperatorUser)
	if err != nil {
		return nil, err
	}
	defer done()
	history, err := b.HistoryOf(ctx, r.Registration)
	if err != nil {
		return nil, err
	}
	told := make([]events.Event, len(history))
	for i, record := range history {
		told[i] = record.Event
	}
	return told, nil
}
