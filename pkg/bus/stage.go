package bus

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/vault"
)

// In is an event as a handler gets it.
type In[E events.Event] struct {
	events.Record
	Data E
}

// Handler reacts to one type of event. Make it with On or OnAny.
type Handler struct {
	eventType string // "" reacts to every type
	run       func(context.Context, events.Record) (events.Event, error)
	adopt     func(context.Context, events.Record, events.Event) error
}

// On makes a handler of a function. The function does its effect, keyed by the registration
// so that it can run any number of times, and returns the event that tells of it, or nil.
// An error is retried with a growing delay, unless it is Permanent or Later. An event beside Later
// is published before the message is parked.
func On[E events.Event](react func(context.Context, In[E]) (events.Event, error)) Handler {
	var zero E
	return Handler{eventType: zero.Type(), run: func(ctx context.Context, r events.Record) (events.Event, error) {
		e, ok := r.Event.(E)
		if !ok {
			return nil, Permanent("TYPE", fmt.Errorf("handler of %s got another type", zero.Type()))
		}
		return react(ctx, In[E]{Record: r, Data: e})
	}}
}

// OnAny makes a handler of every type of event.
func OnAny(react func(context.Context, events.Record) error) Handler {
	return Handler{run: func(ctx context.Context, r events.Record) (events.Event, error) {
		return nil, react(ctx, r)
	}}
}

// Adopting adds what to do when the stream already holds another outcome of the step than
// the handler's: the stored one wins, and adopt sets the document to it.
func (h Handler) Adopting(adopt func(ctx context.Context, in events.Record, stored events.Event) error) Handler {
	h.adopt = adopt
	return h
}

// permanentError cannot be mended by a retry.
type permanentError struct {
	code string
	err  error
}

func (e *permanentError) Error() string { return e.code + ": " + e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error that no retry can mend: the message goes to the dead letters and
// the registration is FAILED with this code until it is replayed.
func Permanent(code string, err error) error { return &permanentError{code, err} }

// errPersonMissing is the code of a registration whose sealed person is gone too early.
const errPersonMissing = "PERSON_MISSING"

// stage is the harness around a service's handlers: it decodes, traces, runs, publishes the
// outcome once, and decides what becomes of a message that could not be handled.
type stage struct {
	*Bus
	handlers []Handler
}

// Run consumes every step that the flow table gives to the service, until ctx ends; then it
// finishes what is in flight. A step without a handler for a type acknowledges that type.
func (b *Bus) Run(ctx context.Context, handlers ...Handler) error {
	s := &stage{b, handlers}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 8 * time.Second}, watermill.NopLogger{}) // what matters is logged here
	if err != nil {
		return fmt.Errorf("make router: %w", err)
	}
	for _, c := range Consumers() {
		if c.Service == b.service {
			router.AddConsumerHandler(c.Name, c.Name, NewSubscriber(b.bind(c), b.log), s.process)
		}
	}
	go b.watchQueues(ctx)
	stop := context.AfterFunc(ctx, func() { _ = router.Close() })
	defer stop()
	sweepCtx, endSweep := context.WithCancel(ctx)
	var sweeping sync.WaitGroup
	defer func() { endSweep(); sweeping.Wait() }()
	if b.parked != nil {
		sweeping.Go(func() { s.sweep(sweepCtx) })
	}
	if err := router.Run(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("run handlers: %w", err)
	}
	return nil
}

func (b *Bus) bind(c Consumer) Bind {
	return func(ctx context.Context, _ string) (jetstream.Consumer, int, error) {
		ctx, cancel := context.WithTimeout(ctx, publishTimeout)
		defer cancel()
		consumer, err := b.js.Consumer(ctx, c.Stream, c.Name)
		return consumer, c.InFlight, err
	}
}

// patience is how often a message is delivered again, some seconds in all, before it is put
// aside: those that fail for long, a tenant's that is not configured, say, must not take the
// places in flight from all others.
const patience = 7

// process is the stage rule. Its error means: deliver again later.
func (s *stage) process(w *message.Message) error {
	ctx := w.Context()
	d := deliveryOf(w)
	replay, err := d.unwrapReplay()
	if err == nil {
		err = s.handle(ctx, d, replay)
	}
	if err == nil {
		return nil
	}
	if err = s.settle(ctx, d, replay, err); err != nil && d.attempt > patience && s.parked != nil {
		if parked := s.park(ctx, d, time.Now().Add(aside)); parked == nil {
			s.log.WarnContext(ctx, "message put aside, it will be tried again", "subject", d.subject, "attempt", d.attempt, "error", err)
			return nil
		}
	}
	if err != nil {
		s.metrics.retried(ctx, d)
		s.log.WarnContext(ctx, "message will be delivered again", "subject", d.subject, "attempt", d.attempt, "error", err)
	}
	return err
}

