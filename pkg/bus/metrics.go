package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/events"
)

const lagEvery = 5 * time.Second

// metrics are counted per step and type of event; never per tenant or registration.
type metrics struct {
	in, out, retries, parkings, dead metric.Int64Counter
	processing, sinceReceipt         metric.Float64Histogram
	lag                              atomic.Pointer[map[string]consumerLag]
}

type consumerLag struct {
	pending, unacked int64
}

func newMetrics(p metric.MeterProvider, service events.Service) (*metrics, error) {
	m := &metrics{}
	meter := p.Meter(scope)
	var problems []error
	counter := func(name, about string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithDescription(about))
		problems = append(problems, err)
		return c
	}
	histogram := func(name, about string) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(about),
			metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600))
		problems = append(problems, err)
		return h
	}
	m.in = counter("usher.stage.in", "messages handled, by step, type and result")
	m.out = counter("usher.stage.out", "events published, by step, type and code of rejection")
	m.retries = counter("usher.stage.retried", "messages to be delivered again")
	m.parkings = counter("usher.stage.parked", "messages put aside until they are due")
	m.dead = counter("usher.stage.dead_lettered", "messages given up, by code")
	m.processing = histogram("messaging.process.duration", "time to handle one message")
	m.sinceReceipt = histogram("usher.stage.age", "time from the event's storing to its handling")
	problems = append(problems, m.observeLag(meter))
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("make metrics of %s: %w", service, err)
	}
	return m, nil
}

func (m *metrics) observeLag(meter metric.Meter) error {
	pending, err := meter.Int64ObservableGauge("usher.queue.lag", metric.WithDescription("messages not yet delivered, by consumer"))
	if err != nil {
		return err
	}
	unacked, err := meter.Int64ObservableGauge("usher.queue.in_flight", metric.WithDescription("messages delivered and not acknowledged, by consumer"))
	if err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		lags := m.lag.Load()
		if lags == nil {
			return nil
		}
		for consumer, l := range *lags {
			by := metric.WithAttributes(attribute.String("consumer", consumer))
			o.ObserveInt64(pending, l.pending, by)
			o.ObserveInt64(unacked, l.unacked, by)
		}
		return nil
	}, pending, unacked)
	return err
}

// watchLag reads the service's consumers every few seconds until ctx ends.
func (m *metrics) watchLag(ctx context.Context, js jetstream.JetStream, service events.Service) {
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		lags := map[string]consumerLag{}
		for _, c := range Consumers() {
			if c.Service != service {
				continue
			}
			if consumer, err := js.Consumer(ctx, c.Stream, c.Name); err == nil {
				info := consumer.CachedInfo()
				lags[c.Name] = consumerLag{int64(info.NumPending), int64(info.NumAckPending)}
			}
		}
		m.lag.Store(&lags)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *metrics) handled(ctx context.Context, r events.Record, out events.Event, took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	by := metric.WithAttributes(attribute.String("step", string(r.Subject.Step)), attribute.String("type", r.Event.Type()), attribute.String("result", result))
	m.in.Add(ctx, 1, by)
	m.processing.Record(ctx, took.Seconds(), by)
	m.sinceReceipt.Record(ctx, time.Since(r.Stored).Seconds(), metric.WithAttributes(attribute.String("step", string(r.Subject.Step))))
}

func (m *metrics) published(ctx context.Context, r events.Record) {
	by := []attribute.KeyValue{attribute.String("step", string(r.Subject.Step)), attribute.String("type", r.Event.Type())}
	rejected, ok := r.Event.(events.Rejected)
	if !ok || len(rejected.Violations) == 0 {
		m.out.Add(ctx, 1, metric.WithAttributes(by...))
		return
	}
	m.out.Add(ctx, 1, metric.WithAttributes(append(by, attribute.String("code", rejected.Violations[0].Code))...))
}

func (m *metrics) retried(ctx context.Context, d *delivery) { m.retries.Add(ctx, 1, stepOf(d)) }
func (m *metrics) parked(ctx context.Context, d *delivery)  { m.parkings.Add(ctx, 1, stepOf(d)) }
func (m *metrics) deadLettered(ctx context.Context, d *delivery, code string) {
	m.dead.Add(ctx, 1, stepOf(d), metric.WithAttributes(attribute.String("code", code)))
}

func stepOf(d *delivery) metric.MeasurementOption {
	step := "other"
	if s, err := events.ParseSubject(d.subject); err == nil {
		if _, known := events.RowOf(s.Step); known {
			step = string(s.Step)
		}
	}
	return metric.WithAttributes(attribute.String("step", step))
}
