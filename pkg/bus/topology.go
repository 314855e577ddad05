package bus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
)

// Streams of the broker. FEED_<tenant> is made for each tenant besides.
const (
	Registrations = "REGISTRATIONS" // every event of every registration
	Tenants       = "TENANTS"       // facts about a tenant rather than a registration
	VaultStream   = "VAULT"         // sealed persons in flight
	DeadLetters   = "DEADLETTERS"   // messages a stage gave up on
	Replays       = "REPLAY"        // dead letters on their way back to their stage
)

// DeadLetterAge is how long a dead letter can be replayed, and how long its replay is kept.
const DeadLetterAge = 30 * 24 * time.Hour

const (
	ackWait         = 15 * time.Second
	tenantFactAge   = 7 * 365 * 24 * time.Hour
	replayInFlight  = 16
	ledgerInFlight  = 4096
	tenantsInFlight = 256
)

// Limits size the streams.
type Limits struct {
	MaxAge        time.Duration // of a registration's events; what is open longer is lost
	MaxBytes      int64         // of REGISTRATIONS
	VaultMaxBytes int64
	Replicas      int
	Memory        bool // tests only: nothing is written to disk
}

// Topology is the streams and consumers that the services need. Only Apply writes them;
// nothing is ever deleted, and what the broker refuses to change is an error for a human.
type Topology struct {
	Limits  Limits
	Tenants []string
}

// FeedStream names the stream of a tenant's own, gapless copy of its events.
func FeedStream(tenant string) string { return "FEED_" + tenant }

// Streams returns the configuration of every stream.
func (t Topology) Streams() []jetstream.StreamConfig {
	streams := []jetstream.StreamConfig{
		t.stream(Registrations, "reg.>", t.Limits.MaxAge, t.Limits.MaxBytes),
		t.stream(Tenants, "tenant.>", tenantFactAge, -1),
		t.stream(VaultStream, "vault.>", t.Limits.MaxAge, t.Limits.VaultMaxBytes),
		t.stream(DeadLetters, "dead.>", DeadLetterAge, -1),
		t.stream(Replays, "replay.>", DeadLetterAge, -1),
	}
	for _, tenant := range t.Tenants {
		streams = append(streams, t.feed(tenant))
	}
	return streams
}

func (t Topology) stream(name, subject string, age time.Duration, maxBytes int64) jetstream.StreamConfig {
	if maxBytes == 0 {
		maxBytes = -1
	}
	return jetstream.StreamConfig{
		Name:        name,
		Subjects:    []string{subject},
		Storage:     t.storage(),
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxAge:      age,
		MaxBytes:    maxBytes,
		Replicas:    max(t.Limits.Replicas, 1),
		AllowDirect: true,
	}
}

func (t Topology) feed(tenant string) jetstream.StreamConfig {
	feed := t.stream(FeedStream(tenant), "", tenantFactAge, -1)
	feed.Subjects = nil
	feed.DenyDelete, feed.DenyPurge = true, true
	feed.Sources = []*jetstream.StreamSource{
		{Name: Registrations, SubjectTransforms: []jetstream.SubjectTransformConfig{
			{Source: "reg." + tenant + ".*.*.*", Destination: "feed." + tenant}}},
		{Name: Tenants, SubjectTransforms: []jetstream.SubjectTransformConfig{
			{Source: "tenant." + tenant + ".*.*", Destination: "feed." + tenant}}},
	}
	return feed
}

func (t Topology) storage() jetstream.StorageType {
	if t.Limits.Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// Consumer is one durable pull consumer of a service.
type Consumer struct {
	Service  events.Service
	Stream   string
	Name     string
	Filter   string
	InFlight int
}

// Consumers derives every durable consumer from the flow table: one for each service and step
// it reacts to, one for its replays, and ledger's on everything.
func Consumers() []Consumer {
	var consumers []Consumer
	replays := map[events.Service]bool{}
	for _, stream := range eventStreams {
		for _, row := range stream.rows {
			for _, to := range row.To {
				consumers = append(consumers, Consumer{
					Service: to.Service, Stream: stream.name, InFlight: to.InFlight,
					Name: consumerName(to.Service, row.Step), Filter: stream.prefix + string(row.Step) + ".*",
				})
				if !replays[to.Service] {
					replays[to.Service] = true
					consumers = append(consumers, replayConsumer(to.Service))
				}
			}
		}
	}
	return append(consumers, replayConsumer(events.Ledger),
		Consumer{Service: events.Ledger, Stream: Registrations, InFlight: ledgerInFlight, Name: string(events.Ledger) + "-all", Filter: "reg.>"},
		Consumer{Service: events.Ledger, Stream: Tenants, InFlight: tenantsInFlight, Name: string(events.Ledger) + "-tenants", Filter: "tenant.>"})
}

// eventStreams are the streams of events, the rows that stand in each, and the subjects of a row.
var eventStreams = []struct {
	name   string
	rows   []events.Row
	prefix string
}{{Registrations, events.Flow, "reg.*.*."}, {Tenants, events.TenantFacts, "tenant.*."}}

// streamOf is where an event stands.
func streamOf(s events.Subject) string {
	if s.Registration == "" {
		return Tenants
	}
	return Registrations
}

func consumerName(s events.Service, step events.Step) string { return string(s) + "-" + string(step) }

func replayConsumer(s events.Service) Consumer {
	return Consumer{Service: s, Stream: Replays, InFlight: replayInFlight, Name: string(s) + "-replay", Filter: "replay." + string(s) + ".>"}
}

func (c Consumer) config(replicas int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       c.Name,
		FilterSubject: c.Filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1,
		MaxAckPending: c.InFlight,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		Replicas:      replicas,
	}
}

