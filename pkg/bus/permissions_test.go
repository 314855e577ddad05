package bus

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
	"github.com/usherhq/usher/pkg/vault"
)

const (
	globex = "globex"
	root   = "root" // may do everything, to look from outside
)

var (
	acmeAudit   = FeedSubscriber{acme, "audit"}
	globexAudit = FeedSubscriber{globex, "audit"}
	allUsers    = append(Users(), acmeAudit.user(), globexAudit.user())
	allServices = []string{"gateway", "validator", "risk", "accounts", "notifier", "ledger"}
)

// guarded is a broker that lets each user do only what it may.
type guarded struct {
	t       *testing.T
	dir     string
	server  *server.Server
	address string
	root    jetstream.JetStream
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, dir: t.TempDir()}
	users := append(Users(), User{root, []string{">"}, []string{">"}})
	var passwords strings.Builder
	for _, u := range users {
		passwords.WriteString(PasswordVariable(u.Name) + ": \"" + u.Name + "\"\n")
	}
	g.write("passwords.conf", passwords.String())
	g.write("authorization.conf", Authorization(users))
	g.write("subscribers.conf", acmeAudit.Configuration(acmeAudit.User())+"\n"+globexAudit.Configuration(globexAudit.User())+"\n")
	g.write("nats.conf", "listen: \"127.0.0.1:-1\"\njetstream {store_dir: \""+g.dir+"\"}\ninclude authorization.conf\n")
	g.start()
	g.root = g.bus(root, nil).JetStream()
	topology, subscriptions := g.bus(TopologyUser, nil).JetStream(), g.bus(SubscriptionsUser, nil).JetStream()
	for range 2 { // once to make and once to update
		if err := g.topology().Apply(t.Context(), topology); err != nil {
			t.Fatal(err)
		}
		for _, s := range []FeedSubscriber{acmeAudit, globexAudit} {
			if err := AddSubscriber(t.Context(), subscriptions, s, Subscription{InFlight: 10, AckWait: time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return g
}

func (g *guarded) write(file, content string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, file), []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// start starts the broker on what is in the directory, where another one may have been before.
func (g *guarded) start() {
	g.t.Helper()
	options, err := server.ProcessConfigFile(filepath.Join(g.dir, "nats.conf"))
	if err != nil {
		g.t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	if err != nil {
		g.t.Fatal(err)
	}
	s.Start()
	g.t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		g.t.Fatal("broker did not start")
	}
	g.server, g.address = s, s.Addr().String()
}

func (g *guarded) topology() Topology {
	return Topology{Limits: Limits{MaxAge: time.Hour}, Tenants: []string{acme, globex}}
}

func (g *guarded) connect(user string, onError nats.ErrHandler) *nats.Conn {
	g.t.Helper()
	nc, err := Connect("nats://"+user+":"+user+"@"+g.address, user, quiet, nats.CustomInboxPrefix(InboxPrefix(user)), nats.ErrorHandler(onError))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(nc.Close)
	for deadline := time.Now().Add(20 * time.Second); !nc.IsConnected(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("%s is not connected: %v", user, nc.LastError())
		}
	}
	return nc
}

// bus is one whose user must never be refused anything.
func (g *guarded) bus(user string, documents store.Backend) *Bus {
	g.t.Helper()
	nc := g.connect(user, func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			g.t.Errorf("%s: %v", user, err)
		}
	})
	b, err := New(Config{Service: events.Service(user), Conn: nc, Log: quiet, Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Store: documents})
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// run runs a service's handlers until the test ends.
func (g *guarded) run(service events.Service, documents store.Backend, handlers ...Handler) *Bus {
	g.t.Helper()
	b := g.bus(string(service), documents)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, handlers...) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Errorf("%s: %v", service, err)
		}
	})
	return b
}

func (g *guarded) eventually(what string, is func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("still not: %s", what)
		}
	}
}

func TestTheShippedAuthorizationIsWhatTheFlowTableSays(t *testing.T) {
	shipped, err := os.ReadFile("../../deployments/nats/authorization.conf")
	if err != nil {
		t.Fatal(err)
	}
	if string(shipped) != Authorization(Users()) {
		t.Error("deployments/nats/authorization.conf is out of date: write it again with `usher topology permissions`")
	}
}

