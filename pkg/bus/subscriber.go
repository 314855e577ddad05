package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullExpiry   = 5 * time.Second
	firstDelay   = 100 * time.Millisecond
	longestDelay = 10 * time.Second // a negative acknowledgement is for seconds; longer waits are parked
	rebindDelay  = 250 * time.Millisecond
	finishTime   = 5 * time.Second // how long a handler that has begun may go on after the end
)

// Bind finds the durable consumer of a topic and how many of its messages may be in flight.
type Bind func(ctx context.Context, topic string) (c jetstream.Consumer, inFlight int, err error)

// Subscriber is watermill's message.Subscriber over durable JetStream pull consumers. It
// never creates, changes or deletes a consumer, and outlives restarts of the broker. A
// message is acknowledged only after its handler acknowledged it; until then the broker is
// told that work goes on. Order between messages is not kept. Safe for concurrent use.
type Subscriber struct {
	bind Bind
	log  *slog.Logger

	once    sync.Once
	closing chan struct{}
	running sync.WaitGroup
}

// NewSubscriber returns a subscriber; Close ends it.
func NewSubscriber(bind Bind, log *slog.Logger) *Subscriber {
	return &Subscriber{bind: bind, log: log, closing: make(chan struct{})}
}

// Subscribe delivers the topic's messages until ctx ends or Close is called, then closes the
// channel once those in flight are settled.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	select {
	case <-s.closing:
		return nil, errors.New("subscribe: subscriber is closed")
	default:
	}
	out := make(chan *message.Message)
	ctx, cancel := context.WithCancel(ctx)
	s.running.Go(func() {
		defer cancel()
		select {
		case <-s.closing:
		case <-ctx.Done():
		}
	})
	s.running.Go(func() {
		defer close(out)
		defer cancel()
		s.follow(ctx, topic, out)
	})
	return out, nil
}

// Close stops fetching and waits for the messages in flight, for a few seconds at most. What
// is not settled by then is delivered again.
func (s *Subscriber) Close() error {
	s.once.Do(func() { close(s.closing) })
	s.running.Wait()
	return nil
}

// follow binds to the consumer again and again until ctx ends.
func (s *Subscriber) follow(ctx context.Context, topic string, out chan<- *message.Message) {
	for ctx.Err() == nil {
		c, inFlight, err := s.bind(ctx, topic)
		if err == nil {
			err = s.consume(ctx, c, inFlight, out)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("consumer interrupted", "consumer", topic, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(rebindDelay):
		}
	}
}

func (s *Subscriber) consume(ctx context.Context, c jetstream.Consumer, inFlight int, out chan<- *message.Message) error {
	messages, err := c.Messages(jetstream.PullMaxMessages(inFlight), jetstream.PullExpiry(pullExpiry))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, messages.Drain)
	defer stop()
	defer messages.Stop()

	var settled sync.WaitGroup
	defer settled.Wait()
	slots := make(chan struct{}, inFlight)
	for {
		m, err := messages.Next()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			_ = m.Nak() // hand what was only fetched to another replica at once
			continue
		}
		slots <- struct{}{}
		settled.Go(func() {
			defer func() { <-slots }()
			s.deliver(ctx, m, out)
		})
	}
}

// deliver hands one message over and settles it as its handler says.
func (s *Subscriber) deliver(ctx context.Context, m jetstream.Msg, out chan<- *message.Message) {
	d, err := newDelivery(m)
	if err != nil {
		s.log.Error("message without JetStream metadata", "error", err)
		return
	}
	// A handler that has begun may finish after ctx: its context ends when it is settled.
	handling, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	w := d.message(handling)
	select {
	case out <- w:
	case <-ctx.Done():
		_ = m.Nak()
		return
	}
	working := time.NewTicker(ackWait / 3)
	defer working.Stop()
	ending, overdue := ctx.Done(), (<-chan time.Time)(nil)
	for {
		select {
		case <-w.Acked():
			s.ack(m)
			return
		case <-w.Nacked():
			_ = m.NakWithDelay(d.delay())
			return
		case <-working.C:
			_ = m.InProgress()
		case <-ending:
			ending, overdue = nil, time.After(finishTime)
		case <-overdue:
			_ = m.Nak()
			return
		}
	}
}

// ack is only a hint: effects are idempotent, and a message whose acknowledgement was lost
// comes again. A confirmation would be lost by a kill of the broker as well, at the price of
// a request for each message.
func (s *Subscriber) ack(m jetstream.Msg) {
	if err := m.Ack(); err != nil {
		s.log.Debug("acknowledgement not sent", "error", err)
	}
}
