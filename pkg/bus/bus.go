package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
)

// Config is what a bus needs; every field is required unless it says otherwise.
type Config struct {
	Service events.Service
	Conn    *nats.Conn // the caller closes it
	Log     *slog.Logger
	Tracer  trace.TracerProvider
	Meter   metric.MeterProvider
	Store   store.Backend // optional: without it nothing can be parked
	// Twice makes every handler run twice for each message: a test of idempotence.
	Twice bool
}

// Bus publishes and reads the events of one service. Safe for concurrent use.
type Bus struct {
	service   events.Service
	nc        *nats.Conn
	js        jetstream.JetStream
	publisher *Publisher
	log       *slog.Logger
	trace     tracer
	metrics   *metrics
	parked    *store.Docs[parked]
	persons   *vault.Vault // only to delete from
	twice     bool
	panics    panicCounter
}

// New returns a bus on an existing connection.
func New(c Config) (*Bus, error) {
	js, err := jetstream.New(c.Conn, jetstream.WithPublishAsyncMaxPending(4096), jetstream.WithPublishAsyncTimeout(publishTimeout+time.Second), jetstream.WithDefaultTimeout(publishTimeout))
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	m, err := newMetrics(c.Meter, c.Service)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		service: c.Service, nc: c.Conn, js: js, publisher: NewPublisher(js), log: c.Log,
		persons: vault.New(js, nil), trace: newTracer(c.Tracer, c.Service), metrics: m, twice: c.Twice, panics: panicCounter{seen: map[string]int{}},
	}
	if c.Store != nil {
		b.parked = store.NewDocs(c.Store, ParkedSchema, parked.fields)
	}
	return b, nil
}

// JetStream returns the bus's JetStream context.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Close ends what the bus runs in the background; the connection stays the caller's. Call it when
// nothing publishes any more, and before the connection is closed: a first publish that meets
// nats.go's closing of the connection would leave a goroutine behind.
func (b *Bus) Close() { b.js.CleanupPublisher() }

// Publish stores e as the one event of its subject and returns once it is stored. ErrExists
// means that the subject has its event already; any other error leaves the outcome unknown,
// and the same publish may be repeated.
func (b *Bus) Publish(ctx context.Context, tenant, registration string, e events.Event) error {
	r := events.Record{
		Subject: events.SubjectOf(tenant, registration, e), Source: b.service, Time: time.Now(), Event: e,
	}
	ctx, span := b.trace.publish(ctx, r.Subject)
	defer span.End()
	r.TraceParent, r.TraceState = inject(ctx)
	err := b.publishRecord(ctx, r)
	span.fail(err, ErrExists)
	if err == nil {
		b.metrics.published(ctx, r)
	}
	return err
}

func (b *Bus) publishRecord(ctx context.Context, r events.Record) error {
	header, data, err := r.Encode()
	if err != nil {
		return err
	}
	w := message.NewMessage(r.Subject.String(), data)
	w.SetContext(ctx)
	for name, values := range header {
		if name != headerID {
			w.Metadata[name] = values[0]
		}
	}
	w.Metadata[headerExpected] = "0"
	return b.publisher.Publish(r.Subject.String(), w)
}

// History returns every event of a registration that the stream holds, oldest first; none
// without an error means that the leader has none. Events of a newer major version are left out.
func (b *Bus) History(ctx context.Context, tenant, registration string) ([]events.Record, error) {
	if !events.ValidToken(tenant) || !events.ValidToken(registration) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	history, err := b.replicaHistory(ctx, "reg."+tenant+"."+registration+".>")
	if err != nil || len(history) > 0 {
		return history, err
	}
	first, err := b.StoredAt(ctx, events.Subject{Tenant: tenant, Registration: registration, Step: events.StepRequested, N: "1"})
	if errors.Is(err, ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []events.Record{first}, nil
}

// HistoryOf is History for an operator who does not know the tenant; a replica that lags may have
// none yet.
func (b *Bus) HistoryOf(ctx context.Context, registration string) ([]events.Record, error) {
	if !events.ValidToken(registration) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	return b.replicaHistory(ctx, "reg.*."+registration+".>")
}

// replicaHistory returns what any replica has under the subjects.
func (b *Bus) replicaHistory(ctx context.Context, subjects string) ([]events.Record, error) {
	messages, err := jetstreamext.GetLastMsgsFor(ctx, b.js, Registrations, []string{subjects})
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	var history []events.Record
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		if r, ok := decodeStored(m); ok {
			history = append(history, r)
		}
	}
	return history, nil
}