// handle runs the handler of a message and publishes its outcome.
func (s *stage) handle(ctx context.Context, d *delivery, replay int) error {
	if _, known := events.Blank(d.eventType()); known {
		if _, ok := s.handlerOf(d.eventType()); !ok {
			return nil
		}
	}
	r, err := events.Decode(d.subject, d.header, d.data)
	if err != nil {
		return err
	}
	r.Sequence, r.Stored = d.sequence, d.stored
	h, ok := s.handlerOf(r.Event.Type())
	if !ok {
		return nil
	}
	started := time.Now()
	ctx, span := s.trace.process(ctx, r, d)
	defer span.End()
	out, err := s.call(ctx, h, r)
	if s.twice && concludes(err) {
		out, err = s.call(ctx, h, r)
	}
	if out != nil && concludes(err) {
		err = cmp.Or(s.conclude(ctx, h, r, out), err)
	}
	span.fail(err)
	s.metrics.handled(ctx, r, out, time.Since(started), err)
	return err
}

// concludes reports whether a handler's event counts.
func concludes(err error) bool {
	var later *laterError
	return err == nil || errors.As(err, &later)
}

func (s *stage) handlerOf(eventType string) (Handler, bool) {
	i := slices.IndexFunc(s.handlers, func(h Handler) bool { return h.eventType == eventType || h.eventType == "" })
	if i < 0 {
		return Handler{}, false
	}
	return s.handlers[i], true
}

// panicError is a panic of a handler, without its value: that may hold anything.
type panicError struct{ stack []byte }

func (*panicError) Error() string { return "handler panicked" }

func (s *stage) call(ctx context.Context, h Handler, r events.Record) (out events.Event, err error) {
	defer func() {
		if recover() != nil {
			err = &panicError{debug.Stack()}
		}
	}()
	return h.run(ctx, r)
}

// releasing is an outcome after which nobody needs an entry of the vault.
type releasing interface{ Releases() (vault uint64) }

// conclude publishes the outcome and deletes the person nobody needs after it. Where the step
// has an outcome already, that one wins.
func (s *stage) conclude(ctx context.Context, h Handler, in events.Record, out events.Event) error {
	err := s.Publish(ctx, in.Subject.Tenant, in.Subject.Registration, out)
	if errors.Is(err, ErrExists) {
		out, err = s.concluded(ctx, h, in, out)
	}
	if err != nil {
		return err
	}
	if last, ok := out.(releasing); ok && last.Releases() > 0 {
		return s.persons.Delete(ctx, in.Subject.Tenant, in.Subject.Registration, last.Releases())
	}
	return nil
}

// concluded returns the outcome that is stored in the place of out.
func (s *stage) concluded(ctx context.Context, h Handler, in events.Record, out events.Event) (events.Event, error) {
	if _, last := out.(releasing); !last && h.adopt == nil {
		return out, nil
	}
	stored, err := s.StoredAt(ctx, events.SubjectOf(in.Subject.Tenant, in.Subject.Registration, out))
	if err != nil {
		return nil, err
	}
	if h.adopt != nil && !same(stored.Event, out) {
		err = h.adopt(ctx, in, stored.Event)
	}
	return stored.Event, err
}

func same(a, b events.Event) bool {
	if a.Type() != b.Type() {
		return false
	}
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// settle decides what becomes of a message that was not handled: dead letter, parked,
// acknowledged without effect (nil), or delivered again (an error).
func (s *stage) settle(ctx context.Context, d *delivery, replay int, err error) error {
	var (
		permanent *permanentError
		later     *laterError
		panicked  *panicError
	)
	switch {
	case errors.Is(err, events.ErrNewer):
		s.log.ErrorContext(ctx, "message of a newer version waits for a newer service", "subject", d.subject, "error", err)
		return err
	case errors.Is(err, events.ErrGarbage), errors.Is(err, events.ErrSubject):
		return s.bury(ctx, d, replay, "GARBAGE", err)
	case errors.As(err, &later):
		return s.park(ctx, d, later.at)
	case errors.As(err, &permanent):
		return s.bury(ctx, d, replay, permanent.code, err)
	case errors.Is(err, vault.ErrMissing):
		return s.personMissing(ctx, d, replay)
	case errors.As(err, &panicked):
		s.log.ErrorContext(ctx, "handler panicked", "subject", d.subject, "stack", string(panicked.stack))
		if s.panics.count(d.subject) >= 3 {
			return s.bury(ctx, d, replay, "PANIC", err)
		}
	}
	return err
}

// personMissing judges a miss in the vault by the leader's history: where the registration has
// moved on, ended or is being erased the message is done; else the person is lost. The entry is
// taken out right after the end, so that a replica may still lack it.
func (s *stage) personMissing(ctx context.Context, d *delivery, replay int) error {
	in, err := events.ParseSubject(d.subject)
	if err != nil {
		return err
	}
	history, err := s.LeaderHistory(ctx, in.Tenant, in.Registration)
	if err != nil {
		return err
	}
	for _, r := range history {
		if r.Subject.Step == events.StepErasure || s.isOutcome(in.Step, r) {
			return nil
		}
	}
	if events.Fold(history).Terminal() {
		return nil
	}
	return s.bury(ctx, d, replay, errPersonMissing, vault.ErrMissing)
}

// isOutcome reports whether r can be what this service published in reaction to step in, and it
// owes nothing more: who waits for lists still needs the person.
func (s *stage) isOutcome(in events.Step, r events.Record) bool {
	position := func(step events.Step) int {
		return slices.IndexFunc(events.Flow, func(r events.Row) bool { return r.Step == step })
	}
	_, waits := r.Event.(events.ScreeningWait)
	return !waits && r.Source == s.service && r.Subject.Step != events.StepFailed && position(r.Subject.Step) > position(in)
}
