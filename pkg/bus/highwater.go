package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/events"
)

const fillEvery = time.Second

// HighWater watches how full the streams that intake writes to are. Above its mark, or where
// the events that open registrations still need would not fit, intake must stop: the stages
// keep room to finish what was accepted. Safe for concurrent use.
type HighWater struct {
	bus      *Bus
	mark     float64
	streams  []string
	state    atomic.Pointer[fill]
	admitted atomic.Int64 // registrations since the reading began that state is of
}

// fill is one reading.
type fill struct {
	err  error
	room int64 // for so many more registrations, with all their events
}

// NewHighWater returns a watch on REGISTRATIONS and VAULT with a mark between 0 and 1.
func NewHighWater(b *Bus, mark float64) *HighWater {
	return &HighWater{bus: b, mark: mark, streams: []string{Registrations, VaultStream}}
}

// Watch refreshes the reading every second until ctx ends.
func (h *HighWater) Watch(ctx context.Context) {
	tick := time.NewTicker(fillEvery)
	defer tick.Stop()
	for {
		before := h.admitted.Load()
		room, err := h.read(ctx)
		h.state.Store(&fill{err, room})
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

// Admit counts a registration that is about to be stored, so that many between two readings
// cannot overfill a stream.
func (h *HighWater) Admit() { h.admitted.Add(1) }

var errNoRoom = errors.New("stream " + Registrations + " has no room for more than the open registrations need")

// leastEvent is the size an event is reckoned with while there are few to measure.
const leastEvent = 1 << 10

func (h *HighWater) read(ctx context.Context) (room int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	room = math.MaxInt64
	for _, name := range h.streams {
		s, err := h.bus.js.Stream(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("read fill of stream %s: %w", name, err)
		}
		info := s.CachedInfo()
		limit, used := float64(info.Config.MaxBytes), float64(info.State.Bytes)
		if limit <= 0 {
			continue
		}
		if used >= h.mark*limit {
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
		room = int64(((1+h.mark)/2*limit-used)/event-float64(owed)) / eventsOfOne
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
