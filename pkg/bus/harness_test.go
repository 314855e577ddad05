package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
)

const acme = "acme"

// world is a real broker with the topology, and a validator's documents.
type world struct {
	t     testing.TB
	url   string
	store store.Backend
	gate  *Bus // publishes as the gateway
	js    jetstream.JetStream
	sent  uint64 // requests stored
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("broker did not start")
	}
	w := &world{t: t, url: s.ClientURL()}
	w.gate = w.bus(events.Gateway)
	w.js = w.gate.JetStream()
	if err := w.topology().Apply(t.Context(), w.js); err != nil {
		t.Fatal(err)
	}
	w.store, err = store.Open(t.Context(), "sqlite://"+t.TempDir(), "validator", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	if err := w.store.Ensure(t.Context(), ParkedSchema); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) topology() Topology {
	return Topology{Limits: Limits{MaxAge: time.Hour}, Tenants: []string{acme}}
}

func (w *world) bus(service events.Service) *Bus {
	w.t.Helper()
	nc, err := Connect(w.url, "test", quiet)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	b, err := New(Config{Service: service, Conn: nc, Log: quiet, Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Store: w.store})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// run runs a validator with the handler until stop is called.
func (w *world) run(h Handler) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	b := w.bus(events.Validator)
	go func() { done <- b.Run(ctx, h) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					w.t.Errorf("Run: %v", err)
				}
			case <-time.After(10 * time.Second):
				w.t.Error("Run did not return within 10 s")
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) request(id string) {
	w.t.Helper()
	if err := w.gate.Publish(w.t.Context(), acme, id, events.Requested{Carried: events.Carried{Vault: 1}}); err != nil {
		w.t.Fatal(err)
	}
	w.sent++
}

func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("still not: %s", what)
		}
	}
}

