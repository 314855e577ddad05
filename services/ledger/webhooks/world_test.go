package webhooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
)

// world has feeds, receivers and a store; processes deliver from the one to the others.
type world struct {
	t     testing.TB
	store store.Backend
	keys  *keys.Ring
	pace  time.Duration
	*Registry
	unserved sync.Map // tenants

	mu        sync.Mutex
	feeds     map[string][]bus.FeedEvent
	told      []events.WebhookChanged
	receivers map[string]*receiver // by host
}

// receiver is what answers at a host.
type receiver struct {
	mu     sync.Mutex
	answer func(n int, r *http.Request) (status int, header http.Header) // n-th request, from 1
	got    []received
}

type received struct {
	id, signature string
	at            time.Time
	status        int
	body          string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, store: store.NewMemory(), feeds: map[string][]bus.FeedEvent{}, receivers: map[string]*receiver{}}
	if err := w.store.Ensure(t.Context(), Schemas...); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := keys.Generate(dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.keys, err = keys.Open(dir); err != nil {
		t.Fatal(err)
	}
	w.Registry = NewRegistry(w.store, w.keys, w, w, func(context.Context, string) error { return nil })
	return w
}

// Feed, FeedEnd and FeedFrom are those of the bus.
func (w *world) Feed(_ context.Context, tenant string, after uint64, limit int) ([]bus.FeedEvent, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.feeds[tenant]
	if after > uint64(len(all)) {
		return nil, bus.ErrFeedMoved
	}
	return all[after:min(after+uint64(limit), uint64(len(all)))], nil
}

func (w *world) FeedEnd(_ context.Context, tenant string) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(len(w.feeds[tenant])), nil
}

func (w *world) FeedFrom(context.Context, string, time.Time) (uint64, error) { return 0, nil }

// Publish records an order.
func (w *world) Publish(_ context.Context, _, _ string, e events.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, e.(events.WebhookChanged))
	return nil
}

// happens adds events to a tenant's feed.
func (w *world) happens(tenant string, n int, kind ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range n {
		sequence := uint64(len(w.feeds[tenant]) + 1)
		header := map[string][]string{"ce-id": {fmt.Sprintf("reg.%s.r%d.requested.1", tenant, sequence)}, "ce-type": append(kind, "account.created")[:1]}
		w.feeds[tenant] = append(w.feeds[tenant], bus.FeedEvent{Sequence: sequence, Header: header})
	}
}

// receives makes a receiver at a host; without an answer it takes everything.
func (w *world) receives(host string, answer func(n int, r *http.Request) (int, http.Header)) *receiver {
	if answer == nil {
		answer = func(int, *http.Request) (int, http.Header) { return 204, nil }
	}
	r := &receiver{answer: answer}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.receivers[host] = r
	return r
}

// endpoint makes one for a host, from the beginning of its tenant's feed.
func (w *world) endpoint(tenant, host string, ordered bool, types ...string) Endpoint {
	w.t.Helper()
	from := uint64(0)
	e, _, err := w.Create(context.Background(), "operator", Endpoint{Tenant: tenant, URL: "https://" + host + "/hook?token=hidden", Ordered: ordered, Types: types}, HMAC, &from)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// process delivers until it is stopped, or killed: then nothing that it does has an effect any more.
type process struct {
	*Dispatcher
	dead atomic.Bool
	stop context.CancelFunc
	done chan struct{}
}

var errDead = errors.New("the process is dead")

// start runs one more process.
func (w *world) start() *process {
	w.t.Helper()
	p := &process{done: make(chan struct{})}
	registry := NewRegistry(mortal{w.store, &p.dead}, w.keys, w, w, func(context.Context, string) error { return nil })
	var err error
	p.Dispatcher, err = NewDispatcher(registry, Settings{
		Client: &http.Client{Transport: wire{w, &p.dead}, Timeout: SendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Encode: func(_ string, e bus.FeedEvent) ([]byte, error) {
			return fmt.Appendf(nil, `{"id":%q}`, e.Header["ce-id"][0]), nil
		},
		Known: func(tenant string) bool { _, unserved := w.unserved.Load(tenant); return !unserved },
		Log:   slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider(), Pace: w.pace,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { defer close(p.done); p.Run(ctx) }()
	return p
}

// end stops a process as SIGTERM does.
func (p *process) end() { p.stop(); <-p.done }

// kill stops it as SIGKILL does: what it does afterwards does not happen.
func (p *process) kill() { p.dead.Store(true); p.end() }

// wire carries requests to receivers while the process lives.
type wire struct {
	w    *world
	dead *atomic.Bool
}

func (c wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	c.w.mu.Lock()
	to := c.w.receivers[r.URL.Host]
	c.w.mu.Unlock()
	if c.dead.Load() || to == nil {
		return nil, errDead
	}
	to.mu.Lock()
	n := len(to.got) + 1
	to.got = append(to.got, received{r.Header.Get("webhook-id"), r.Header.Get("webhook-signature"), time.Now(), 0, string(body)})
	answer := to.answer
	to.mu.Unlock()
	status, header := answer(n, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	to.mu.Lock()
	to.got[n-1].status = status
	to.mu.Unlock()
	if c.dead.Load() {
		return nil, errDead
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

// hangs is an answer that never comes.
func hangs(_ int, r *http.Request) (int, http.Header) { <-r.Context().Done(); return 0, nil }

// mortal is the store of a process while it lives.
type mortal struct {
	store.Backend
	dead *atomic.Bool
}

func (m mortal) Write(ctx context.Context, collection string, ops []store.Op) []error {
	if m.dead.Load() {
		return slices.Repeat([]error{errDead}, len(ops))
	}
	return m.Backend.Write(ctx, collection, ops)
}

// requests returns all that a receiver was sent.
func (r *receiver) requests() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// taken returns the ids of what a receiver has taken, each the first time.
func (r *receiver) taken() (ids []string) {
	known := map[string]bool{}
	for _, got := range r.requests() {
		if got.status/100 == 2 && !known[got.id] {
			known[got.id] = true
			ids = append(ids, got.id)
		}
	}
	return ids
}

// answers changes what a receiver does from now on.
func (r *receiver) answers(answer func(int, *http.Request) (int, http.Header)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func always(status int) func(int, *http.Request) (int, http.Header) {
	return func(int, *http.Request) (int, http.Header) { return status, nil }
}

// ids are those of a tenant's events, in their order.
func (w *world) ids(tenant string) (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.feeds[tenant] {
		ids = append(ids, MessageID(e.Header["ce-id"][0]))
	}
	return ids
}

// gets waits, at most so long, until a receiver has taken n different events.
func (w *world) gets(r *receiver, n int, limit time.Duration) {
	w.t.Helper()
	for begun := time.Now(); len(r.taken()) < n; time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > limit {
			w.t.Fatalf("%d of %d events came within %v, in %d requests", len(r.taken()), n, limit, len(r.requests()))
		}
	}
}
