package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
)

// fullAlarm is the part of a stream or of the broker's storage from which on doctor warns.
const fullAlarm = 0.7

func (e *examination) broker(ctx context.Context) {
	const check = "broker"
	e.authority()
	if e.Getenv("NATS_URL") == "" {
		e.fail(check, "NATS_URL is not set", "give the broker's address, e.g. nats://127.0.0.1:4222")
		return
	}
	nc, err := app.Connect(e.Getenv, bus.OperatorUser, slog.New(slog.DiscardHandler),
		nats.RetryOnFailedConnect(false), nats.MaxReconnects(0), nats.Timeout(e.Timeout))
	if err != nil {
		e.unconnected(err)
		return
	}
	defer nc.Close()
	e.ok(check, "connected to "+nc.ConnectedServerName()+", NATS "+nc.ConnectedServerVersion())
	if state, err := nc.TLSConnectionState(); err == nil && len(state.PeerCertificates) > 0 {
		e.certificate("broker certificate", state.PeerCertificates[0], "the broker")
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(e.Timeout))
	if err != nil {
		e.fail(check, err.Error(), "")
		return
	}
	e.jetStream(ctx, js)
}

func (e *examination) unconnected(err error) {
	const check = "broker"
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		e.fail(check, "the broker refuses the credentials", "give NATS_URL the user operator and its password, which `usher topology passwords` made, or mend NATS_CREDS; then reload the broker's passwords.conf")
	case errors.Is(err, nats.ErrNoServers):
		e.fail(check, "nobody listens at NATS_URL", "start the broker, or mend the address")
	case e.untrusted(check, err, "the broker", "NATS_CA"):
	default:
		about, mend, _ := strings.Cut(reason(err), "; ")
		if mend == "" {
			mend = "is NATS_URL right, and may this machine connect to it?"
		}
		e.fail(check, about, mend)
	}
}

// jetStream looks at streams and consumers. Where the first stream cannot be asked for, the others
// are not either.
func (e *examination) jetStream(ctx context.Context, js jetstream.JetStream) {
	const check = "streams"
	asked := e.Now()
	first, err := js.Stream(ctx, bus.Registrations)
	answered := e.Now()
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		e.fail(check, "the broker has no JetStream", "switch it on in the broker's configuration, with a store directory")
		return
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		e.fail(check, "the broker does not answer about its streams", "connect as the user operator; in a cluster, are most of its nodes up?")
		return
	case err == nil:
		e.clock(asked, answered, first.CachedInfo().TimeStamp)
	}
	e.storage(ctx, js)
	for _, want := range app.Topology(e.config).Streams() {
		e.stream(ctx, js, want)
	}
	e.consumers(ctx, js)
}

func (e *examination) stream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) {
	check := "stream " + want.Name
	s, err := js.Stream(ctx, want.Name)
	if err != nil {
		e.fail(check, reason(err), "run `usher topology apply`")
		return
	}
	info := s.CachedInfo()
	problems := bus.CompareStream(info.Config, want)
	for _, problem := range problems {
		e.differs(check, problem)
	}
	e.fill(check, info)
	if want.Name == bus.DeadLetters && info.State.Msgs > 0 {
		e.warn(check, fmt.Sprintf("%d messages were given up", info.State.Msgs), "run `usher deadletters list`, mend the cause, then `usher deadletters replay`")
		return
	}
	if len(problems) == 0 {
		e.ok(check, fmt.Sprintf("as configured, %d messages", info.State.Msgs))
	}
}

// fill tells how near a stream is to where intake stops.
func (e *examination) fill(check string, info *jetstream.StreamInfo) {
	if info.Config.MaxBytes <= 0 {
		return
	}
	part := float64(info.State.Bytes) / float64(info.Config.MaxBytes)
	about := fmt.Sprintf("%.0f %% full", 100*part)
	const mend = "raise broker.maxBytes or broker.vaultMaxBytes and run `usher topology apply`, or send less"
	switch {
	case part >= e.config.Broker.HighWater:
		e.fail(check, about+": intake answers 503 from broker.highWater on", mend)
	case part >= fullAlarm*e.config.Broker.HighWater:
		e.warn(check, about, mend)
	}
}

