package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// subscribe connects as a subscriber. What it is refused is kept by the connection.
func (g *guarded) subscribe(s FeedSubscriber) (*nats.Conn, jetstream.JetStream) {
	g.t.Helper()
	nc := g.connect(s.User(), func(*nats.Conn, *nats.Subscription, error) {})
	js, err := jetstream.NewWithDomain(nc, Domain)
	if err != nil {
		g.t.Fatal(err)
	}
	return nc, js
}

// publish stores events of a tenant and waits until its feed has that many.
func (g *guarded) publish(tenant string, last uint64, ids ...string) {
	g.t.Helper()
	for _, id := range ids {
		if _, err := g.root.PublishMsg(g.t.Context(), &nats.Msg{Subject: id, Header: nats.Header{"ce-id": {id}}, Data: []byte("{}")}); err != nil {
			g.t.Fatal(err)
		}
	}
	g.eventually("the feed has them", func() bool { return g.state(FeedStream(tenant)).LastSeq == last })
}

func (g *guarded) state(stream string) jetstream.StreamState {
	g.t.Helper()
	s, err := g.root.Stream(g.t.Context(), stream)
	if err != nil {
		g.t.Fatal(err)
	}
	return s.CachedInfo().State
}

func requests(tenant string, from, to int) (ids []string) {
	for i := from; i < to; i++ {
		ids = append(ids, fmt.Sprintf("reg.%s.r%d.requested.1", tenant, i))
	}
	return ids
}