// ErrAbsent is returned by StoredAt where the leader has no event.
var ErrAbsent = errors.New("no event stored there")

// StoredAt reads the event of one subject from the stream's leader, so that it sees every
// publish that was acknowledged before.
func (b *Bus) StoredAt(ctx context.Context, s events.Subject) (events.Record, error) {
	m, err := leaderGet(ctx, b.nc, streamOf(s), map[string]any{"last_by_subj": s.String()})
	if err != nil {
		return events.Record{}, err
	}
	r, ok := decodeStored(m)
	if !ok {
		return events.Record{}, fmt.Errorf("read stored event: not readable by this version")
	}
	return r, nil
}

// Latest reads the newest event of a registration from the stream's leader. ErrAbsent means that
// the stream holds none.
func (b *Bus) Latest(ctx context.Context, tenant, registration string) (events.Record, error) {
	return b.StoredAt(ctx, events.Subject{Tenant: tenant, Registration: registration, Step: "*", N: "*"})
}

// LeaderHistory is History and all that the stream's leader has after it: for decisions that a
// replica which lags would make wrong.
func (b *Bus) LeaderHistory(ctx context.Context, tenant, registration string) ([]events.Record, error) {
	history, err := b.History(ctx, tenant, registration)
	if err != nil {
		return nil, err
	}
	from := uint64(1)
	if len(history) > 0 {
		from = history[len(history)-1].Sequence + 1
	}
	subjects := "reg." + tenant + "." + registration + ".>"
	for {
		m, err := leaderGet(ctx, b.nc, Registrations, map[string]any{"seq": from, "next_by_subj": subjects})
		if errors.Is(err, ErrAbsent) {
			return history, nil
		}
		if err != nil {
			return nil, err
		}
		if r, ok := decodeStored(m); ok {
			history = append(history, r)
		}
		from = m.Sequence + 1
	}
}

func decodeStored(m *jetstream.RawStreamMsg) (events.Record, bool) {
	r, err := events.Decode(m.Subject, m.Header, m.Data)
	if err != nil {
		return events.Record{}, false
	}
	r.Sequence, r.Stored = m.Sequence, m.Time
	return r, true
}

// noMessageFound is JSNoMessageFoundErr. Other answers that are a 404 to HTTP, such as that there
// is no stream, say nothing of the message.
const noMessageFound = 10037

type leaderAnswer struct {
	Error *struct {
		Code    int `json:"code"`
		ErrCode int `json:"err_code"`
	} `json:"error"`
	Message struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Header   []byte    `json:"hdrs"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	} `json:"message"`
}

// leaderGet asks the stream's leader rather than any replica (JetStream API STREAM.MSG.GET).
func leaderGet(ctx context.Context, nc *nats.Conn, stream string, request map[string]any) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		return nil, fmt.Errorf("read from the leader of %s: %w", stream, err)
	}
	var a leaderAnswer
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return nil, fmt.Errorf("read from the leader of %s: answer is not JSON", stream)
	}
	if a.Error != nil && a.Error.ErrCode == noMessageFound {
		return nil, ErrAbsent
	}
	if a.Error != nil {
		return nil, fmt.Errorf("read from the leader of %s: error %d", stream, a.Error.ErrCode)
	}
	header, err := nats.DecodeHeadersMsg(a.Message.Header)
	if len(a.Message.Header) > 0 && err != nil {
		return nil, fmt.Errorf("read from the leader of %s: %w", stream, err)
	}
	m := a.Message
	return &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Header: header, Data: m.Data, Time: m.Time}, nil
}

// Watch wakes its reader whenever something may have been published about a registration. It
// says nothing about what: the reader reads History. The caller calls stop.
func (b *Bus) Watch(tenant, registration string) (wake <-chan struct{}, stop func(), err error) {
	signal := make(chan struct{}, 1)
	sub, err := b.nc.Subscribe("reg."+tenant+"."+registration+".>", func(*nats.Msg) {
		select {
		case signal <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("watch registration: %w", err)
	}
	return signal, func() { _ = sub.Unsubscribe() }, nil
}

// Ready reports why the bus cannot work now, or nil.
func (b *Bus) Ready() error {
	if !b.nc.IsConnected() {
		return errors.New("no connection to the broker")
	}
	return nil
}

// panicCounter counts panics by message, for this process's life.
type panicCounter struct {
	mu   sync.Mutex
	seen map[string]int
}

func (p *panicCounter) count(subject string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) > 10_000 {
		clear(p.seen)
	}
	p.seen[subject]++
	return p.seen[subject]
}

// Log returns the service's logger.
func (b *Bus) Log() *slog.Logger { return b.log }
