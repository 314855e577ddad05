package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/usherhq/usher/events"
)

// Headers that a dead letter has besides those of the original message.
const (
	HeaderReason   = "usher-reason"   // a code
	HeaderDetail   = "usher-detail"   // the error, without personal data
	HeaderStream   = "usher-stream"   // where the original was stored
	HeaderSequence = "usher-sequence" // and its sequence there
)

// bury gives up on a message: dead letter, then the registration's failed event, then the
// caller acknowledges. Each is stored once, so a crash in between repeats harmlessly.
func (s *stage) bury(ctx context.Context, d *delivery, replay int, code string, cause error) error {
	msg := &nats.Msg{Subject: deadSubject(s.service, replay, d.subject), Data: d.data, Header: nats.Header{}}
	for name, values := range d.header {
		if !strings.HasPrefix(name, "Nats-") {
			msg.Header[name] = values
		}
	}
	msg.Header.Set(HeaderReason, code)
	msg.Header.Set(HeaderDetail, cause.Error())
	msg.Header.Set(HeaderStream, d.stream)
	msg.Header.Set(HeaderSequence, strconv.FormatUint(d.sequence, 10))
	if err := publishOnce(ctx, s.js, msg); err != nil && !errors.Is(err, ErrExists) {
		return fmt.Errorf("store dead letter: %w", err)
	}
	if in, err := events.ParseSubject(d.subject); err == nil && s.carriesOn(in.Step) {
		failed := events.Failed{Service: s.service, Stage: in.Step, Code: code, Replay: replay}
		if err := s.Publish(ctx, in.Tenant, in.Registration, failed); err != nil && !errors.Is(err, ErrExists) {
			return err
		}
	}
	s.metrics.deadLettered(ctx, d, code)
	s.log.ErrorContext(ctx, "message moved to the dead letters", "subject", d.subject, "code", code, "error", cause)
	return nil
}

// carriesOn reports whether the registration waits for this service to handle the step: only
// then has it failed. What follows a registration or comes after its mail does not stop it.
func (s *stage) carriesOn(step events.Step) bool {
	return pipeline[step] == s.service
}

// pipeline tells which service a registration waits for at a step; it needs the person.
var pipeline = map[events.Step]events.Service{
	events.StepRequested:  events.Validator,
	events.StepValidation: events.Risk,
	events.StepReview:     events.Risk,
	events.StepRisk:       events.Accounts,
	events.StepAccount:    events.Notifier,
}

func publishOnce(ctx context.Context, js jetstream.JetStream, msg *nats.Msg) error {
	msg.Header.Set(headerExpected, "0")
	future, err := js.PublishMsgAsync(msg)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return await(ctx, future)
}

func deadSubject(service events.Service, replay int, original string) string {
	return "dead." + string(service) + "." + strconv.Itoa(replay) + "." + original
}

func replaySubject(service events.Service, replay int, original string) string {
	return "replay." + string(service) + "." + strconv.Itoa(replay) + "." + original
}

// unwrapReplay turns a replayed message back into its original and returns how often its
// stage has been replayed: 0 for a message of the pipeline itself.
func (d *delivery) unwrapReplay() (int, error) {
	if d.stream != Replays {
		return 0, nil
	}
	parts := strings.SplitN(d.subject, ".", 4)
	if len(parts) != 4 {
		return 0, fmt.Errorf("%w: not a replay subject", events.ErrGarbage)
	}
	k, err := strconv.Atoi(parts[2])
	if err != nil {
		return 0, fmt.Errorf("%w: not a replay subject", events.ErrGarbage)
	}
	d.subject = parts[3]
	return k, nil
}

// DeadLetter is a message a stage gave up on.
type DeadLetter struct {
	Sequence uint64         `json:"sequence"` // in DEADLETTERS: its name for Replay
	Service  events.Service `json:"service"`
	Replay   int            `json:"replay"`
	Subject  string         `json:"subject"` // of the original message
	Reason   string         `json:"reason"`
	Detail   string         `json:"detail"`
	At       time.Time      `json:"at"`

	header nats.Header
	data   []byte
}