// storage tells how much of what the broker may store is used.
func (e *examination) storage(ctx context.Context, js jetstream.JetStream) {
	const check, mend = "broker storage", "give the broker a larger disk and max_file_store, or shorten broker.maxAge by hand"
	account, err := js.AccountInfo(ctx)
	if err != nil {
		e.skip(check, reason(err), "connect as the user operator")
		return
	}
	if account.Limits.MaxStore <= 0 {
		e.ok(check, fmt.Sprintf("%d MiB used; the account has no limit", account.Store>>20))
		return
	}
	part := float64(account.Store) / float64(account.Limits.MaxStore)
	about := fmt.Sprintf("%.0f %% of %d MiB used", 100*part, account.Limits.MaxStore>>20)
	switch {
	case part >= 0.9:
		e.fail(check, about, mend)
	case part >= fullAlarm:
		e.warn(check, about, mend)
	default:
		e.ok(check, about)
	}
}

func (e *examination) consumers(ctx context.Context, js jetstream.JetStream) {
	for _, service := range events.Services {
		e.consumersOf(ctx, js, service)
	}
}

// consumersOf tells whether a service has its consumers and reads them.
func (e *examination) consumersOf(ctx context.Context, js jetstream.JetStream, service events.Service) {
	check := "consumers of " + string(service)
	sound, readers, waiting := true, 0, uint64(0)
	for _, c := range bus.Consumers() {
		if c.Service != service {
			continue
		}
		consumer, err := js.Consumer(ctx, c.Stream, c.Name)
		if err != nil {
			e.fail(check, fmt.Sprintf("consumer %s: %s", c.Name, reason(err)), "run `usher topology apply`")
			if sound = false; !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
				return // the next would take as long
			}
			continue
		}
		info := consumer.CachedInfo()
		for _, problem := range c.Compare(info.Config) {
			sound = false
			e.differs(check, problem)
		}
		readers += info.NumWaiting
		waiting += info.NumPending + uint64(info.NumAckPending)
	}
	switch {
	case !sound:
	case readers == 0 && waiting == 0:
		e.warn(check, "nobody reads them", "is "+string(service)+" running?")
	case readers == 0:
		e.fail(check, fmt.Sprintf("nobody reads them, and %d messages wait", waiting), "start "+string(service)+"; its log says why it ended")
	default:
		e.ok(check, fmt.Sprintf("as configured and read, %d messages under way", waiting))
	}
}

// How far clocks may be apart: keys become active, mails expire and work falls due by them.
const (
	clockAlarm = 2 * time.Second
	clockLimit = 30 * time.Second
)

// clock compares this machine's with the broker's, which answered in between.
func (e *examination) clock(asked, answered, broker time.Time) {
	const check, mend = "clock", "let chrony or another NTP client set the clocks of this machine and of the broker's; run doctor on each machine of the services"
	slack := answered.Sub(asked) / 2
	offset := asked.Add(slack).Sub(broker)
	about := fmt.Sprintf("this machine's is within %v of the broker's", max(offset.Abs(), slack).Round(time.Millisecond))
	switch {
	case offset.Abs()-slack > clockLimit:
		e.fail(check, apart(offset), mend)
	case offset.Abs()-slack > clockAlarm:
		e.warn(check, apart(offset), mend)
	default:
		e.ok(check, about)
	}
}

func apart(offset time.Duration) string {
	side := "ahead of"
	if offset < 0 {
		side = "behind"
	}
	return fmt.Sprintf("this machine's is %v %s the broker's", offset.Abs().Round(time.Second), side)
}