// take takes and acknowledges n events.
func take(t *testing.T, js jetstream.JetStream, s FeedSubscriber, n int) (ids []string) {
	t.Helper()
	feed, err := js.Consumer(t.Context(), FeedStream(s.Tenant), s.Name)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		m, err := feed.Next(jetstream.FetchMaxWait(20 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Headers().Get("ce-id"))
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func TestASubscriberReadsItsTenantsFeedInOrderAndGoesOnAfterTheBrokerRestarted(t *testing.T) {
	g := newGuarded(t)
	all := append(requests(acme, 0, 20), "tenant.acme.access.1")
	g.publish(globex, 3, requests(globex, 0, 3)...)
	g.publish(acme, 20, all[:20]...)
	g.publish(acme, 21, all[20])
	_, js := g.subscribe(acmeAudit)
	if got := take(t, js, acmeAudit, 8); !slices.Equal(got, all[:8]) {
		t.Errorf("took %v", got)
	}
	g.server.Shutdown()
	g.server.WaitForShutdown()
	g.start()
	g.root = g.bus(root, nil).JetStream()
	_, js = g.subscribe(acmeAudit)
	if got := take(t, js, acmeAudit, 13); !slices.Equal(got, all[8:]) {
		t.Errorf("after the restart took %v", got)
	}
	found, err := Subscribers(t.Context(), g.bus(SubscriptionsUser, nil).JetStream(), acme)
	if err != nil || len(found) != 1 || found[0].Name != "audit" || found[0].Acknowledged != 21 || found[0].Waiting != 0 || found[0].Delivered.IsZero() {
		t.Errorf("subscribers are %+v, %v", found, err)
	}
}

func TestASubscriberCanDoNothingButReadItsOwnFeed(t *testing.T) {
	g := newGuarded(t)
	g.publish(globex, 5, requests(globex, 0, 5)...)
	g.publish(acme, 5, requests(acme, 0, 5)...)
	for name, try := range map[string]func(js jetstream.JetStream) error{
		"read another tenant's feed": func(js jetstream.JetStream) error {
			_, err := js.Consumer(t.Context(), FeedStream(globex), "audit")
			return err
		},
		"take from another tenant's feed": func(js jetstream.JetStream) error {
			_, err := js.Conn().Request("$JS.usher.API.CONSUMER.MSG.NEXT.FEED_globex.audit", nil, time.Second)
			return err
		},
		"read the stream itself": func(js jetstream.JetStream) error {
			s, err := js.Stream(t.Context(), FeedStream(acme))
			if err == nil {
				_, err = s.GetMsg(t.Context(), 1)
			}
			return err
		},
		"make a consumer": func(js jetstream.JetStream) error {
			_, err := js.CreateConsumer(t.Context(), FeedStream(acme), jetstream.ConsumerConfig{Durable: "spy"})
			return err
		},
		"begin again": func(js jetstream.JetStream) error {
			_, err := js.UpdateConsumer(t.Context(), FeedStream(acme), jetstream.ConsumerConfig{Durable: "audit", AckPolicy: jetstream.AckExplicitPolicy})
			return err
		},
		"filter its consumer": func(js jetstream.JetStream) error {
			_, err := js.UpdateConsumer(t.Context(), FeedStream(acme), jetstream.ConsumerConfig{Durable: "audit", FilterSubject: "feed.acme"})
			return err
		},
		"delete its consumer": func(js jetstream.JetStream) error {
			return js.DeleteConsumer(t.Context(), FeedStream(acme), "audit")
		},
		"pause its consumer": func(js jetstream.JetStream) error {
			_, err := js.PauseConsumer(t.Context(), FeedStream(acme), "audit", time.Now().Add(time.Hour))
			return err
		},
		"delete the feed": func(js jetstream.JetStream) error { return js.DeleteStream(t.Context(), FeedStream(acme)) },
		"change the feed": func(js jetstream.JetStream) error {
			_, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: FeedStream(acme), MaxMsgs: 1})
			return err
		},
		"list the streams": func(js jetstream.JetStream) error {
			names := js.StreamNames(t.Context())
			for range names.Name() {
			}
			return names.Err()
		},
		"publish an event": func(js jetstream.JetStream) error {
			_, err := js.Publish(t.Context(), "reg.acme.r9.requested.1", nil)
			return err
		},
		"publish to the feed": func(js jetstream.JetStream) error {
			_, err := js.Publish(t.Context(), "feed.acme", nil)
			return err
		},
		"ask the API of no domain": func(js jetstream.JetStream) error {
			_, err := js.Conn().Request("$JS.API.CONSUMER.INFO.FEED_acme.audit", nil, time.Second)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			nc, _ := g.subscribe(acmeAudit)
			js, err := jetstream.NewWithDomain(nc, Domain, jetstream.WithDefaultTimeout(300*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			if err := try(js); err == nil || !errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
				t.Errorf("got %v, the connection %v", err, nc.LastError())
			}
		})
	}
	for _, inbox := range []string{"_INBOX.>", "_INBOX.feed-globex-audit.>", "_INBOX.ledger.>", "feed.acme", "reg.>", ">"} {
		nc, _ := g.subscribe(acmeAudit)
		if _, err := nc.SubscribeSync(inbox); err != nil {
			t.Fatal(err)
		}
		g.eventually("listening to "+inbox+" is refused", func() bool { return errors.Is(nc.LastError(), nats.ErrPermissionViolation) })
	}
	if s := g.state(FeedStream(acme)); s.Msgs != 5 {
		t.Errorf("the feed has %d events", s.Msgs)
	}
}

