package proof

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/usherhq/usher/pkg/vault"
)

const (
	messagesAtOnce = 256
	tellEvery      = 50_000
)

// Streams searches every message of every stream of the broker: subject, headers and data.
func (s *Search) Streams(ctx context.Context, js jetstream.JetStream) error {
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if err := s.stream(ctx, js, name); err != nil {
			return fmt.Errorf("search stream %s: %w", name, err)
		}
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("list streams: %w", err)
	}
	return nil
}

func (s *Search) stream(ctx context.Context, js jetstream.JetStream, name string) error {
	place := "stream " + name
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	searched := 0
	for next := state.FirstSeq; state.Msgs > 0 && next <= state.LastSeq; {
		messages, err := jetstreamext.GetBatch(ctx, js, name, messagesAtOnce, jetstreamext.GetBatchSeq(next))
		if err != nil {
			return err
		}
		got := 0
		for m, err := range messages {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				break
			}
			if err != nil {
				return err
			}
			s.message(place, m)
			got, next = got+1, m.Sequence+1
			if searched++; searched%tellEvery == 0 {
				s.Progress(place, searched, "messages")
			}
		}
		if got == 0 {
			break
		}
	}
	s.Progress(place, searched, "messages")
	return nil
}

func (s *Search) message(place string, m *jetstream.RawStreamMsg) {
	place = fmt.Sprintf("%s, message %d", place, m.Sequence)
	for _, id := range s.person.entries() {
		if m.Subject == vault.Subject(s.person.Tenant, id) {
			s.find(place, "the person's entry of the vault")
		}
	}
	all := []byte(m.Subject)
	for name, values := range m.Header {
		for _, value := range values {
			all = append(append(append(all, '\n'), name+": "...), value...)
		}
	}
	s.Data(place, append(append(all, '\n'), m.Data...))
}
