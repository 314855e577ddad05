package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// site is a broker with the topology, real or simulated, without faults and in real time.
type site struct {
	t    *testing.T
	dial func() (*nats.Conn, error)
	nc   *nats.Conn
	js   jetstream.JetStream
}

func (s *site) connect() *nats.Conn {
	s.t.Helper()
	nc, err := s.dial()
	must(s.t, err)
	s.t.Cleanup(nc.Close)
	return nc
}

func (s *site) bus(service events.Service) *bus.Bus {
	s.t.Helper()
	b, err := newBus(service, s.connect(), nil)
	must(s.t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func realBroker(t *testing.T) func() (*nats.Conn, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("broker did not start")
	}
	return func() (*nats.Conn, error) { return bus.Connect(s.ClientURL(), "test", quiet) }
}

func simulatedBroker(t *testing.T) func() (*nats.Conn, error) {
	b := newBroker(newFaults(1))
	b.faults.heal()
	t.Cleanup(b.close)
	return func() (*nats.Conn, error) { return connect(b, &process{name: "test"}) }
}

// The simulated broker is worth what it has in common with the real one: everything that the
// project relies on is asked of both.
func TestTheSimulatedBrokerDoesWhatTheRealOneDoes(t *testing.T) {
	for name, dial := range map[string]func(*testing.T) func() (*nats.Conn, error){"real": realBroker, "simulated": simulatedBroker} {
		t.Run(name, func(t *testing.T) {
			for about, scenario := range scenarios {
				t.Run(about, func(t *testing.T) {
					t.Parallel()
					s := &site{t: t, dial: dial(t)}
					s.nc = s.connect()
					var err error
					s.js, err = jetstream.New(s.nc)
					must(t, err)
					must(t, app.Topology(tenant.Demo()).Apply(t.Context(), s.js))
					scenario(s)
				})
			}
		})
	}
}

var scenarios = map[string]func(*site){
	"the topology that was applied is verified":                                     (*site).verifies,
	"a subject takes one event, and the second is told of the first":                (*site).createsOnce,
	"a subject takes what names its last sequence and refuses what names another":   (*site).expects,
	"a message is stored under its sequence and counted":                            (*site).counts,
	"what is neither stream nor consumer is told to be missing":                     (*site).misses,
	"a history is the events of one registration in their order":                    (*site).tellsHistories,
	"a leader gives the next message of a subject from a sequence on":               (*site).givesNext,
	"an entry of the vault is read until it is deleted, and deleted twice":          (*site).keepsVault,
	"several entries of the vault are read together":                                (*site).readsTogether,
	"a watch is woken by an event of its registration":                              (*site).wakes,
	"no more are in flight than allowed":                                            (*site).limitsFlight,
	"an acknowledged message does not come again and stays in the stream":           (*site).acknowledges,
	"a message that is not acknowledged in time comes again":                        (*site).redelivers,
	"a refused message comes again after its delay and its place stays taken":       (*site).delays,
	"an acknowledgement counts also when the message has been delivered again":      (*site).takesLate,
	"what a client that left was asking for goes to another":                        (*site).forgets,
	"a stage that fails is run until it succeeds, and its outcome is stored once":   (*site).runsStages,
	"a stage whose connection ends loses nothing to another replica of the service": (*site).survives,
}

const acme = cloudVault

func (s *site) verifies() {
	must(s.t, app.Topology(tenant.Demo()).Verify(s.t.Context(), s.js, events.Gateway))
	b := s.bus(events.Gateway)
	if has, err := b.HasFeed(s.t.Context(), acme); err != nil || !has {
		s.t.Errorf("feed of a tenant: %v, %v", has, err)
	}
	if has, err := b.HasFeed(s.t.Context(), "nobody"); err != nil || has {
		s.t.Errorf("feed of nobody: %v, %v", has, err)
	}
}

func (s *site) createsOnce() {
	b := s.bus(events.Validator)
	must(s.t, b.Publish(s.t.Context(), acme, "r1", events.Validated{Versions: events.Versions{Config: "first"}}))
	if err := b.Publish(s.t.Context(), acme, "r1", events.Rejected{At: events.StepValidation}); !errors.Is(err, bus.ErrExists) {
		s.t.Errorf("a second event: %v", err)
	}
	must(s.t, b.Publish(s.t.Context(), acme, "r2", events.Validated{}))
	stored, err := b.StoredAt(s.t.Context(), events.SubjectOf(acme, "r1", events.Validated{}))
	if v, ok := stored.Event.(events.Validated); err != nil || !ok || v.Versions.Config != "first" || stored.Sequence != 1 || stored.Stored.IsZero() {
		s.t.Errorf("stored %+v, %v", stored, err)
	}
	if _, err := b.StoredAt(s.t.Context(), events.SubjectOf(acme, "r3", events.Validated{})); !errors.Is(err, bus.ErrAbsent) {
		s.t.Errorf("nothing is stored there: %v", err)
	}
}

func (s *site) publish(subject, expected string) (*jetstream.PubAck, error) {
	m := &nats.Msg{Subject: subject, Data: []byte("{}"), Header: nats.Header{}}
	if expected != "" {
		m.Header.Set(expectedHeader, expected)
	}
	return s.js.PublishMsg(s.t.Context(), m)
}

func (s *site) expects() {
	for i, step := range []struct {
		expected string
		sequence uint64
	}{{"0", 1}, {"0", 0}, {"1", 2}, {"1", 0}, {"", 3}, {"3", 4}} {
		ack, err := s.publish("dead.test.1", step.expected)
		var refused *jetstream.APIError
		switch {
		case step.sequence > 0 && (err != nil || ack.Sequence != step.sequence || ack.Stream != bus.DeadLetters):
			s.t.Errorf("step %d: %v, %v", i, ack, err)
		case step.sequence == 0 && (!errors.As(err, &refused) || refused.ErrorCode != 10071):
			s.t.Errorf("step %d: %v", i, err)
		}
	}
}

func (s *site) counts() {
	for _, subject := range []string{"dead.a", "dead.b", "dead.a"} {
		_, err := s.publish(subject, "")
		must(s.t, err)
	}
	stream, err := s.js.Stream(s.t.Context(), bus.DeadLetters)
	must(s.t, err)
	state := stream.CachedInfo().State
	if state.Msgs != 3 || state.LastSeq != 3 || state.NumSubjects != 2 || state.Bytes == 0 {
		s.t.Errorf("state %+v", state)
	}
}

func (s *site) misses() {
	if _, err := s.js.Stream(s.t.Context(), "NONE"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		s.t.Errorf("stream: %v", err)
	}
	if _, err := s.js.Consumer(s.t.Context(), bus.Registrations, "none"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		s.t.Errorf("consumer: %v", err)
	}
	if _, err := s.publish("nowhere.to", ""); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		s.t.Errorf("subject: %v", err)
	}
}