// An answer goes wherever the request says. Were it into the account of the streams, anybody could
// put an event there, or acknowledge what another one has not read.
func TestASubscriberCannotHaveItsAnswersStoredOrTakenForSomebodyElses(t *testing.T) {
	g := newGuarded(t)
	g.publish(globex, 1, requests(globex, 0, 1)...)
	_, theirs := g.subscribe(globexAudit)
	open, err := theirs.Consumer(t.Context(), FeedStream(globex), "audit")
	if err != nil {
		t.Fatal(err)
	}
	unread, err := open.Next(jetstream.FetchMaxWait(20 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	nc, _ := g.subscribe(acmeAudit)
	next := "$JS.usher.API.CONSUMER.MSG.NEXT.FEED_acme.audit"
	for _, target := range []string{"reg.acme.r9.requested.1", "tenant.acme.access.9", unread.Reply(), "$JS.API.STREAM.PURGE.FEED_acme"} {
		for _, subject := range []string{next, "$JS.usher.API.CONSUMER.INFO.FEED_acme.audit"} {
			if err := nc.PublishRequest(subject, target, []byte(`{"batch":1,"no_wait":true}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What the broker answers after these it has done with before.
	if _, err := nc.Request("$JS.usher.API.CONSUMER.INFO.FEED_acme.audit", nil, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	g.publish(acme, 1, requests(acme, 0, 1)...)
	if s := g.state(Registrations); s.Msgs != 2 {
		t.Errorf("%d events are stored, want the two published", s.Msgs)
	}
	if err := g.root.Conn().PublishRequest("$JS.API.CONSUMER.INFO.FEED_acme.audit", "reg.acme.r9.requested.1", nil); err != nil {
		t.Fatal(err)
	}
	g.eventually("within the account it is stored", func() bool { return g.state(Registrations).Msgs == 3 })
	if s := g.state(Tenants); s.Msgs != 0 {
		t.Errorf("%d facts are stored", s.Msgs)
	}
	c, err := g.root.Consumer(t.Context(), FeedStream(globex), "audit")
	if err != nil {
		t.Fatal(err)
	}
	if i := c.CachedInfo(); i.NumAckPending != 1 || i.AckFloor.Stream != 0 {
		t.Errorf("what nobody acknowledged: pending %d, floor %d", i.NumAckPending, i.AckFloor.Stream)
	}
}

func TestASubscriberThatIsAddedToARunningBrokerReadsAfterTwoReloads(t *testing.T) {
	g := newGuarded(t)
	subscriptions := g.bus(SubscriptionsUser, nil).JetStream()
	late := FeedSubscriber{acme, "late_1"}
	if err := AddSubscriber(t.Context(), subscriptions, late, Subscription{InFlight: 1, AckWait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	g.publish(acme, 4, requests(acme, 0, 4)...)
	g.write("subscribers.conf", acmeAudit.Configuration(acmeAudit.User())+"\n"+late.Configuration(late.User())+"\n")
	for range 2 {
		if err := g.server.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	_, js := g.subscribe(late)
	if got := take(t, js, late, 4); len(got) != 4 {
		t.Errorf("took %v", got)
	}
	_, js = g.subscribe(acmeAudit)
	take(t, js, acmeAudit, 4)
	if nc, err := nats.Connect("nats://" + globexAudit.User() + ":" + globexAudit.User() + "@" + g.address); err == nil {
		nc.Close()
		t.Error("who is no longer in the file still connects")
	}
}

func TestSubscribersThatCannotBe(t *testing.T) {
	g := newGuarded(t)
	js := g.bus(SubscriptionsUser, nil).JetStream()
	usual := Subscription{InFlight: 10, AckWait: time.Minute}
	for name, err := range map[string]error{
		ErrNoFeed.Error():            AddSubscriber(t.Context(), js, FeedSubscriber{"nobody", "audit"}, usual),
		ErrSubscriberDiffers.Error(): AddSubscriber(t.Context(), js, acmeAudit, Subscription{InFlight: 11, AckWait: time.Minute}),
		"1 to 32 of a-z":             AddSubscriber(t.Context(), js, FeedSubscriber{acme, "a-b"}, usual),
		ErrNoSubscriber.Error():      RemoveSubscriber(t.Context(), js, FeedSubscriber{acme, "nobody"}),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := RemoveSubscriber(t.Context(), js, acmeAudit); err != nil {
		t.Error(err)
	}
	if found, err := Subscribers(t.Context(), js, acme); err != nil || len(found) != 0 {
		t.Errorf("left are %v, %v", found, err)
	}
}

func TestASubscriberBeginsWhereItWasAskedTo(t *testing.T) {
	g := newGuarded(t)
	g.publish(acme, 3, requests(acme, 0, 3)...)
	since := time.Now().Add(time.Second)
	g.eventually("a second passed", func() bool { return time.Now().After(since) })
	g.publish(acme, 5, requests(acme, 3, 5)...)
	for name, c := range map[string]struct {
		how     Subscription
		waiting uint64
	}{
		"oldest": {Subscription{}, 5},
		"since":  {Subscription{Since: since}, 2},
		"new":    {Subscription{New: true}, 0},
	} {
		c.how.InFlight, c.how.AckWait = 10, time.Minute
		s := FeedSubscriber{acme, name}
		if err := AddSubscriber(t.Context(), g.root, s, c.how); err != nil {
			t.Fatal(err)
		}
		found, err := g.root.Consumer(t.Context(), FeedStream(acme), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := found.CachedInfo().NumPending; got != c.waiting {
			t.Errorf("%s: %d events are waiting, want %d", name, got, c.waiting)
		}
	}
}
