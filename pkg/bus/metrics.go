package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/events"
)

// metrics are counted per step and type of event; never per tenant or registration.
type metrics struct {
	in, out, retries, parkings, dead, lost metric.Int64Counter
	processing, sinceReceipt               metric.Float64Histogram
	queues                                 atomic.Pointer[map[string]Queue]
	series                                 sync.Map // of labels to metric.MeasurementOption
}

// labels are what a message is counted by; an empty one is left out.
type labels struct{ step, eventType, result, code string }

// by returns the attributes of labels. The same ones are made once.
func (m *metrics) by(l labels) metric.MeasurementOption {
	if option, made := m.series.Load(l); made {
		return option.(metric.MeasurementOption)
	}
	var attributes []attribute.KeyValue
	for _, a := range [...]struct{ name, value string }{{"step", l.step}, {"type", l.eventType}, {"result", l.result}, {"code", l.code}} {
		if a.value != "" {
			attributes = append(attributes, attribute.String(a.name, a.value))
		}
	}
	option, _ := m.series.LoadOrStore(l, metric.WithAttributeSet(attribute.NewSet(attributes...)))
	return option.(metric.MeasurementOption)
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
	m.lost = counter("usher.stage.parked_lost", "parked messages that their stream let go of before they were handled")
	m.processing = histogram("messaging.process.duration", "time to handle one message")
	m.sinceReceipt = histogram("usher.stage.age", "time from the event's storing to its handling")
	problems = append(problems, m.observeQueues(meter))
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("make metrics of %s: %w", service, err)
	}
	m.begin(service)
	return m, nil
}

// begin makes the counters of what seldom happens before it does: of a counter that appears with its
// first count nobody sees it rise.
func (m *metrics) begin(service events.Service) {
	for _, c := range Consumers() {
		if s, err := events.ParseSubject(strings.ReplaceAll(c.Filter, "*", "x")); c.Service == service && err == nil {
			by := m.by(labels{step: string(s.Step)})
			for _, counter := range []metric.Int64Counter{m.retries, m.parkings, m.lost} {
				counter.Add(context.Background(), 0, by)
			}
		}
	}
}

func (m *metrics) handled(ctx context.Context, r events.Record, out events.Event, took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	step := string(r.Subject.Step)
	by := m.by(labels{step: step, eventType: r.Event.Type(), result: result})
	m.in.Add(ctx, 1, by)
	m.processing.Record(ctx, took.Seconds(), by)
	m.sinceReceipt.Record(ctx, time.Since(r.Stored).Seconds(), m.by(labels{step: step}))
}

func (m *metrics) published(ctx context.Context, r events.Record) {
	by := labels{step: string(r.Subject.Step), eventType: r.Event.Type()}
	if rejected, ok := r.Event.(events.Rejected); ok && len(rejected.Violations) > 0 {
		by.code = rejected.Violations[0].Code
	}
	m.out.Add(ctx, 1, m.by(by))
}

func (m *metrics) retried(ctx context.Context, d *delivery) {
	m.retries.Add(ctx, 1, m.by(labels{step: stepOf(d)}))
}

func (m *metrics) parked(ctx context.Context, d *delivery) {
	m.parkings.Add(ctx, 1, m.by(labels{step: stepOf(d)}))
}

func (m *metrics) deadLettered(ctx context.Context, d *delivery, code string) {
	m.dead.Add(ctx, 1, m.by(labels{step: stepOf(d), code: code}))
}

func (m *metrics) forgotten(ctx context.Context, subject string) {
	m.lost.Add(ctx, 1, m.by(labels{step: stepOf(&delivery{subject: subject})}))
}

// stepOf is the step of a message, "other" where it has none of ours.
func stepOf(d *delivery) string {
	if s, err := events.ParseSubject(d.subject); err == nil {
		if _, known := events.RowOf(s.Step); known {
			return string(s.Step)
		}
	}
	return "other"
}
