package usher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usherhq/usher/pkg/bus"
)

// deadlettersCommand reads NATS_URL.
type deadlettersCommand struct {
	List   deadlettersList   `cmd:"" help:"List dead letters, oldest first."`
	Show   deadlettersShow   `cmd:"" help:"Show a dead letter: why it is one, and the event, which has nothing of any person."`
	Replay deadlettersReplay `cmd:"" help:"Give dead letters back to their stage. One that was given back before is not given twice."`
}

type deadlettersList struct {
	From  uint64 `default:"1" help:"First sequence."`
	Limit int    `default:"100" help:"How many."`
	format
}

func (deadlettersList) shape() any { return []bus.DeadLetter{{}} }

func (d deadlettersList) Run(ctx context.Context, out io.Writer) error {
	b, done, err := dial(ctx, bus.OperatorUser)
	if err != nil {
		return err
	}
	defer done()
	letters, err := b.DeadLetters(ctx, d.From, d.Limit)
	if err != nil {
		return err
	}
	return d.print(out, append([]bus.DeadLetter{}, letters...), func(out io.Writer) error {
		for _, l := range letters {
			fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%s\n", l.Sequence, l.At.Format(time.RFC3339), l.Service, l.Reason, l.Subject)
		}
		return nil
	})
}

type deadlettersShow struct {
	Sequence uint64 `arg:"" help:"Sequence, as list shows it."`
	format
}

// shownLetter is a dead letter with the message that it was.
type shownLetter struct {
	bus.DeadLetter
	Attributes map[string]string `json:"attributes"` // ce-… and others
	Data       json.RawMessage   `json:"data,omitempty"`
	Garbage    []byte            `json:"garbage,omitempty"` // data that is no JSON
}

func (deadlettersShow) shape() any {
	return shownLetter{Attributes: map[string]string{"ce-type": ""}, Data: json.RawMessage(`{}`), Garbage: []byte{0}}
}

func (d deadlettersShow) Run(ctx context.Context, out io.Writer) error {
	b, done, err := dial(ctx, bus.OperatorUser)
	if err != nil {
		return err
	}
	defer done()
	found, err := b.DeadLetters(ctx, d.Sequence, 1)
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].Sequence != d.Sequence {
		return fmt.Errorf("there is no dead letter %d; `usher deadletters list` shows those there are", d.Sequence)
	}
	letter := shownLetter{DeadLetter: found[0], Attributes: map[string]string{}}
	attributes, data := found[0].Message()
	for name, values := range attributes {
		letter.Attributes[name] = strings.Join(values, ", ")
	}
	if json.Valid(data) {
		letter.Data = data
	} else {
		letter.Garbage = data
	}
	return d.print(out, letter, letter.text)
}

func (l shownLetter) text(out io.Writer) error {
	fmt.Fprintf(out, "%d: %s gave up at %s: %s\n%s\n", l.Sequence, l.Service, l.At.Format(time.RFC3339), l.Reason, l.Detail)
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(table, "subject\t%s\n", l.Subject)
	for _, name := range slices.Sorted(maps.Keys(l.Attributes)) {
		fmt.Fprintf(table, "%s\t%s\n", name, l.Attributes[name])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if l.Data == nil {
		_, err := fmt.Fprintf(out, "%d bytes that are no JSON\n", len(l.Garbage))
		return err
	}
	_, err := fmt.Fprintf(out, "%s\n", l.Data)
	return err
}

type deadlettersReplay struct {
	Sequences []uint64 `arg:"" help:"Sequences, as list shows them."`
	format
}

// replayed is what became of one that was to be given back.
type replayed struct {
	Sequence uint64 `json:"sequence"`
	Replayed bool   `json:"replayed"`
	Error    string `json:"error,omitempty"` // why it was not
}

func (deadlettersReplay) shape() any { return []replayed{{Error: "why"}} }

func (d deadlettersReplay) Run(ctx context.Context, out io.Writer) error {
	b, done, err := dial(ctx, bus.OperatorUser)
	if err != nil {
		return err
	}
	defer done()
	var all []replayed
	var failures []error
	for _, sequence := range d.Sequences {
		r := replayed{Sequence: sequence, Replayed: true}
		if err := b.Replay(ctx, sequence); err != nil {
			failures = append(failures, err)
			r.Replayed, r.Error = false, err.Error()
		}
		all = append(all, r)
	}
	err = d.print(out, all, func(out io.Writer) error {
		for _, r := range all {
			if r.Replayed {
				fmt.Fprintf(out, "%d given back\n", r.Sequence)
			} else {
				fmt.Fprintf(out, "%d not given back: %s\n", r.Sequence, r.Error)
			}
		}
		return nil
	})
	if err == nil && len(failures) > 0 {
		err = fmt.Errorf("%d of %d not given back: %w", len(failures), len(all), failures[0])
	}
	return err
}