func (w *world) status(id string) events.Status {
	w.t.Helper()
	h, err := w.gate.History(w.t.Context(), acme, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return events.Fold(h).Status
}

// settled reports whether the validator was given every request and owes nothing. The broker tells
// a consumer of a new message a moment after it has stored it, so "nothing pending" is not enough.
func (w *world) settled() bool {
	c, err := w.js.Consumer(w.t.Context(), Registrations, "validator-requested")
	if err != nil {
		return false
	}
	info := c.CachedInfo()
	return info.Delivered.Consumer >= w.sent && info.NumPending == 0 && info.NumAckPending == 0
}

func (w *world) letters() []DeadLetter {
	w.t.Helper()
	letters, err := w.gate.DeadLetters(w.t.Context(), 1, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return letters
}

func valid(context.Context, In[events.Requested]) (events.Event, error) {
	return events.Validated{}, nil
}

func TestAnOutcomeIsPublishedOnceHoweverOftenTheHandlerRuns(t *testing.T) {
	w := newWorld(t)
	var runs atomic.Int64
	w.run(On(func(_ context.Context, in In[events.Requested]) (events.Event, error) {
		if runs.Add(1) < 4 {
			return nil, errors.New("crashed before the outcome")
		}
		return events.Validated{}, nil
	}))
	w.request("r1")
	w.eventually("validated", func() bool { return w.status("r1") == events.StatusValidated && w.settled() })
	if runs.Load() != 4 {
		t.Errorf("the handler ran %d times", runs.Load())
	}
	if err := w.gate.Publish(t.Context(), acme, "r1", events.Rejected{At: events.StepValidation}); !errors.Is(err, ErrExists) {
		t.Errorf("a second outcome of the step: %v", err)
	}
}

func TestTheStoredOutcomeWinsAndIsAdopted(t *testing.T) {
	w := newWorld(t)
	w.request("r1")
	if err := w.bus(events.Validator).Publish(t.Context(), acme, "r1", events.Validated{Versions: events.Versions{Config: "first"}}); err != nil {
		t.Fatal(err)
	}
	adopted := make(chan events.Event, 1)
	w.run(On(func(context.Context, In[events.Requested]) (events.Event, error) {
		return events.Rejected{At: events.StepValidation, Violations: []events.Violation{{Code: "SECOND"}}}, nil
	}).Adopting(func(_ context.Context, _ events.Record, stored events.Event) error {
		adopted <- stored
		return nil
	}))
	select {
	case stored := <-adopted:
		if v, ok := stored.(events.Validated); !ok || v.Versions.Config != "first" {
			t.Errorf("adopted %v", stored)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was adopted")
	}
	w.eventually("acknowledged", w.settled)
}

func TestTheLastOutcomeThatNeededThePersonDeletesItWhateverHappenedBefore(t *testing.T) {
	refuse := func(entry uint64) events.Event {
		return events.Rejected{At: events.StepValidation, Vault: entry, Violations: []events.Violation{{Code: "REFUSED"}}}
	}
	for name, test := range map[string]struct {
		stored func(entry uint64) events.Event // before the handler runs; nil for none
		gone   bool
	}{
		"a rejection deletes it":                       {func(uint64) events.Event { return nil }, true},
		"so does its repetition":                       {refuse, true},
		"not where the stored outcome goes on with it": {func(uint64) events.Event { return events.Validated{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ack, err := w.js.Publish(t.Context(), "vault.acme.r1", []byte("sealed"))
			if err != nil {
				t.Fatal(err)
			}
			w.request("r1")
			if e := test.stored(ack.Sequence); e != nil {
				if err := w.bus(events.Validator).Publish(t.Context(), acme, "r1", e); err != nil {
					t.Fatal(err)
				}
			}
			w.run(On(func(context.Context, In[events.Requested]) (events.Event, error) { return refuse(ack.Sequence), nil }))
			w.eventually("acknowledged", w.settled)
			persons, err := w.js.Stream(t.Context(), VaultStream)
			if err != nil {
				t.Fatal(err)
			}
			if got := persons.CachedInfo().State.Msgs == 0; got != test.gone {
				t.Errorf("gone: %v, want %v", got, test.gone)
			}
		})
	}
}

func TestWhatNoRetryMendsGoesToTheDeadLettersAndComesBackByReplay(t *testing.T) {
	for name, broken := range map[string]func() (events.Event, error){
		"a permanent error":              func() (events.Event, error) { return nil, Permanent("BROKEN", errors.New("for good")) },
		"a handler that always panics":   func() (events.Event, error) { panic("nobody may see this") },
		"a person that is gone too soon": func() (events.Event, error) { return nil, fmt.Errorf("open: %w", vault.ErrMissing) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			stop := w.run(On(func(context.Context, In[events.Requested]) (events.Event, error) { return broken() }))
			w.request("r1")
			w.eventually("failed", func() bool { return w.status("r1") == events.StatusFailed && w.settled() })
			letters := w.letters()
			if len(letters) != 1 || letters[0].Service != events.Validator || letters[0].Reason == "" {
				t.Fatalf("dead letters %+v", letters)
			}
			stop()

			if _, err := w.js.Publish(t.Context(), "vault.acme.r1", []byte("{}")); err != nil {
				t.Fatal(err)
			}
			w.run(On(valid))
			for range 2 {
				if err := w.gate.Replay(t.Context(), letters[0].Sequence); err != nil {
					t.Fatal(err)
				}
			}
			w.eventually("validated after the replay", func() bool { return w.status("r1") == events.StatusValidated })
			if err := w.gate.Publish(t.Context(), acme, "r1", events.Expired{}); err != nil {
				t.Fatal(err)
			}
			if err := w.gate.Replay(t.Context(), letters[0].Sequence); !errors.Is(err, ErrNotReplayable) {
				t.Errorf("replay of an ended registration: %v", err)
			}
		})
	}
}

func TestAHandlerThatPanicsTwiceIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	var runs atomic.Int64
	w.run(On(func(context.Context, In[events.Requested]) (events.Event, error) {
		if runs.Add(1) <= 2 {
			panic("not yet")
		}
		return events.Validated{}, nil
	}))
	w.request("r1")
	w.eventually("validated", func() bool { return w.status("r1") == events.StatusValidated })
	if letters := w.letters(); len(letters) != 0 {
		t.Errorf("dead letters %v", letters)
	}
}

func TestAMissingPersonOfARegistrationThatMovedOnIsNoFailure(t *testing.T) {
	w := newWorld(t)
	w.request("r1")
	if err := w.bus(events.Validator).Publish(t.Context(), acme, "r1", events.Validated{}); err != nil {
		t.Fatal(err)
	}
	w.run(On(func(context.Context, In[events.Requested]) (events.Event, error) { return nil, vault.ErrMissing }))
	w.eventually("acknowledged", w.settled)
	if status := w.status("r1"); status != events.StatusValidated || len(w.letters()) != 0 {
		t.Errorf("status %s, %d dead letters", status, len(w.letters()))
	}
}

func TestAMissingPersonOfARegistrationThatWaitsIsAFailure(t *testing.T) {
	w := newWorld(t)
	w.request("r1")
	if err := w.bus(events.Validator).Publish(t.Context(), acme, "r1", events.ScreeningWait{Case: 1, NextCase: 2}); err != nil {
		t.Fatal(err)
	}
	w.run(On(func(context.Context, In[events.Requested]) (events.Event, error) { return nil, vault.ErrMissing }))
	w.eventually("failed", func() bool { return w.status("r1") == events.StatusFailed && w.settled() })
	if letters := w.letters(); len(letters) != 1 || letters[0].Reason != "PERSON_MISSING" {
		t.Errorf("dead letters %v", letters)
	}
}

func TestAParkedMessageHoldsNoPlaceSurvivesARestartAndIsHandledWhenDue(t *testing.T) {
	w := newWorld(t)
	due := time.Now().Add(2 * time.Second)
	var early atomic.Int64
	handler := On(func(_ context.Context, in In[events.Requested]) (events.Event, error) {
		if time.Now().Before(due) {
			early.Add(1)
			return nil, Later(due)
		}
		return events.Validated{}, nil
	})
	stop := w.run(handler)
	w.request("r1")
	w.eventually("parked and acknowledged", func() bool { return early.Load() > 0 && w.settled() })
	if status := w.status("r1"); status != events.StatusReceived {
		t.Errorf("status before it is due: %s", status)
	}
	stop()
	w.run(handler)
	w.run(handler)
	w.eventually("handled when due", func() bool { return w.status("r1") == events.StatusValidated })
	w.eventually("forgotten", func() bool {
		n, err := w.store.Count(t.Context(), ParkedSchema.Collection, nil)
		return err == nil && n == 0
	})
}

func TestAnEventBesideLaterIsToldAndItsMessageIsHandledAgainWhenDue(t *testing.T) {
	const many = 3 * sweepBatch
	w := newWorld(t)
	var told sync.Map
	var again atomic.Int64
	w.run(On(func(_ context.Context, in In[events.Requested]) (events.Event, error) {
		if _, before := told.LoadOrStore(in.Subject.Registration, true); !before {
			return events.Validated{}, Later(time.Now().Add(time.Second))
		}
		again.Add(1)
		return nil, nil
	}))
	for i := range many {
		w.request(fmt.Sprintf("r%d", i))
	}
	for i := range many {
		w.eventually("told", func() bool { return w.status(fmt.Sprintf("r%d", i)) == events.StatusValidated })
	}
	w.eventually("all are handled again and forgotten", func() bool {
		n, err := w.store.Count(t.Context(), ParkedSchema.Collection, nil)
		return err == nil && n == 0 && again.Load() == many
	})
	if letters := w.letters(); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

func TestAMessageOfANewerVersionWaitsWhileTheNextIsHandled(t *testing.T) {
	w := newWorld(t)
	w.run(On(valid))
	r := events.Record{Subject: events.Subject{Tenant: acme, Registration: "newer", Step: events.StepRequested, N: "1"}, Source: events.Gateway, Event: events.Requested{}}
	header, data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	header["ce-specversion"] = []string{"2.0"}
	if _, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: r.Subject.String(), Header: header, Data: data}); err != nil {
		t.Fatal(err)
	}
	w.request("r1")
	w.eventually("the next is handled", func() bool { return w.status("r1") == events.StatusValidated })
	w.eventually("the newer one alone waits", func() bool {
		c, err := w.js.Consumer(t.Context(), Registrations, "validator-requested")
		return err == nil && c.CachedInfo().NumAckPending == 1
	})
	if n := len(w.letters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestTwoReplicasShareTheWorkAndStoppingOneLosesNothing(t *testing.T) {
	w := newWorld(t)
	var first, second atomic.Int64
	counting := func(n *atomic.Int64) Handler {
		return On(func(context.Context, In[events.Requested]) (events.Event, error) {
			n.Add(1)
			return events.Validated{}, nil
		})
	}
	stop := w.run(counting(&first))
	w.run(counting(&second))
	const n = 400
	for i := range n {
		w.request(fmt.Sprint("r", i))
		if i == n/2 {
			w.eventually("both have worked", func() bool { return first.Load() > 0 && second.Load() > 0 })
			stop()
		}
	}
	w.eventually("all handled", w.settled)
	for i := range n {
		if status := w.status(fmt.Sprint("r", i)); status != events.StatusValidated {
			t.Fatalf("r%d is %s", i, status)
		}
	}
}

func TestRunFinishesWhatIsInFlight(t *testing.T) {
	w := newWorld(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	stop := w.run(On(func(context.Context, In[events.Requested]) (events.Event, error) {
		close(begun)
		<-finish
		return events.Validated{}, nil
	}))
	w.request("r1")
	<-begun
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(finish)
	<-stopped
	if status := w.status("r1"); status != events.StatusValidated {
		t.Errorf("status %s", status)
	}
	w.eventually("acknowledged", w.settled)
}

func TestTheTopologyIsAppliedAgainWithoutChangeAndADifferenceIsNamed(t *testing.T) {
	w := newWorld(t)
	if err := w.topology().Apply(t.Context(), w.js); err != nil {
		t.Fatal(err)
	}
	for _, s := range events.Services {
		if err := w.topology().Verify(t.Context(), w.js, s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	more := w.topology()
	more.Tenants = append(more.Tenants, "newcomer")
	if err := more.Verify(t.Context(), w.js, events.Validator); err != nil {
		t.Errorf("a tenant without its feed keeps a service from starting: %v", err)
	}
	for tenant, want := range map[string]bool{acme: true, "newcomer": false} {
		if has, err := w.gate.HasFeed(t.Context(), tenant); err != nil || has != want {
			t.Errorf("the feed of %s is there: %v, %v", tenant, has, err)
		}
	}
	if err := w.js.DeleteConsumer(t.Context(), Registrations, "validator-requested"); err != nil {
		t.Fatal(err)
	}
	if err := w.topology().Verify(t.Context(), w.js, events.Validator); err == nil {
		t.Error("a missing consumer is not named")
	}
}

func TestARegistrationNobodyStoredHasNoHistory(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"absent", "not a token", "a.b", ">"} {
		if h, err := w.gate.History(t.Context(), acme, id); err != nil || len(h) != 0 {
			t.Errorf("%q has %d events, %v", id, len(h), err)
		}
	}
}