// publishRules say who alone may publish what: an event, a request to the broker, an acknowledgement.
var publishRules = map[string]struct {
	subject string
	by      []string
}{
	"a request":                  {"reg.acme.r1.requested.1", []string{"gateway"}},
	"a validation":               {"reg.acme.r1.validation.1", []string{"validator"}},
	"a risk decision":            {"reg.acme.r1.risk.1", []string{"risk"}},
	"a review decision":          {"reg.acme.r1.review.1", []string{"ledger", "risk"}},
	"an account":                 {"reg.acme.r1.account.1", []string{"accounts"}},
	"a mail":                     {"reg.acme.r1.mail.created-0", []string{"notifier"}},
	"an activation":              {"reg.acme.r1.activation.a", []string{"gateway"}},
	"an activation's outcome":    {"reg.acme.r1.activated.a", []string{"accounts"}},
	"a resend":                   {"reg.acme.r1.resend.1", []string{"gateway", "ledger"}},
	"a code":                     {"reg.acme.r1.code.1", []string{"accounts"}},
	"a failure":                  {"reg.acme.r1.failed.x-0", allServices},
	"an expiry":                  {"reg.acme.r1.expired.1", []string{"accounts"}},
	"an erasure":                 {"reg.acme.r1.erasure.1", []string{"gateway", "ledger", "eraser"}},
	"an erasure's confirmation":  {"reg.acme.r1.erased.x-0", allServices},
	"an unknown step":            {"reg.acme.r1.other.1", nil},
	"a longer subject":           {"reg.acme.r1.requested.1.1", nil},
	"a case":                     {"tenant.acme.case.c1-1", []string{"ledger", "risk"}},
	"a version of a list":        {"tenant.acme.list.un-1", []string{"risk"}},
	"an access to a person":      {"tenant.acme.access.1", []string{"ledger"}},
	"an unknown fact":            {"tenant.acme.other.1", nil},
	"an entry of a feed":         {"feed.acme", nil},
	"a dead letter of validator": {"dead.validator.0.reg.acme.r1.requested.1", []string{"validator"}},
	"a dead letter of accounts":  {"dead.accounts.0.reg.acme.r1.risk.1", []string{"accounts"}},
	"a replay":                   {"replay.validator.1.reg.acme.r1.requested.1", []string{"operator", "ledger"}},
	"a replay to nobody":         {"replay.nobody.1.reg.acme.r1.requested.1", nil},
	"an answer to another":       {"_INBOX.gateway.x", nil},

	"tell of an operator":               {"tenant.acme.audit.resend-r1-1", []string{"ledger"}},
	"seal a person":                     {"vault.acme.r1", []string{"gateway", "risk", "accounts"}},
	"delete a person":                   {"$JS.API.STREAM.MSG.DELETE.VAULT", []string{"gateway", "validator", "risk", "accounts", "notifier"}},
	"read a person":                     {"$JS.API.DIRECT.GET.VAULT", []string{"validator", "risk", "accounts", "notifier", "ledger", "eraser"}},
	"read a person from the leader":     {"$JS.API.STREAM.MSG.GET.VAULT", []string{"gateway", "validator", "risk", "accounts", "notifier", "ledger", "operator", "eraser"}},
	"read a person by subject":          {"$JS.API.DIRECT.GET.VAULT.vault.acme.r1", nil},
	"read events":                       {"$JS.API.DIRECT.GET.REGISTRATIONS", append([]string{"eraser", "operator"}, allServices...)},
	"read dead letters":                 {"$JS.API.DIRECT.GET.DEADLETTERS", []string{"operator", "ledger", "eraser"}},
	"read a feed":                       {"$JS.API.DIRECT.GET.FEED_acme", []string{"ledger", "eraser"}},
	"read a feed from the leader":       {"$JS.API.STREAM.MSG.GET.FEED_acme", []string{"eraser"}},
	"read facts about tenants":          {"$JS.API.STREAM.MSG.GET.TENANTS", []string{"ledger", "risk", "eraser"}},
	"take the facts about tenants":      {"$JS.API.CONSUMER.MSG.NEXT.TENANTS.ledger-tenants", []string{"ledger"}},
	"seal a customer for a case":        {"vault.acme.r1.case", []string{"risk"}},
	"delete an event":                   {"$JS.API.STREAM.MSG.DELETE.REGISTRATIONS", nil},
	"delete an entry of a feed":         {"$JS.API.STREAM.MSG.DELETE.FEED_acme", nil},
	"make a stream":                     {"$JS.API.STREAM.CREATE.FEED_acme", []string{"topology"}},
	"change a stream":                   {"$JS.API.STREAM.UPDATE.REGISTRATIONS", []string{"topology"}},
	"delete a stream":                   {"$JS.API.STREAM.DELETE.REGISTRATIONS", nil},
	"purge a stream":                    {"$JS.API.STREAM.PURGE.REGISTRATIONS", nil},
	"copy a stream":                     {"$JS.API.STREAM.SNAPSHOT.REGISTRATIONS", nil},
	"restore a stream":                  {"$JS.API.STREAM.RESTORE.REGISTRATIONS", nil},
	"move a stream's leader":            {"$JS.API.STREAM.LEADER.STEPDOWN.REGISTRATIONS", nil},
	"remove a stream's replica":         {"$JS.API.STREAM.PEER.REMOVE.REGISTRATIONS", nil},
	"list streams":                      {"$JS.API.STREAM.LIST", nil},
	"ask about the account":             {"$JS.API.INFO", []string{"operator"}},
	"ask the servers":                   {"$SYS.REQ.SERVER.PING", nil},
	"make validator's consumer":         {"$JS.API.CONSUMER.CREATE.REGISTRATIONS.validator-requested.reg.*.*.requested.*", []string{"topology"}},
	"make it with another filter":       {"$JS.API.CONSUMER.CREATE.REGISTRATIONS.validator-requested.reg.>", nil},
	"make another consumer":             {"$JS.API.CONSUMER.CREATE.REGISTRATIONS.spy.reg.>", nil},
	"make a nameless consumer":          {"$JS.API.CONSUMER.CREATE.REGISTRATIONS", nil},
	"make a durable the old way":        {"$JS.API.CONSUMER.DURABLE.CREATE.REGISTRATIONS.spy", nil},
	"make a consumer of persons":        {"$JS.API.CONSUMER.CREATE.VAULT.spy.vault.>", nil},
	"make the consumer of a feed":       {"$JS.API.CONSUMER.CREATE.FEED_acme.audit", []string{"subscriptions"}},
	"filter the consumer of a feed":     {"$JS.API.CONSUMER.CREATE.FEED_acme.audit.feed.acme", nil},
	"list the consumers of a feed":      {"$JS.API.CONSUMER.LIST.FEED_acme", []string{"subscriptions"}},
	"delete a consumer":                 {"$JS.API.CONSUMER.DELETE.REGISTRATIONS.validator-requested", []string{"subscriptions"}},
	"pause a consumer":                  {"$JS.API.CONSUMER.PAUSE.REGISTRATIONS.validator-requested", nil},
	"reset a consumer":                  {"$JS.API.CONSUMER.RESET.REGISTRATIONS.validator-requested", nil},
	"take validator's messages":         {"$JS.API.CONSUMER.MSG.NEXT.REGISTRATIONS.validator-requested", []string{"validator"}},
	"take validator's replays":          {"$JS.API.CONSUMER.MSG.NEXT.REPLAY.validator-replay", []string{"validator"}},
	"take accounts' messages":           {"$JS.API.CONSUMER.MSG.NEXT.REGISTRATIONS.accounts-risk", []string{"accounts"}},
	"take everything":                   {"$JS.API.CONSUMER.MSG.NEXT.REGISTRATIONS.ledger-all", []string{"ledger"}},
	"take the feed of acme":             {"$JS.usher.API.CONSUMER.MSG.NEXT.FEED_acme.audit", []string{"feed-acme-audit"}},
	"take the feed of globex":           {"$JS.usher.API.CONSUMER.MSG.NEXT.FEED_globex.audit", []string{"feed-globex-audit"}},
	"acknowledge validator's messages":  {"$JS.ACK.REGISTRATIONS.validator-requested.1.1.1.1.1", []string{"validator"}},
	"acknowledge accounts' messages":    {"$JS.ACK.REGISTRATIONS.accounts-risk.1.1.1.1.1", []string{"accounts"}},
	"acknowledge the feed of acme":      {"$JS.ACK.FEED_acme.audit.1.1.1.1.1", []string{"feed-acme-audit"}},
	"ask about validator's consumer":    {"$JS.API.CONSUMER.INFO.REGISTRATIONS.validator-requested", []string{"gateway", "validator", "ledger", "operator", "subscriptions"}},
	"ask about the consumer of a feed":  {"$JS.usher.API.CONSUMER.INFO.FEED_acme.audit", []string{"feed-acme-audit"}},
	"ask about another tenant's feed":   {"$JS.usher.API.CONSUMER.INFO.FEED_globex.audit", []string{"feed-globex-audit"}},
	"ask about the stream of requests":  {"$JS.API.STREAM.INFO.REGISTRATIONS", append([]string{"eraser", "topology", "operator", "subscriptions"}, allServices...)},
	"ask about the stream of dead ones": {"$JS.API.STREAM.INFO.DEADLETTERS", append([]string{"eraser", "topology", "operator", "subscriptions"}, allServices...)},
}

