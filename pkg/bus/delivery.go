package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// delivery is one message as the broker handed it over.
type delivery struct {
	subject  string
	header   nats.Header
	data     []byte
	stream   string
	sequence uint64
	stored   time.Time
	attempt  uint64 // from 1; kills raise it, so it decides nothing but the delay
}

func newDelivery(m jetstream.Msg) (*delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	return &delivery{
		subject: m.Subject(), header: m.Headers(), data: m.Data(),
		stream: meta.Stream, sequence: meta.Sequence.Stream, stored: meta.Timestamp, attempt: meta.NumDelivered,
	}, nil
}

type deliveryKey struct{}

// message is the delivery in watermill's form. Headers with several values keep the first:
// the harness judges the delivery itself.
func (d *delivery) message(ctx context.Context) *message.Message {
	id := d.header.Get(headerID)
	if id == "" {
		id = d.subject
	}
	w := message.NewMessage(id, d.data)
	for name, values := range d.header {
		if len(values) > 0 && name != headerID {
			w.Metadata[name] = values[0]
		}
	}
	w.SetContext(context.WithValue(ctx, deliveryKey{}, d))
	return w
}

func deliveryOf(m *message.Message) *delivery {
	return m.Context().Value(deliveryKey{}).(*delivery)
}

// eventType is what the message says it is; "" where it says nothing or more than one thing.
func (d *delivery) eventType() string {
	if types := d.header["ce-type"]; len(types) == 1 {
		return types[0]
	}
	return ""
}

// delay doubles from 100 ms to 10 s.
func (d *delivery) delay() time.Duration {
	delay := firstDelay
	for range d.attempt - 1 {
		if delay *= 2; delay >= longestDelay {
			return longestDelay
		}
	}
	return delay
}
