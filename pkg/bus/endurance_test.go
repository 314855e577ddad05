package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
)

func TestMessagesThatFailForLongDoNotHoldUpTheOthers(t *testing.T) {
	w := newWorld(t)
	const stuck = 300 // more than there are places in flight
	for i := range stuck {
		if err := w.gate.Publish(t.Context(), "gone", fmt.Sprint("x", i), events.Requested{}); err != nil {
			t.Fatal(err)
		}
	}
	mended := make(chan struct{})
	w.run(On(func(_ context.Context, in In[events.Requested]) (events.Event, error) {
		select {
		case <-mended:
		default:
			if in.Subject.Tenant == "gone" {
				return nil, errors.New("tenant is not in the configuration")
			}
		}
		return events.Validated{}, nil
	}))
	w.request("good")
	deadline := time.Now().Add(2 * time.Minute)
	for w.status("good") != events.StatusValidated {
		if time.Now().After(deadline) {
			t.Fatal("a registration of another tenant still waits")
		}
		<-time.After(50 * time.Millisecond)
	}
	close(mended)
	for left := 1; left > 0; <-time.After(500 * time.Millisecond) {
		left = 0
		for i := range stuck {
			h, err := w.gate.History(t.Context(), "gone", fmt.Sprint("x", i))
			if err != nil {
				t.Fatal(err)
			}
			if events.Fold(h).Status != events.StatusValidated {
				left++
			}
		}
		if time.Now().After(deadline.Add(2 * time.Minute)) {
			t.Fatalf("%d are not handled after the cause was mended", left)
		}
	}
}

func TestAcknowledgementsThatNeverComeDoNotStopLaterPublishes(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("broker did not start")
	}
	nc, err := Connect(s.ClientURL(), "test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	swallower, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(swallower.Close)
	if _, err := swallower.Subscribe("reg.>", func(*nats.Msg) {}); err != nil || swallower.Flush() != nil {
		t.Fatal(err) // a leader that takes messages and has lost its quorum
	}
	b, err := New(Config{Service: events.Gateway, Conn: nc, Log: quiet, Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := b.Publish(ctx, acme, "a", events.Requested{}); err == nil {
			t.Fatal("nobody has acknowledged it")
		}
		cancel()
	}
	for deadline := time.Now().Add(6 * publishTimeout); b.JetStream().PublishAsyncPending() > 0; <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d places are taken for ever", b.JetStream().PublishAsyncPending())
		}
	}
}

func TestTheTopologyIsNeverAppliedAtThePriceOfWhatIsStored(t *testing.T) {
	w := newWorld(t)
	w.request("r1")
	shorter, smaller := w.topology(), w.topology()
	shorter.Limits.MaxAge = time.Minute
	smaller.Limits.MaxBytes = 10
	for name, topology := range map[string]Topology{"a shorter age": shorter, "less room than is used": smaller} {
		if err := topology.Apply(t.Context(), w.js); err == nil {
			t.Errorf("%s was applied", name)
		}
		if err := topology.Verify(t.Context(), w.js, events.Validator); err == nil {
			t.Errorf("%s is not told of", name)
		}
	}
	s, err := w.js.Stream(t.Context(), Registrations)
	if err != nil || s.CachedInfo().Config.MaxAge != time.Hour || s.CachedInfo().State.Msgs != 1 {
		t.Errorf("the stream is now %+v, %v", s.CachedInfo().Config, err)
	}
	longer := w.topology()
	longer.Limits.MaxAge = 2 * time.Hour
	if err := longer.Apply(t.Context(), w.js); err != nil {
		t.Errorf("a longer age: %v", err)
	}
}

func TestADeadLetterBesideThePipelineFailsNoRegistrationAndComesBackAnyTime(t *testing.T) {
	w := newWorld(t)
	for _, e := range []events.Event{
		events.Requested{Carried: events.Carried{Vault: 99}}, // an entry that is gone, as after the mail
		events.AccountCreated{Carried: events.Carried{Vault: 99}, Epoch: 1},
		events.ActivationSent{Cause: "created", Epoch: 1},
		events.ActivationRequested{RequestID: "r1", CodeHash: "x"},
		events.AccountActivated{RequestID: "r0"},
	} {
		if err := w.gate.Publish(t.Context(), acme, "a", e); err != nil {
			t.Fatal(err)
		}
	}
	in, err := w.gate.StoredAt(t.Context(), events.Subject{Tenant: acme, Registration: "a", Step: events.StepActivation, N: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	d := &delivery{subject: in.Subject.String(), header: nats.Header{}, stream: Registrations, sequence: in.Sequence}
	for _, service := range []events.Service{events.Accounts, events.Ledger} {
		if err := (&stage{w.bus(service), nil}).bury(t.Context(), d, 0, "PANIC", &panicError{}); err != nil {
			t.Fatal(err)
		}
	}
	if status := w.status("a"); status != events.StatusActivated {
		t.Errorf("status %s", status)
	}
	for _, letter := range w.letters() {
		if err := w.gate.Replay(t.Context(), letter.Sequence); err != nil {
			t.Errorf("replay of %s: %v", letter.Service, err)
		}
	}
}