// subscribeRules say who alone may listen where.
var subscribeRules = map[string]struct {
	subject string
	by      []string
}{
	"everything":                          {">", nil},
	"all events":                          {"reg.>", nil},
	"the events of a registration":        {"reg.acme.r1.>", []string{"gateway"}},
	"all persons":                         {"vault.>", nil},
	"a person":                            {"vault.acme.r1", nil},
	"a feed":                              {"feed.acme", nil},
	"dead letters":                        {"dead.>", nil},
	"replays":                             {"replay.validator.>", nil},
	"acknowledgements":                    {"$JS.ACK.>", nil},
	"requests to the broker":              {"$JS.API.>", nil},
	"advisories":                          {"$JS.EVENT.ADVISORY.>", nil},
	"the servers":                         {"$SYS.>", nil},
	"every inbox":                         {"_INBOX.>", nil},
	"every user's inbox":                  {"_INBOX.*.>", nil},
	"the gateway's inbox":                 {"_INBOX.gateway.>", []string{"gateway"}},
	"the validator's inbox":               {"_INBOX.validator.x.*", []string{"validator"}},
	"the topology user's inbox":           {"_INBOX.topology.>", []string{"topology"}},
	"the operator's inbox":                {"_INBOX.operator.>", []string{"operator"}},
	"the inbox of a subscriber of acme":   {"_INBOX.feed-acme-audit.>", []string{"feed-acme-audit"}},
	"the inbox of an unknown user":        {"_INBOX.nobody.>", nil},
	"the inbox of a subscriber of globex": {"_INBOX.feed-globex-audit.>", []string{"feed-globex-audit"}},
}

