package webhooks

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics tell of no URL: an endpoint is its tenant's affair.
type metrics struct {
	attempts metric.Int64Counter
	duration metric.Float64Histogram
}

// newMetrics makes them; endpoints counts those that are known, by tenant and state.
func newMetrics(p metric.MeterProvider, endpoints func(count func(tenant string, s State))) (*metrics, error) {
	meter := p.Meter("github.com/usherhq/usher/services/ledger/webhooks")
	var m metrics
	var errs [3]error
	m.attempts, errs[0] = meter.Int64Counter("usher.webhook.attempts", metric.WithDescription("requests to receivers of webhooks by tenant and outcome"))
	m.duration, errs[1] = meter.Float64Histogram("usher.webhook.duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15), metric.WithDescription("time until a receiver has answered, by outcome"))
	_, errs[2] = meter.Int64ObservableGauge("usher.webhook.endpoints", metric.WithDescription("webhooks by tenant and state"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			counts := map[[2]string]int64{}
			endpoints(func(tenant string, s State) { counts[[2]string{tenant, string(s)}]++ })
			for of, n := range counts {
				o.Observe(n, metric.WithAttributes(attribute.String("tenant", of[0]), attribute.String("state", of[1])))
			}
			return nil
		}))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make metrics of webhooks: %w", err)
	}
	return &m, nil
}

func (m *metrics) attempted(ctx context.Context, tenant string, a Attempt) {
	outcome := attribute.String("outcome", a.outcome)
	m.attempts.Add(ctx, 1, metric.WithAttributes(attribute.String("tenant", tenant), outcome))
	m.duration.Record(ctx, float64(a.Duration)/1000, metric.WithAttributes(outcome))
}
