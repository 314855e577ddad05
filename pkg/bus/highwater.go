package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/events"
)

const fillEvery = time.Second

// HighWater watches how full the streams that intake writes to are. Above its mark, or where
// the events that open registrations still need would not fit, intake must stop: the stages
// keep room to finish what was accepted. Safe for concurrent use.
type HighWater struct {
	bus      *Bus
	mark     func() float64
	streams  []string
	state    atomic.Pointer[fill]
	admitted atomic.Int64 // registrations since the reading began that state is of
}

// fill is one reading.
type fill struct {
	err     error
	room    int64 // for so many more registrations, with all their events
	streams []*jetstream.StreamInfo
}

// NewHighWater returns a watch on REGISTRATIONS and VAULT. It asks for its mark, between 0 and 1,
// at each reading.
func NewHighWater(b *Bus, mark func() float64) *HighWater {
	return &HighWater{bus: b, mark: mark, streams: []string{Registrations, VaultStream}}
}

// Watch refreshes the reading every second until ctx ends.
func (h *HighWater) Watch(ctx context.Context) {
	tick := time.NewTicker(fillEvery)
	defer tick.Stop()
	for {
		before := h.admitted.Load()
		next := &fill{}
		next.room, next.err = h.read(ctx, next)
		h.state.Store(next)
		h.admitted.Add(-before)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Err returns why intake must not accept now, or nil.
func (h *HighWater) Err() error {
	f := h.state.Load()
	switch {
	case f == nil:
		return errors.New("the fill of the streams is not known yet")
	case f.err != nil:
		return f.err
	case h.admitted.Load() >= f.room:
		return errNoRoom
	}
	return nil
}

// Observe measures the streams as the last reading found them.
func (h *HighWater) Observe(p metric.MeterProvider) error {
	meter := p.Meter(scope)
	full, errFull := meter.Float64ObservableGauge("usher.stream.fill", metric.WithUnit("1"), metric.WithDescription("used part of the bytes that a stream may have"))
	age, errAge := meter.Float64ObservableGauge("usher.stream.max_age", metric.WithUnit("s"), metric.WithDescription("how long a stream keeps what it was given, handled or not"))
	lost, errLost := meter.Int64ObservableGauge("usher.stream.replicas_missing", metric.WithDescription("replicas of a stream that are not there or lag"))
	if err := errors.Join(errFull, errAge, errLost); err != nil {
		return fmt.Errorf("make metrics of the streams: %w", err)
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		f := h.state.Load()
		if f == nil {
			return nil
		}
		for _, s := range f.streams {
			by := metric.WithAttributes(attribute.String("stream", s.Config.Name))
			if s.Config.MaxBytes > 0 {
				o.ObserveFloat64(full, float64(s.State.Bytes)/float64(s.Config.MaxBytes), by)
			}
			o.ObserveFloat64(age, s.Config.MaxAge.Seconds(), by)
			o.ObserveInt64(lost, missing(s.Cluster, s.Config.Replicas), by)
		}
		return nil
	}, full, age, lost)
	if err != nil {
		return fmt.Errorf("make metrics of the streams: %w", err)
	}
	return nil
}

// Admit counts a registration that is about to be stored, so that many between two readings
// cannot overfill a stream.
func (h *HighWater) Admit() { h.admitted.Add(1) }

var errNoRoom = errors.New("stream " + Registrations + " has no room for more than the open registrations need")

// leastEvent is the size an event is reckoned with while there are few to measure.
const leastEvent = 1 << 10

func (h *HighWater) read(ctx context.Context, next *fill) (room int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	mark := h.mark()
	room = math.MaxInt64
	for _, name := range h.streams {
		s, err := h.bus.js.Stream(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("read fill of stream %s: %w", name, err)
		}
		info := s.CachedInfo()
		next.streams = append(next.streams, info)
		limit, used := float64(info.Config.MaxBytes), float64(info.State.Bytes)
		if limit <= 0 {
			continue
		}
		if used >= mark*limit {
			return 0, fmt.Errorf("stream %s is %.0f %% full", name, 100*used/limit)
		}
		if name != Registrations {
			continue
		}
		owed, err := h.owed(ctx)
		if err != nil {
			return 0, err
		}
		event := max(used/float64(max(info.State.Msgs, 1)), leastEvent)
		// Half of what is above the mark stays for what nobody can reckon.
		room = int64(((1+mark)/2*limit-used)/event-float64(owed)) / eventsOfOne
		if room <= 0 {
			return 0, errNoRoom
		}
	}
	return room, nil
}

// eventsOfOne is how many events a registration brings until its mail is sent, and one more
// for its activation.
const eventsOfOne = 6

// stepsLeft is how many events a registration still brings when it waits for a service.
var stepsLeft = map[string]uint64{
	consumerName(events.Validator, events.StepRequested): 5,
	consumerName(events.Risk, events.StepValidation):     4,
	consumerName(events.Accounts, events.StepRisk):       3,
	consumerName(events.Notifier, events.StepAccount):    2,
}

// owed counts the events that open registrations will still bring.
func (h *HighWater) owed(ctx context.Context) (uint64, error) {
	var owed uint64
	for name, steps := range stepsLeft {
		c, err := h.bus.js.Consumer(ctx, Registrations, name)
		if err != nil {
			return 0, fmt.Errorf("read queue of %s: %w", name, err)
		}
		info := c.CachedInfo()
		owed += steps * (info.NumPending + uint64(info.NumAckPending))
	}
	return owed, nil
}