func TestEachUserMayDoThisAndNothingElse(t *testing.T) {
	g := newGuarded(t)
	for _, u := range allUsers {
		// A fresh connection's LastError is the refusal of the one thing tried: the broker
		// answers it before the flush.
		nc := g.connect(u.Name, func(*nats.Conn, *nats.Subscription, error) {})
		last := error(nil)
		refused := func(what string, try func() error) bool {
			t.Helper()
			if err := errors.Join(try(), nc.FlushTimeout(20*time.Second)); err != nil {
				t.Fatalf("%s, %s: %v", u.Name, what, err)
			}
			err := nc.LastError()
			if err == last {
				return false
			}
			last = err
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Fatalf("%s, %s: %v", u.Name, what, err)
			}
			return true
		}
		for what, rule := range publishRules {
			// An empty message with an inbox of one's own: what is allowed harms nothing but this broker.
			got := refused(what, func() error { return nc.PublishRequest(rule.subject, InboxPrefix(u.Name)+".unread", nil) })
			if want := !slices.Contains(rule.by, u.Name); got != want {
				t.Errorf("%s, %s: refused %v, want %v", u.Name, what, got, want)
			}
		}
		for what, rule := range subscribeRules {
			got := refused(what, func() error { _, err := nc.SubscribeSync(rule.subject); return err })
			if want := !slices.Contains(rule.by, u.Name); got != want {
				t.Errorf("%s listens to %s: refused %v, want %v", u.Name, what, got, want)
			}
		}
	}
}

