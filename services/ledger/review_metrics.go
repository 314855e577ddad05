package ledger

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/pkg/store"
)

// observe measures, for each tenant, how many cases are in each state and how long the oldest
// open one has been; alarm on the latter.
func (q *queue) observe(p metric.MeterProvider, tenants func() []string) error {
	m := p.Meter("github.com/usherhq/usher/services/ledger")
	age, err := m.Int64ObservableGauge("usher.review.oldest_open", metric.WithUnit("s"),
		metric.WithDescription("age of the oldest open review case; 0 where none is open"))
	if err != nil {
		return fmt.Errorf("make metrics of reviews: %w", err)
	}
	cases, err := m.Int64ObservableGauge("usher.review.cases", metric.WithDescription("review cases by state"))
	if err != nil {
		return fmt.Errorf("make metrics of reviews: %w", err)
	}
	_, err = m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		for _, t := range tenants() {
			oldest, err := q.oldest(ctx, t, time.Now())
			if err != nil {
				return err
			}
			of := attribute.String("tenant", t)
			o.ObserveInt64(age, int64(oldest.Seconds()), metric.WithAttributes(of))
			for _, state := range ReviewStates {
				n, err := q.cases.Count(ctx, store.Fields{"tenant": t, "state": string(state)})
				if err != nil {
					return fmt.Errorf("count cases: %w", err)
				}
				o.ObserveInt64(cases, n, metric.WithAttributes(of, attribute.String("state", string(state))))
			}
		}
		return nil
	}, age, cases)
	if err != nil {
		return fmt.Errorf("make metrics of reviews: %w", err)
	}
	return nil
}

// oldest is how long the oldest open case of a tenant has been open.
func (q *queue) oldest(ctx context.Context, tenant string, now time.Time) (time.Duration, error) {
	open, _, err := q.cases.Find(ctx, store.Query{Where: store.Fields{"tenant": tenant, "state": string(ReviewOpen)}, Order: "openedAt", Limit: 1})
	if err != nil || len(open) == 0 {
		return 0, err
	}
	return max(0, now.Sub(time.UnixMilli(open[0].Value.Asked.At))), nil
}