// DeadLetters returns up to limit dead letters from the given sequence on, oldest first.
func (b *Bus) DeadLetters(ctx context.Context, from uint64, limit int) ([]DeadLetter, error) {
	stream, err := b.js.Stream(ctx, DeadLetters)
	if err != nil {
		return nil, fmt.Errorf("open dead letters: %w", err)
	}
	var letters []DeadLetter
	last := stream.CachedInfo().State.LastSeq
	for seq := max(from, stream.CachedInfo().State.FirstSeq, 1); seq <= last && len(letters) < limit; seq++ {
		letter, err := b.deadLetter(ctx, stream, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		letters = append(letters, letter)
	}
	return letters, nil
}

// DeadLettersOf returns up to limit dead letters of a tenant, or, for "", of all, from the given
// sequence on, oldest first.
func (b *Bus) DeadLettersOf(ctx context.Context, tenant string, from uint64, limit int) ([]DeadLetter, error) {
	subjects := "dead.>"
	if tenant != "" {
		subjects = "dead.*.*.*." + tenant + ".>"
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	messages, err := jetstreamext.GetBatch(ctx, b.js, DeadLetters, limit, jetstreamext.GetBatchSeq(max(from, 1)), jetstreamext.GetBatchSubject(subjects))
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	var letters []DeadLetter
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
		letter, err := letterOf(m)
		if err != nil {
			return nil, err
		}
		letters = append(letters, letter)
	}
	return letters, nil
}

// DeadLetter returns one dead letter of a tenant; ErrAbsent means that it has no such one.
func (b *Bus) DeadLetter(ctx context.Context, tenant string, sequence uint64) (DeadLetter, error) {
	stream, err := b.js.Stream(ctx, DeadLetters)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("open dead letters: %w", err)
	}
	letter, err := b.deadLetter(ctx, stream, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && letter.Tenant() != tenant {
		return DeadLetter{}, ErrAbsent
	}
	return letter, err
}

// Tenant is whose message it was, or "" where the subject names none.
func (l DeadLetter) Tenant() string {
	s, err := events.ParseSubject(l.Subject)
	if err != nil {
		return ""
	}
	return s.Tenant
}

// Event is the message; an error means that it is none of this version's events.
func (l DeadLetter) Event() (events.Record, error) {
	r, err := events.Decode(l.Subject, l.header, l.data)
	r.Data = l.data
	return r, err
}

// Replayed reports whether the letter was given back to its stage.
func (b *Bus) Replayed(ctx context.Context, l DeadLetter) (bool, error) {
	_, err := leaderGet(ctx, b.nc, Replays, map[string]any{"last_by_subj": replaySubject(l.Service, l.Replay+1, l.Subject)})
	if errors.Is(err, ErrAbsent) {
		return false, nil
	}
	return err == nil, err
}

func (b *Bus) deadLetter(ctx context.Context, stream jetstream.Stream, seq uint64) (DeadLetter, error) {
	m, err := stream.GetMsg(ctx, seq)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", seq, err)
	}
	return letterOf(m)
}

func letterOf(m *jetstream.RawStreamMsg) (DeadLetter, error) {
	seq := m.Sequence
	parts := strings.SplitN(m.Subject, ".", 4)
	if len(parts) != 4 {
		return DeadLetter{}, fmt.Errorf("dead letter %d has subject of %d tokens", seq, len(parts))
	}
	replay, err := strconv.Atoi(parts[2])
	if err != nil {
		return DeadLetter{}, fmt.Errorf("dead letter %d: replay count is not a number", seq)
	}
	return DeadLetter{
		Sequence: m.Sequence, Service: events.Service(parts[1]), Replay: replay, Subject: parts[3], At: m.Time,
		Reason: m.Header.Get(HeaderReason), Detail: m.Header.Get(HeaderDetail), header: m.Header, data: m.Data,
	}, nil
}

// ErrNotReplayable is wrapped by Replay with the reason.
var ErrNotReplayable = errors.New("cannot be replayed")

// Replay gives a dead letter back to its stage as a second input. Replaying the same letter
// again changes nothing.
func (b *Bus) Replay(ctx context.Context, sequence uint64) error {
	stream, err := b.js.Stream(ctx, DeadLetters)
	if err != nil {
		return fmt.Errorf("open dead letters: %w", err)
	}
	letter, err := b.deadLetter(ctx, stream, sequence)
	if err != nil {
		return err
	}
	if err := b.replayable(ctx, letter); err != nil {
		return err
	}
	msg := &nats.Msg{Subject: replaySubject(letter.Service, letter.Replay+1, letter.Subject), Data: letter.data, Header: nats.Header{}}
	for name, values := range letter.header {
		if !strings.HasPrefix(name, "usher-") && !strings.HasPrefix(name, "Nats-") {
			msg.Header[name] = values
		}
	}
	if err := publishOnce(ctx, b.js, msg); err != nil && !errors.Is(err, ErrExists) {
		return fmt.Errorf("replay dead letter %d: %w", sequence, err)
	}
	return nil
}

// replayable refuses a letter of the pipeline whose registration has ended or whose person is
// gone. All others can be handled at any time.
func (b *Bus) replayable(ctx context.Context, letter DeadLetter) error {
	in, err := events.ParseSubject(letter.Subject)
	if err != nil || pipeline[in.Step] != letter.Service {
		return nil
	}
	history, err := b.History(ctx, in.Tenant, in.Registration)
	if err != nil {
		return err
	}
	if len(history) == 0 {
		return fmt.Errorf("dead letter %d %w: the broker has forgotten the registration", letter.Sequence, ErrNotReplayable)
	}
	if slices.ContainsFunc(history, func(r events.Record) bool { return r.Subject.Step == events.StepErasure }) {
		return fmt.Errorf("dead letter %d %w: the registration's person is erased", letter.Sequence, ErrNotReplayable)
	}
	state := events.Fold(history)
	if state.Terminal() {
		return fmt.Errorf("dead letter %d %w: the registration has ended as %s", letter.Sequence, ErrNotReplayable, state.Outcome)
	}
	if state.Carried.Vault == 0 {
		return nil
	}
	_, err = leaderGet(ctx, b.nc, VaultStream, map[string]any{"seq": state.Carried.Vault})
	if errors.Is(err, ErrAbsent) {
		return fmt.Errorf("dead letter %d %w: the person's data is gone", letter.Sequence, ErrNotReplayable)
	}
	return err
}