func TestEveryServiceStartsConsumesAndGivesUpWithItsPermissions(t *testing.T) {
	g := newGuarded(t)
	letters := uint64(0)
	for _, row := range events.Flow {
		if _, err := g.root.Publish(t.Context(), "reg.acme.garbage."+string(row.Step)+".1", []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		letters += uint64(len(row.To)) + 1 // ledger reads everything
	}
	for _, row := range events.TenantFacts {
		if _, err := g.root.Publish(t.Context(), "tenant.acme."+string(row.Step)+".1", []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		letters += uint64(len(row.To)) + 1
	}
	for _, c := range Consumers() {
		if c.Stream != Replays {
			continue
		}
		if _, err := g.root.Publish(t.Context(), replaySubject(c.Service, 1, "reg.acme.replayed.requested.1"), []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		letters++
	}
	for _, service := range events.Services {
		b := g.run(service, nil)
		if err := g.topology().Verify(t.Context(), b.JetStream(), service); err != nil {
			t.Error(err)
		}
		if has, err := b.HasFeed(t.Context(), acme); err != nil || !has {
			t.Errorf("%s finds the feed: %v, %v", service, has, err)
		}
		if has, err := b.HasFeed(t.Context(), "nobody"); err != nil || has {
			t.Errorf("%s finds a feed that is not there: %v, %v", service, has, err)
		}
	}
	for _, c := range Consumers() {
		g.eventually(c.Name+" is empty", func() bool {
			found, err := g.root.Consumer(t.Context(), c.Stream, c.Name)
			if err != nil {
				t.Fatal(err)
			}
			info := found.CachedInfo()
			return info.AckFloor.Consumer > 0 && info.NumPending == 0 && info.NumAckPending == 0
		})
	}
	dead, err := g.root.Stream(t.Context(), DeadLetters)
	if err != nil {
		t.Fatal(err)
	}
	if got := dead.CachedInfo().State.Msgs; got != letters {
		t.Errorf("%d dead letters, want %d", got, letters)
	}
}

func TestAParkedMessageIsBuriedAndReplayedWithThePermissionsOfItsService(t *testing.T) {
	g := newGuarded(t)
	documents := storetest.Embedded(t, ParkedSchema)
	gateway, operator := g.bus("gateway", nil), g.bus(OperatorUser, nil)
	wake, stop, err := gateway.Watch(acme, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var tries atomic.Int64 // parked, given up, replayed and parked, done
	g.run(events.Validator, documents, On(func(context.Context, In[events.Requested]) (events.Event, error) {
		switch tries.Add(1) {
		case 1, 3:
			return nil, Later(time.Now())
		case 2:
			return nil, Permanent("TEST", errors.New("on purpose"))
		}
		return events.Validated{}, nil
	}))
	entry := g.seal(gateway)
	if err := gateway.Publish(t.Context(), acme, "r1", events.Requested{Carried: events.Carried{Vault: entry}}); err != nil {
		t.Fatal(err)
	}
	<-wake
	g.eventually("it is in the dead letters", func() bool {
		letters, err := operator.DeadLetters(t.Context(), 1, 10)
		return err == nil && len(letters) == 1
	})
	if err := operator.Replay(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	g.eventually("it is validated", func() bool {
		h, err := gateway.History(t.Context(), acme, "r1")
		return err == nil && slices.ContainsFunc(h, func(r events.Record) bool { return r.Subject.Step == events.StepValidation })
	})
	if _, err := gateway.StoredAt(t.Context(), events.Subject{Tenant: acme, Registration: "r1", Step: events.StepRequested, N: "1"}); err != nil {
		t.Error(err)
	}
	if h, err := gateway.History(t.Context(), acme, "nobody"); err != nil || len(h) != 0 {
		t.Errorf("the history of nobody is %v, %v", h, err)
	}
}

// seal puts a person into the vault, which each of its readers opens and the gateway deletes
// in the end.
func (g *guarded) seal(gateway *Bus) uint64 {
	g.t.Helper()
	dir := g.t.TempDir()
	if err := keys.Generate(dir); err != nil {
		g.t.Fatal(err)
	}
	ring, err := keys.Open(dir)
	if err != nil {
		g.t.Fatal(err)
	}
	persons := vault.New(gateway.JetStream(), ring)
	sequence, err := persons.Put(g.t.Context(), acme, "r1", vault.Entry{})
	if err != nil {
		g.t.Fatal(err)
	}
	for _, service := range []string{"validator", "risk", "accounts", "notifier"} {
		reader := vault.New(g.bus(service, nil).JetStream(), ring)
		if _, err := reader.Get(g.t.Context(), acme, "r1", sequence); err != nil {
			g.t.Errorf("%s: %v", service, err)
		}
		if _, err := reader.Get(g.t.Context(), acme, "r1", sequence+99); !errors.Is(err, vault.ErrMissing) {
			g.t.Errorf("%s: a missing entry: %v", service, err)
		}
	}
	g.t.Cleanup(func() {
		if err := persons.Withdraw(context.Background(), sequence); err != nil {
			g.t.Errorf("delete a person: %v", err)
		}
	})
	return sequence
}

func TestIntakeSeesHowFullTheStreamsAreWithItsPermissions(t *testing.T) {
	g := newGuarded(t)
	if _, err := NewHighWater(g.bus("gateway", nil), func() float64 { return 0.8 }).read(t.Context(), &fill{}); err != nil {
		t.Error(err)
	}
}
