package bus

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

// laterOnce parks each message once, and handles it with then when it is due.
func laterOnce(then func(context.Context) (events.Event, error)) Handler {
	var seen sync.Map
	return On(func(ctx context.Context, in In[events.Requested]) (events.Event, error) {
		if _, again := seen.LoadOrStore(in.Subject.Registration, true); !again {
			return nil, Later(time.Now())
		}
		return then(ctx)
	})
}

func TestAParkedMessageThatTakesLongDoesNotHoldTheOthersUp(t *testing.T) {
	w := newWorld(t)
	var together sync.WaitGroup
	together.Add(3)
	w.run(laterOnce(func(context.Context) (events.Event, error) {
		together.Done()
		together.Wait() // each waits for all
		return events.Validated{}, nil
	}))
	ids := []string{"r1", "r2", "r3"}
	for _, id := range ids {
		w.request(id)
	}
	for _, id := range ids {
		w.eventually(id+" is handled", func() bool { return w.status(id) == events.StatusValidated })
	}
}

func TestTheEndWaitsForAParkedMessageThatIsBeingHandled(t *testing.T) {
	w := newWorld(t)
	begun, ended := make(chan struct{}), make(chan struct{})
	var cut atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	b := w.bus(events.Validator)
	go func() {
		done <- b.Run(ctx, laterOnce(func(ctx context.Context) (events.Event, error) {
			close(begun)
			<-ended
			cut.Store(ctx.Err() != nil)
			return events.Validated{}, nil
		}))
	}()
	w.request("r1")
	select {
	case <-begun:
	case <-time.After(20 * time.Second):
		t.Fatal("the message was not handled when due")
	}
	cancel()
	select {
	case <-done:
		t.Fatal("the end did not wait")
	case <-time.After(500 * time.Millisecond):
	}
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if status := w.status("r1"); cut.Load() || status != events.StatusValidated {
		t.Errorf("its context had ended: %v; status %s", cut.Load(), status)
	}
	if n, err := w.store.Count(t.Context(), ParkedSchema.Collection, nil); err != nil || n != 0 {
		t.Errorf("%d messages are parked still, %v", n, err)
	}
}

// lockedBuffer is a buffer of several writers.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func TestAParkedMessageThatTheStreamLetGoOfIsTold(t *testing.T) {
	w := newWorld(t)
	due := time.Now().Add(2 * time.Second)
	stop := w.run(On(func(context.Context, In[events.Requested]) (events.Event, error) { return nil, Later(due) }))
	w.request("r1")
	w.eventually("parked and acknowledged", w.settled)
	stop()
	stream, err := w.js.Stream(t.Context(), Registrations)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	said, reader := &lockedBuffer{}, sdkmetric.NewManualReader()
	b, err := New(Config{Service: events.Validator, Conn: w.bus(events.Validator).nc, Log: slog.New(slog.NewTextHandler(said, nil)),
		Tracer: tracenoop.NewTracerProvider(), Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Store: w.store})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, On(valid)) }()
	w.eventually("forgotten", func() bool {
		n, err := w.store.Count(t.Context(), ParkedSchema.Collection, nil)
		return err == nil && n == 0
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if log := said.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "reg.acme.r1.requested.1") {
		t.Errorf("the log says %q", log)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var lost int64
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "usher.stage.parked_lost" {
				for _, point := range sum.DataPoints {
					lost += point.Value
				}
			}
		}
	}
	if lost != 1 {
		t.Errorf("%d are counted as lost", lost)
	}
}

func TestAFullBatchIsFollowedAtOnceOnlyWhereTheStoreTakesSomething(t *testing.T) {
	memory := store.NewMemory()
	if err := memory.Ensure(t.Context(), ParkedSchema); err != nil {
		t.Fatal(err)
	}
	s := &stage{Bus: &Bus{parked: store.NewDocs(memory, ParkedSchema, parked.fields)}}
	for i := range sweepBatch {
		if err := s.parked.Insert(t.Context(), fmt.Sprint("m", i), parked{DueAt: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ takes, more bool }{
		"the store takes one":  {true, true},
		"the store takes none": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			first := true
			more, err := s.sweepOnce(t.Context(), func(_ store.Stored[parked], tried func(bool)) {
				tried(first && c.takes)
				first = false
			}, make(chan struct{}, sweepBatch))
			if err != nil || more != c.more {
				t.Errorf("more is %v, %v", more, err)
			}
		})
	}
}
