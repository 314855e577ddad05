package bus

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
)

func TestTheAgeOfAQueueIsThatOfItsOldestOpenMessage(t *testing.T) {
	w := newWorld(t)
	consumers := Consumers()
	c := consumers[slices.IndexFunc(consumers, func(c Consumer) bool { return c.Name == "validator-requested" })]
	b := w.bus(events.Validator)
	look := func() Queue {
		t.Helper()
		q, err := b.look(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	if q := look(); q.Age != 0 || q.Pending != 0 || q.missing != 0 {
		t.Errorf("an empty queue is %+v", q)
	}
	before := time.Now()
	w.request("a")
	w.request("b")
	w.eventually("the queue grows old before anybody takes from it", func() bool { return look().Age > 50*time.Millisecond })

	consumer, err := b.js.Consumer(t.Context(), c.Stream, c.Name)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := consumer.Fetch(2)
	if err != nil {
		t.Fatal(err)
	}
	var messages []jetstream.Msg
	for m := range taken.Messages() {
		messages = append(messages, m)
	}
	if len(messages) != 2 {
		t.Fatalf("%d messages were taken", len(messages))
	}
	if err := messages[1].DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := look()
	if first.Unacked != 1 || first.Age < 50*time.Millisecond || first.Age > time.Since(before) {
		t.Errorf("with the first message open the queue is %+v", first)
	}
	if err := messages[0].DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if q := look(); q.Age != 0 || q.Unacked != 0 || q.skew.Abs() > time.Second {
		t.Errorf("with all acknowledged the queue is %+v", q)
	}
}

func TestReplicasThatDoNotFollowAreMissing(t *testing.T) {
	follows, lags, away := &jetstream.PeerInfo{Current: true}, &jetstream.PeerInfo{}, &jetstream.PeerInfo{Current: true, Offline: true}
	for name, c := range map[string]struct {
		cluster *jetstream.ClusterInfo
		want    int64
	}{
		"a single server":        {nil, 0},
		"all follow":             {&jetstream.ClusterInfo{Leader: "n1", Replicas: []*jetstream.PeerInfo{follows, follows}}, 0},
		"one lags, one is away":  {&jetstream.ClusterInfo{Leader: "n1", Replicas: []*jetstream.PeerInfo{lags, away}}, 2},
		"one was never placed":   {&jetstream.ClusterInfo{Leader: "n1", Replicas: []*jetstream.PeerInfo{follows}}, 1},
		"no leader":              {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{follows, follows}}, 1},
		"no leader, one is away": {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{follows, away}}, 2},
	} {
		if got := missing(c.cluster, 3); got != c.want {
			t.Errorf("%s: %d are missing, want %d", name, got, c.want)
		}
	}
}

func queueOf(t *testing.T, b *Bus, name string) Queue {
	t.Helper()
	queues, err := b.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(queues) != len(Consumers()) {
		t.Fatalf("%d queues of %d consumers", len(queues), len(Consumers()))
	}
	return queues[slices.IndexFunc(queues, func(q Queue) bool { return q.Name == name })]
}

func TestAQueueTellsWhetherItsServiceAsksForWorkAndHowOldItsOldestMessageIs(t *testing.T) {
	w := newWorld(t)
	w.run(On(valid))
	w.eventually("validator asks for work", func() bool { return queueOf(t, w.gate, "validator-requested").Waiting > 0 })
	w.request("r1")
	w.eventually("handled", w.settled)
	if q := queueOf(t, w.gate, "validator-requested"); q.Delivered != 1 || q.Pending != 0 || q.Age != 0 {
		t.Errorf("after the work is done: %+v", q)
	}
	if q := queueOf(t, w.gate, "risk-validation"); q.Waiting != 0 || q.Pending != 1 || q.Age <= 0 || q.Age > time.Minute {
		t.Errorf("of a service that does not run: %+v", q)
	}
}

func TestAQueueOfAServiceThatHasStoppedHasNobodyWaitingSoon(t *testing.T) {
	w := newWorld(t)
	stop := w.run(On(valid))
	w.eventually("validator asks for work", func() bool { return queueOf(t, w.gate, "validator-requested").Waiting > 0 })
	stop()
	stopped := time.Now()
	w.request("r1")
	w.eventually("nobody waits", func() bool {
		q := queueOf(t, w.gate, "validator-requested")
		return q.Waiting == 0 && q.Pending+q.Unacked == 1 && q.Age > 0
	})
	if took := time.Since(stopped); took > 2*pullExpiry {
		t.Errorf("only after %v", took)
	}
}

func TestTheLedgerShowsATenantItsOwnDeadLettersAndGivesThemBack(t *testing.T) {
	g := newGuarded(t)
	gateway, ledger := g.bus("gateway", nil), g.bus("ledger", nil)
	entry := g.seal(gateway)
	g.run(events.Validator, nil, On(func(context.Context, In[events.Requested]) (events.Event, error) {
		return nil, Permanent("TEST", errors.New("on purpose"))
	}))
	for _, of := range []struct{ tenant, id string }{{acme, "r1"}, {globex, "r2"}, {acme, "r3"}} {
		if err := gateway.Publish(t.Context(), of.tenant, of.id, events.Requested{Carried: events.Carried{Vault: entry}}); err != nil {
			t.Fatal(err)
		}
		g.eventually(of.id+" is in the dead letters", func() bool {
			letters, err := ledger.DeadLettersOf(t.Context(), of.tenant, 1, 10)
			return err == nil && slices.ContainsFunc(letters, func(l DeadLetter) bool { return l.Subject == "reg."+of.tenant+"."+of.id+".requested.1" })
		})
	}
	letters, err := ledger.DeadLettersOf(t.Context(), acme, 2, 10)
	if err != nil || len(letters) != 1 || letters[0].Sequence != 3 || letters[0].Tenant() != acme || letters[0].Reason != "TEST" {
		t.Fatalf("from the second on: %+v, %v", letters, err)
	}
	if _, err := ledger.DeadLetter(t.Context(), acme, 2); !errors.Is(err, ErrAbsent) {
		t.Errorf("another tenant's letter: %v", err)
	}
	letter, err := ledger.DeadLetter(t.Context(), acme, 3)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := letter.Event(); err != nil || r.Event.Type() != "registration.requested" {
		t.Errorf("its event is %v, %v", r.Event, err)
	}
	if given, err := ledger.Replayed(t.Context(), letter); err != nil || given {
		t.Errorf("given back before it is: %v, %v", given, err)
	}
	if err := ledger.Replay(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if given, err := ledger.Replayed(t.Context(), letter); err != nil || !given {
		t.Errorf("given back: %v, %v", given, err)
	}
	if _, err := ledger.Queues(t.Context()); err != nil {
		t.Error(err)
	}
}
