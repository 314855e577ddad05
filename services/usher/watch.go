package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/bus"
)

// watchCommand reads NATS_URL.
type watchCommand struct {
	Every time.Duration `default:"2s" help:"How often to look."`
	Once  bool          `help:"Look twice, print once and end."`
	All   bool          `help:"Also consumers of which nothing waits and nothing happens."`
	format
}

// Validate is kong's.
func (w watchCommand) Validate() error {
	if w.Every < 100*time.Millisecond {
		return errors.New("--every is at least 100ms")
	}
	return nil
}

// reading is what watch prints each time; as JSON on a line.
type reading struct {
	At          time.Time   `json:"at"`
	DeadLetters uint64      `json:"deadLetters"`
	Stages      []stageLoad `json:"stages"`
	delivered   map[string]uint64
	took        time.Duration // since the reading before
}

// stageLoad is a consumer of the pipeline.
type stageLoad struct {
	Stage      string  `json:"stage"`
	Rate       float64 `json:"rate"`       // messages delivered per second
	Waiting    uint64  `json:"waiting"`    // not yet delivered
	InFlight   int     `json:"inFlight"`   // delivered and not acknowledged
	Again      int     `json:"again"`      // of those in flight, delivered more than once
	AgeSeconds float64 `json:"ageSeconds"` // of the oldest that is not acknowledged
	Readers    int     `json:"readers"`    // requests for messages that wait; 0 where nobody reads, or all are busy
}

func (watchCommand) shape() any { return reading{Stages: []stageLoad{{}}} }

func (w watchCommand) Run(ctx context.Context, out io.Writer) error {
	b, done, err := dial(ctx, bus.OperatorUser)
	if err != nil {
		return err
	}
	defer done()
	live := w.Output == outputText && isTerminal(out)
	before, err := read(ctx, b.JetStream(), nil)
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.Every):
		}
		var now *reading
		if now, err = read(ctx, b.JetStream(), before); err != nil {
			break
		}
		before = now
		if live {
			fmt.Fprint(out, "\x1b[H\x1b[J") // from the top, on an empty screen
		}
		if err = w.tell(out, now); err != nil || w.Once {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (w watchCommand) tell(out io.Writer, r *reading) error {
	if w.Output == outputJSON {
		return writeLine(out, r)
	}
	fmt.Fprintf(out, "%s  dead letters: %d\n", r.At.Local().Format(time.DateTime), r.DeadLetters)
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "RATE/s\tWAITING\tIN FLIGHT\tAGAIN\tAGE\tREADERS\t  STAGE")
	for _, s := range r.Stages {
		if !w.All && s.Rate == 0 && s.Waiting == 0 && s.InFlight == 0 && s.Readers > 0 {
			continue
		}
		age := time.Duration(s.AgeSeconds * float64(time.Second)).Round(10 * time.Millisecond)
		fmt.Fprintf(table, "%.1f\t%d\t%d\t%d\t%v\t%d\t  %s\n", s.Rate, s.Waiting, s.InFlight, s.Again, age, s.Readers, s.Stage)
	}
	return table.Flush()
}

// read looks at every consumer. Rates are since the reading before; nil for none.
func read(ctx context.Context, js jetstream.JetStream, before *reading) (*reading, error) {
	r := &reading{At: time.Now().UTC(), delivered: map[string]uint64{}}
	if before != nil {
		r.took = r.At.Sub(before.At)
	}
	dead, err := js.Stream(ctx, bus.DeadLetters)
	if err != nil {
		return nil, fmt.Errorf("read the stages: %w; `usher doctor` tells more", err)
	}
	r.DeadLetters = dead.CachedInfo().State.Msgs
	for _, c := range bus.Consumers() {
		consumer, err := js.Consumer(ctx, c.Stream, c.Name)
		if err != nil {
			return nil, fmt.Errorf("read consumer %s: %w; `usher doctor` tells more", c.Name, err)
		}
		info := consumer.CachedInfo()
		s := stageLoad{Stage: c.Name, Waiting: info.NumPending, InFlight: info.NumAckPending, Again: info.NumRedelivered, Readers: info.NumWaiting}
		if s.Waiting > 0 || s.InFlight > 0 {
			s.AgeSeconds = oldest(ctx, js, c, info).Seconds()
		}
		r.delivered[c.Name] = info.Delivered.Consumer
		if before != nil && info.Delivered.Consumer >= before.delivered[c.Name] {
			s.Rate = float64(info.Delivered.Consumer-before.delivered[c.Name]) / r.took.Seconds()
		}
		r.Stages = append(r.Stages, s)
	}
	return r, nil
}

// oldest is the age of the first message that a consumer has not acknowledged, by the broker's
// clock; 0 where it is gone meanwhile.
func oldest(ctx context.Context, js jetstream.JetStream, c bus.Consumer, info *jetstream.ConsumerInfo) time.Duration {
	stream, err := js.Stream(ctx, c.Stream)
	if err != nil {
		return 0
	}
	m, err := stream.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject(c.Filter))
	if err != nil {
		return 0
	}
	return max(0, info.TimeStamp.Sub(m.Time))
}
