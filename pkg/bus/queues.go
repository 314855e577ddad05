package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const queuesEvery = 5 * time.Second

// Queue is how it stands with one durable consumer, as the broker tells.
type Queue struct {
	Consumer
	Pending     int64 // messages that were not delivered yet
	Unacked     int64 // delivered, and neither acknowledged nor given back
	Redelivered int   // of these or still to come: delivered before
	// Waiting are the requests for messages that the service's replicas have open: none, a few seconds
	// after the last of them has stopped.
	Waiting   int
	Delivered uint64        // how often messages were delivered since the consumer was made
	Age       time.Duration // of the oldest message that is not acknowledged; 0 where there is none

	missing int64         // replicas that do not follow
	skew    time.Duration // how much this process's clock is ahead of the broker's
}

// Queues returns how it stands with every durable consumer of the services.
func (b *Bus) Queues(ctx context.Context) ([]Queue, error) {
	var queues []Queue
	for _, c := range Consumers() {
		q, err := b.look(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("read queue of %s: %w", c.Name, err)
		}
		queues = append(queues, q)
	}
	return queues, nil
}

// watchQueues looks at the service's consumers every few seconds until ctx ends.
func (b *Bus) watchQueues(ctx context.Context) {
	tick := time.NewTicker(queuesEvery)
	defer tick.Stop()
	for {
		queues := map[string]Queue{}
		for _, c := range Consumers() {
			if c.Service != b.service {
				continue
			}
			if q, err := b.look(ctx, c); err == nil {
				queues[c.Name] = q
			}
		}
		b.metrics.queues.Store(&queues)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *Bus) look(ctx context.Context, c Consumer) (Queue, error) {
	asked := time.Now()
	consumer, err := b.js.Consumer(ctx, c.Stream, c.Name)
	if err != nil {
		return Queue{}, err
	}
	took := time.Since(asked)
	info := consumer.CachedInfo()
	q := Queue{
		Consumer: c, Pending: int64(info.NumPending), Unacked: int64(info.NumAckPending), Redelivered: info.NumRedelivered,
		Waiting: info.NumWaiting, Delivered: info.Delivered.Consumer,
		missing: missing(info.Cluster, info.Config.Replicas), skew: asked.Add(took / 2).Sub(info.TimeStamp),
	}
	if q.Pending+q.Unacked == 0 {
		return q, nil
	}
	oldest, err := leaderGet(ctx, b.nc, c.Stream, map[string]any{"seq": info.AckFloor.Stream + 1, "next_by_subj": c.Filter})
	switch {
	case errors.Is(err, ErrAbsent): // acknowledged meanwhile
		return q, nil
	case err != nil:
		return Queue{}, err
	}
	q.Age = max(0, info.TimeStamp.Sub(oldest.Time))
	return q, nil
}

// missing counts the replicas that are not there or lag; want is how many there should be. A single
// server has no cluster.
func missing(c *jetstream.ClusterInfo, want int) int64 {
	if c == nil {
		return 0
	}
	following := 0
	if c.Leader != "" {
		following++
	}
	for _, peer := range c.Replicas {
		if peer.Current && !peer.Offline {
			following++
		}
	}
	// A consumer that names no number has that of its stream, all of which are listed.
	return int64(max(want, len(c.Replicas)+1) - following)
}

func (m *metrics) observeQueues(meter metric.Meter) error {
	var problems []error
	gauge := func(name, about string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithDescription(about))
		problems = append(problems, err)
		return g
	}
	seconds := func(name, about string) metric.Float64ObservableGauge {
		g, err := meter.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(about))
		problems = append(problems, err)
		return g
	}
	pending := gauge("usher.queue.lag", "messages not yet delivered, by consumer")
	unacked := gauge("usher.queue.in_flight", "messages delivered and not acknowledged, by consumer")
	missing := gauge("usher.queue.replicas_missing", "replicas of a consumer that are not there or lag")
	age := seconds("usher.queue.age", "age of the oldest message that is not acknowledged, by consumer; 0 where there is none")
	skew := seconds("usher.clock.skew", "how much this process's clock is ahead of the broker's")
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		queues := m.queues.Load()
		if queues == nil {
			return nil
		}
		var worst time.Duration
		for consumer, q := range *queues {
			by := metric.WithAttributes(attribute.String("consumer", consumer))
			o.ObserveInt64(pending, q.Pending, by)
			o.ObserveInt64(unacked, q.Unacked, by)
			o.ObserveInt64(missing, q.missing, by)
			o.ObserveFloat64(age, q.Age.Seconds(), by)
			if q.skew.Abs() > worst.Abs() {
				worst = q.skew
			}
		}
		o.ObserveFloat64(skew, worst.Seconds())
		return nil
	}, pending, unacked, missing, age, skew)
	return errors.Join(append(problems, err)...)
}
