package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrExists is returned for a create-once publish to a subject that already has its event.
var ErrExists = errors.New("an event is already stored there")

const (
	headerID       = "ce-id"
	headerExpected = "Nats-Expected-Last-Subject-Sequence"
	publishTimeout = 5 * time.Second
	wrongSequence  = 10071 // JSStreamWrongLastSequence
)

// Publisher is watermill's message.Publisher over JetStream. The topic is the subject, the
// metadata become headers, and the UUID stands in ce-id. Safe for concurrent use.
type Publisher struct {
	js jetstream.JetStream
}

// NewPublisher returns a publisher on js, whose connection the caller keeps and closes.
func NewPublisher(js jetstream.JetStream) *Publisher { return &Publisher{js: js} }

// Publish returns once the stream has stored every message, within the messages' contexts.
// All are sent before the first is waited for. After an error some may be stored: the caller
// publishes them again under the same subjects. A refused create-once is ErrExists.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	sent := make([]jetstream.PubAckFuture, 0, len(messages))
	var problems []error
	for _, m := range messages {
		future, err := p.js.PublishMsgAsync(toNATS(topic, m))
		if err != nil {
			problems = append(problems, fmt.Errorf("send: %w", err))
			break
		}
		sent = append(sent, future)
	}
	for i, future := range sent {
		if err := await(messages[i].Context(), future); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Close does nothing: the connection belongs to the caller.
func (p *Publisher) Close() error { return nil }

func toNATS(topic string, m *message.Message) *nats.Msg {
	msg := &nats.Msg{Subject: topic, Data: m.Payload, Header: make(nats.Header, len(m.Metadata)+1)}
	for name, value := range m.Metadata {
		msg.Header[name] = []string{value}
	}
	msg.Header[headerID] = []string{m.UUID}
	return msg
}

func await(ctx context.Context, future jetstream.PubAckFuture) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return publishError(err)
	case <-ctx.Done():
		return fmt.Errorf("await publish acknowledgement: %w", ctx.Err())
	}
}

func publishError(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == wrongSequence {
		return ErrExists
	}
	return fmt.Errorf("publish: %w", err)
}