func (s *site) tellsHistories() {
	b := s.bus(events.Gateway)
	for _, id := range []string{"r1", "r2"} {
		for _, e := range []events.Event{events.Requested{}, events.Validated{}, events.Categorized{}} {
			must(s.t, b.Publish(s.t.Context(), acme, id, e))
		}
	}
	history, err := b.History(s.t.Context(), acme, "r2")
	if err != nil || told(history) != "registration.requested, registration.validated, registration.categorized" || history[0].Sequence != 4 {
		s.t.Errorf("history %v, %v", told(history), err)
	}
	if history, err := b.History(s.t.Context(), acme, "r3"); err != nil || len(history) != 0 {
		s.t.Errorf("of nobody: %v, %v", history, err)
	}
}

func (s *site) givesNext() {
	for _, subject := range []string{"dead.a.1", "dead.b.1", "dead.a.2"} {
		_, err := s.publish(subject, "")
		must(s.t, err)
	}
	for from, want := range map[int]string{1: "dead.a.1", 2: "dead.a.2", 3: "dead.a.2", 4: ""} {
		reply, err := s.nc.RequestWithContext(s.t.Context(), "$JS.API.STREAM.MSG.GET."+bus.DeadLetters, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":"dead.a.>"}`, from))
		must(s.t, err)
		var answer struct {
			Error   *problem
			Message struct{ Subject string }
		}
		must(s.t, json.Unmarshal(reply.Data, &answer))
		if answer.Message.Subject != want || want == "" && (answer.Error == nil || answer.Error.ErrCode != 10037) {
			s.t.Errorf("from %d: %s", from, reply.Data)
		}
	}
}

func (s *site) vault() *vault.Vault {
	dir := s.t.TempDir()
	must(s.t, keys.Generate(dir))
	ring, err := keys.Open(dir)
	must(s.t, err)
	return vault.New(s.js, ring)
}

func (s *site) keepsVault() {
	v, ctx := s.vault(), s.t.Context()
	first, err := v.Put(ctx, acme, "r1", vault.Entry{Registration: events.Registration{Username: "one"}})
	must(s.t, err)
	second, err := v.Put(ctx, acme, "r1", vault.Entry{Registration: events.Registration{Username: "two"}})
	must(s.t, err)
	for sequence, want := range map[uint64]string{first: "one", second: "two"} {
		if e, err := v.Get(ctx, acme, "r1", sequence); err != nil || e.Registration.Username != want {
			s.t.Errorf("entry %d: %q, %v", sequence, e.Registration.Username, err)
		}
	}
	if _, err := v.Get(ctx, acme, "r2", first); !errors.Is(err, vault.ErrMissing) {
		s.t.Errorf("another registration's entry: %v", err)
	}
	for range 2 {
		must(s.t, v.Delete(ctx, acme, "r1", second))
	}
	must(s.t, v.Delete(ctx, acme, "r1", 99))
	if _, err := v.Get(ctx, acme, "r1", second); !errors.Is(err, vault.ErrMissing) {
		s.t.Errorf("deleted entry: %v", err)
	}
	if e, err := v.Get(ctx, acme, "r1", first); err != nil || e.Registration.Username != "one" {
		s.t.Errorf("the entry before the deleted one: %v", err)
	}
}

func (s *site) readsTogether() {
	v, ctx := s.vault(), s.t.Context()
	const n = 20
	done := make(chan error, n)
	for i := range n {
		id := fmt.Sprint("r", i)
		sequence, err := v.Put(ctx, acme, id, vault.Entry{Registration: events.Registration{Username: id}})
		must(s.t, err)
		go func() {
			e, err := v.Get(ctx, acme, id, sequence)
			if err == nil && e.Registration.Username != id {
				err = fmt.Errorf("%s read %s", id, e.Registration.Username)
			}
			done <- err
		}()
	}
	for range n {
		must(s.t, <-done)
	}
}

func (s *site) wakes() {
	b := s.bus(events.Gateway)
	wake, stop, err := b.Watch(acme, "r1")
	must(s.t, err)
	defer stop()
	for n := 0; ; n++ { // the subscription may reach the broker after the first
		must(s.t, b.Publish(s.t.Context(), acme, "r1", events.ActivationRequested{RequestID: fmt.Sprint(n)}))
		must(s.t, b.Publish(s.t.Context(), acme, "r2", events.ActivationRequested{RequestID: fmt.Sprint(n)}))
		select {
		case <-wake:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if n == 100 {
			s.t.Fatal("nothing woke the watch")
		}
	}
}

const wait = 400 * time.Millisecond // of the scenarios' consumers

// consume stores n messages and opens a consumer of them.
func (s *site) consume(n, inFlight int) (jetstream.Consumer, jetstream.MessagesContext) {
	s.t.Helper()
	for i := range n {
		_, err := s.publish(fmt.Sprint("dead.", i), "")
		must(s.t, err)
	}
	c, err := s.js.CreateOrUpdateConsumer(s.t.Context(), bus.DeadLetters, jetstream.ConsumerConfig{
		Durable: "test", FilterSubject: "dead.>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: wait, MaxDeliver: -1, MaxAckPending: inFlight,
	})
	must(s.t, err)
	return c, s.messages(c)
}

func (s *site) messages(c jetstream.Consumer) jetstream.MessagesContext {
	s.t.Helper()
	messages, err := c.Messages(jetstream.PullMaxMessages(10), jetstream.PullExpiry(5*time.Second))
	must(s.t, err)
	s.t.Cleanup(messages.Stop)
	return messages
}

// next returns the next message with its subject, and how often it was delivered.
func (s *site) next(m jetstream.MessagesContext) (jetstream.Msg, string) {
	s.t.Helper()
	message, err := m.Next(jetstream.NextMaxWait(10 * time.Second))
	must(s.t, err)
	about, err := message.Metadata()
	must(s.t, err)
	return message, fmt.Sprint(message.Subject(), " ", about.NumDelivered)
}

// owes waits until the consumer has so many messages in flight and to deliver.
func (s *site) owes(stream, name string, inFlight int, pending uint64) {
	s.t.Helper()
	var info *jetstream.ConsumerInfo
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		c, err := s.js.Consumer(s.t.Context(), stream, name)
		must(s.t, err)
		if info = c.CachedInfo(); info.NumAckPending == inFlight && info.NumPending == pending {
			return
		}
	}
	s.t.Fatalf("%s has %d in flight and %d to deliver", name, info.NumAckPending, info.NumPending)
}

func (s *site) limitsFlight() {
	_, messages := s.consume(3, 2)
	first, _ := s.next(messages)
	_, _ = s.next(messages)
	s.owes(bus.DeadLetters, "test", 2, 1)
	must(s.t, first.Ack())
	for {
		if _, what := s.next(messages); what == "dead.2 1" {
			return
		}
	}
}

func (s *site) acknowledges() {
	_, messages := s.consume(2, 10)
	for _, want := range []string{"dead.0 1", "dead.1 1"} {
		m, what := s.next(messages)
		must(s.t, m.Ack())
		if what != want {
			s.t.Errorf("got %s, want %s", what, want)
		}
	}
	s.owes(bus.DeadLetters, "test", 0, 0)
	if _, err := messages.Next(jetstream.NextMaxWait(2 * wait)); !errors.Is(err, nats.ErrTimeout) {
		s.t.Errorf("what was acknowledged: %v", err)
	}
	stream, err := s.js.Stream(s.t.Context(), bus.DeadLetters)
	must(s.t, err)
	if n := stream.CachedInfo().State.Msgs; n != 2 {
		s.t.Errorf("%d messages are stored", n)
	}
}

func (s *site) redelivers() {
	_, messages := s.consume(1, 10)
	delivered := time.Now()
	for _, want := range []string{"dead.0 1", "dead.0 2", "dead.0 3"} {
		if _, what := s.next(messages); what != want {
			s.t.Errorf("got %s, want %s", what, want)
		}
	}
	if took := time.Since(delivered); took < wait {
		s.t.Errorf("it came twice again after %v", took)
	}
}

func (s *site) delays() {
	_, messages := s.consume(2, 1)
	first, _ := s.next(messages)
	refused := time.Now()
	must(s.t, first.NakWithDelay(700*time.Millisecond))
	if _, what := s.next(messages); what != "dead.0 2" {
		s.t.Errorf("got %s: its place was given to another", what)
	}
	if took := time.Since(refused); took < 600*time.Millisecond {
		s.t.Errorf("it came after %v", took)
	}
}

func (s *site) takesLate() {
	_, messages := s.consume(1, 10)
	first, _ := s.next(messages)
	if _, what := s.next(messages); what != "dead.0 2" {
		s.t.Errorf("got %s", what)
	}
	must(s.t, first.Ack())
	s.owes(bus.DeadLetters, "test", 0, 0)
}

func (s *site) forgets() {
	_, err := s.js.CreateOrUpdateConsumer(s.t.Context(), bus.DeadLetters, jetstream.ConsumerConfig{
		Durable: "test", FilterSubject: "dead.>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxDeliver: -1, MaxAckPending: 10,
	})
	must(s.t, err)
	leaving := s.connect()
	js, err := jetstream.New(leaving)
	must(s.t, err)
	c, err := js.Consumer(s.t.Context(), bus.DeadLetters, "test")
	must(s.t, err)
	gone := s.messages(c)
	go func() { _, _ = gone.Next() }() // asks
	for c.CachedInfo().NumWaiting == 0 {
		_, err := c.Info(s.t.Context())
		must(s.t, err)
	}
	leaving.Close()
	staying, err := s.js.Consumer(s.t.Context(), bus.DeadLetters, "test")
	must(s.t, err)
	for staying.CachedInfo().NumWaiting > 0 {
		_, err := staying.Info(s.t.Context())
		must(s.t, err)
	}
	_, err = s.publish("dead.0", "")
	must(s.t, err)
	if _, what := s.next(s.messages(staying)); what != "dead.0 1" {
		s.t.Errorf("got %s", what)
	}
}

// runs runs a validator until the test ends or stop is called.
func (s *site) runs(b *bus.Bus, react func(context.Context, bus.In[events.Requested]) (events.Event, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, bus.On(react)) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

func (s *site) runsStages() {
	gate := s.bus(events.Gateway)
	var runs atomic.Int64
	s.runs(s.bus(events.Validator), func(context.Context, bus.In[events.Requested]) (events.Event, error) {
		if runs.Add(1) < 4 {
			return nil, errors.New("not yet")
		}
		return events.Validated{}, nil
	})
	must(s.t, gate.Publish(s.t.Context(), acme, "r1", events.Requested{}))
	s.owes(bus.Registrations, "validator-requested", 0, 0)
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		history, err := gate.History(s.t.Context(), acme, "r1")
		must(s.t, err)
		if told(history) == "registration.requested, registration.validated" {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("history %s", told(history))
		}
	}
	s.owes(bus.Registrations, "validator-requested", 0, 0)
	if runs.Load() != 4 {
		s.t.Errorf("the handler ran %d times", runs.Load())
	}
}

func (s *site) survives() {
	gate := s.bus(events.Gateway)
	nc := s.connect()
	first, err := newBus(events.Validator, nc, nil)
	must(s.t, err)
	reached := make(chan struct{}, 100)
	s.runs(first, func(context.Context, bus.In[events.Requested]) (events.Event, error) {
		reached <- struct{}{}
		return nil, errors.New("in vain")
	})
	must(s.t, gate.Publish(s.t.Context(), acme, "r1", events.Requested{}))
	<-reached
	nc.Close()
	s.runs(s.bus(events.Validator), func(context.Context, bus.In[events.Requested]) (events.Event, error) { return events.Validated{}, nil })
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(20 * time.Millisecond) {
		history, err := gate.History(s.t.Context(), acme, "r1")
		must(s.t, err)
		if len(history) == 2 {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("history %s", told(history))
		}
	}
	s.owes(bus.Registrations, "validator-requested", 0, 0)
}

// Without faults a process's access to its documents is a store like any other.
func TestTheSimulatedStoreIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() store.Backend {
		f := newFaults(1)
		f.heal()
		d := &documents{Memory: store.NewMemory()}
		return func() store.Backend { return &handle{d, &process{name: "test"}, f} }
	})
}
