package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

// BenchmarkStage is what the harness takes for a message: one that its service ignores, one
// it handles, and one whose outcome it publishes. The broker's own time is in it.
func BenchmarkStage(b *testing.B) {
	for name, handler := range map[string]func(*atomic.Int64) Handler{
		"handled": func(n *atomic.Int64) Handler {
			return On(func(context.Context, In[events.Requested]) (events.Event, error) { n.Add(1); return nil, nil })
		},
		"concluded": func(n *atomic.Int64) Handler {
			return On(func(context.Context, In[events.Requested]) (events.Event, error) {
				n.Add(1)
				return events.Validated{}, nil
			})
		},
	} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			validator := w.bus(events.Validator)
			m, err := newMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())), events.Validator)
			if err != nil {
				b.Fatal(err)
			}
			validator.metrics = m
			validator.trace = newTracer(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())), events.Validator)
			for i := range b.N {
				w.request(fmt.Sprint("r", i))
			}
			var handled atomic.Int64
			b.ResetTimer()
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error)
			go func() { done <- validator.Run(ctx, handler(&handled)) }()
			w.eventually("all are handled", func() bool { return handled.Load() >= int64(b.N) })
			b.StopTimer()
			stop()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkSweep is what the harness takes for a parked message that is due, as after an outage.
func BenchmarkSweep(b *testing.B) {
	w := newWorld(b)
	for i := range b.N {
		w.request(fmt.Sprint("r", i))
	}
	var released atomic.Bool
	var handled atomic.Int64
	due := time.Now().Add(time.Minute + time.Duration(b.N)*time.Millisecond)
	validator := w.bus(events.Validator)
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error)
	go func() {
		done <- validator.Run(ctx, On(func(context.Context, In[events.Requested]) (events.Event, error) {
			if !released.Load() {
				return nil, Later(due)
			}
			handled.Add(1)
			return events.Validated{}, nil
		}))
	}()
	parkedNow := func() bool {
		n, err := w.store.Count(b.Context(), ParkedSchema.Collection, nil)
		return err == nil && n == int64(b.N)
	}
	w.eventually("all are parked", func() bool { return parkedNow() && w.settled() })
	released.Store(true)
	for after := ""; ; {
		page, next, err := validator.parked.Find(b.Context(), store.Query{Limit: 1000, After: after})
		if err != nil {
			b.Fatal(err)
		}
		var updates sync.WaitGroup
		for _, p := range page {
			p.Value.DueAt = 1
			updates.Go(func() { _, _ = validator.parked.Update(b.Context(), p) })
		}
		updates.Wait()
		if after = next; next == "" {
			break
		}
	}
	b.ResetTimer()
	before := handled.Load()
	w.eventually("all are handled", func() bool { return handled.Load() >= int64(b.N) })
	b.StopTimer()
	b.ReportMetric(float64(int64(b.N)-before)/max(b.Elapsed().Seconds(), 1e-9), "messages/s")
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