// Apply creates what is missing and updates what differs. It is safe to run at any time, by
// several processes at once, and never deletes.
func (t Topology) Apply(ctx context.Context, js jetstream.JetStream) error {
	for _, s := range t.Streams() {
		if err := keepsAll(ctx, js, s); err != nil {
			return fmt.Errorf("apply stream %s: %w", s.Name, err)
		}
		if _, err := js.CreateOrUpdateStream(ctx, s); err != nil {
			return fmt.Errorf("apply stream %s: %w", s.Name, err)
		}
	}
	for _, c := range Consumers() {
		if _, err := js.CreateOrUpdateConsumer(ctx, c.Stream, c.config(0)); err != nil {
			return fmt.Errorf("apply consumer %s: %w", c.Name, err)
		}
	}
	return nil
}

// keepsAll refuses limits under which the broker would drop or refuse what the stream's users
// count on: a shorter age deletes what is older, handled or not.
func keepsAll(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	has := s.CachedInfo()
	switch old := has.Config.MaxAge; {
	case want.MaxAge > 0 && (old == 0 || want.MaxAge < old):
		return fmt.Errorf("it keeps messages for %v and would drop those older than %v, handled or not; only its operator may shorten that, by hand", old, want.MaxAge)
	case want.MaxBytes > 0 && uint64(want.MaxBytes) <= has.State.Bytes:
		return fmt.Errorf("it holds %d bytes, more than the %d it would be limited to; choose a higher limit", has.State.Bytes, want.MaxBytes)
	}
	return nil
}

// HasFeed reports whether a tenant's feed is there: without it the tenant's events would have
// no copy that lasts.
func (b *Bus) HasFeed(ctx context.Context, tenant string) (bool, error) {
	_, err := b.js.Stream(ctx, FeedStream(tenant))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the feed of a tenant: %w", err)
	}
	return true, nil
}

// Verify names every stream and consumer that is missing or differs from what Apply would
// make. A service runs it at start and refuses to run on another topology than its own. A
// tenant's missing feed stops nobody: HasFeed tells, and intake waits for it.
func (t Topology) Verify(ctx context.Context, js jetstream.JetStream, service events.Service) error {
	var problems []error
	for _, want := range t.Streams() {
		s, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) && strings.HasPrefix(want.Name, FeedStream("")) {
			continue
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("stream %s: %w; run `usher topology apply`", want.Name, err))
			continue
		}
		problems = append(problems, CompareStream(s.CachedInfo().Config, want)...)
	}
	for _, c := range Consumers() {
		if c.Service != service {
			continue
		}
		got, err := js.Consumer(ctx, c.Stream, c.Name)
		if err != nil {
			problems = append(problems, fmt.Errorf("consumer %s: %w; run `usher topology apply`", c.Name, err))
			continue
		}
		problems = append(problems, c.Compare(got.CachedInfo().Config)...)
	}
	return errors.Join(problems...)
}

// CompareStream names what differs from what Apply would make, each with its mend after "; ".
func CompareStream(got, want jetstream.StreamConfig) []error {
	return differences("stream "+want.Name, map[string][2]any{
		"subjects":     {len(got.Subjects), len(want.Subjects)},
		"retention":    {got.Retention, want.Retention},
		"discard":      {got.Discard, want.Discard},
		"max age":      {got.MaxAge, want.MaxAge},
		"storage":      {got.Storage, want.Storage},
		"allow direct": {got.AllowDirect, want.AllowDirect},
		"deny delete":  {got.DenyDelete, want.DenyDelete},
		"persist mode": {got.PersistMode, want.PersistMode},
		"max bytes":    {got.MaxBytes, want.MaxBytes},
		"replicas":     {got.Replicas, want.Replicas},
	})
}

// Compare names what differs from what Apply would make, each with its mend after "; ".
func (c Consumer) Compare(got jetstream.ConsumerConfig) []error {
	want := c.config(0)
	return differences("consumer "+want.Durable, map[string][2]any{
		"filter":          {got.FilterSubject, want.FilterSubject},
		"ack policy":      {got.AckPolicy, want.AckPolicy},
		"ack wait":        {got.AckWait, want.AckWait},
		"max deliver":     {got.MaxDeliver, want.MaxDeliver},
		"max ack pending": {got.MaxAckPending, want.MaxAckPending},
	})
}

func differences(of string, settings map[string][2]any) []error {
	var problems []error
	for name, v := range settings {
		if !reflect.DeepEqual(v[0], v[1]) {
			problems = append(problems, fmt.Errorf("%s: %s is %v, want %v; run `usher topology apply`", of, name, v[0], v[1]))
		}
	}
	return problems
}
