package ledger

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/egress"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/ledger/webhooks"
)

const (
	cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"
	finsei     = "97e7ff29-15f3-49ef-9681-3bbfcce4f6cd"
)

// feedWorld is the ledger's feed over a real broker; nothing else of the ledger runs.
type feedWorld struct {
	t      testing.TB
	url    string
	env    *app.Env
	js     jetstream.JetStream
	auth   *tenant.Authenticator
	model  *readModel
	reads  *tape // accesses that were told of
	api    *api
	ending chan struct{}
	hooks  *webhooks.Dispatcher
}

func newFeedWorld(t testing.TB) *feedWorld {
	t.Helper()
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	if !broker.ReadyForConnections(20 * time.Second) {
		t.Fatal("broker did not start")
	}
	ring := t.TempDir()
	if err := keys.Generate(ring); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"NATS_URL": broker.ClientURL(), "STORE_URL": "sqlite://" + t.TempDir(), "USHER_KEYS": ring, "LOG_LEVEL": "error"}
	w := &feedWorld{t: t, ending: make(chan struct{})}
	started := make(chan *app.Env)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	every := []string{tenant.AllTenants}
	go func() {
		ended <- app.Run(ctx, app.Options{
			Getenv: func(name string) string { return settings[name] }, Setup: true, Output: io.Discard,
			Tokens: map[string]tenant.Principal{
				"admin":   {Subject: "admin", Tenants: every, Roles: []tenant.Role{tenant.Admin}},
				"auditor": {Subject: "auditor", Tenants: []string{cloudVault}, Roles: []tenant.Role{tenant.Compliance}},
				"channel": {Subject: "channel", Tenants: every, Roles: []tenant.Role{tenant.Channel, tenant.Operator, tenant.Reviewer}},
			},
		}, app.Service{Name: events.Ledger, Schemas: Service.Schemas, Run: func(ctx context.Context, env *app.Env) error {
			started <- env
			<-ctx.Done()
			return nil
		}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var env *app.Env
	select {
	case env = <-started:
	case err := <-ended:
		t.Fatal(err)
	}
	w.env, w.js, w.auth = env, env.Bus.JetStream(), env.Auth
	policy, err := egress.ParsePolicy("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	if w.hooks, err = newWebhooks(env, policy); err != nil {
		t.Fatal(err)
	}
	w.model, w.reads = newReadModel(env.Store), newTape()
	w.api = &api{env: env, guard: tenant.NewGuard(env.Auth), model: w.model, accesses: newAccesses(w.reads, env.Log), webhooks: w.hooks, beat: 10 * time.Millisecond, ending: w.ending}
	listener := httptest.NewServer(w.api.routes())
	t.Cleanup(listener.Close)
	w.url = listener.URL
	return w
}

// publish stores registrations of both tenants, three events each, and waits for the feeds.
func (w *feedWorld) publish(from, registrations int) {
	w.t.Helper()
	carried := events.Carried{Channel: "native", UserID: "u", PersonID: "p", Vault: 7, MAC: "m", Config: "c"}
	for i := from; i < from+registrations; i++ {
		for _, e := range []events.Event{
			events.Requested{Carried: carried}, events.Validated{Carried: carried, Versions: events.Versions{Config: "c"}},
			events.Categorized{Carried: carried, Assessment: events.Assessment{Case: 1, Level: "LOW"}, Category: events.Category{ID: "cat"}},
		} {
			for _, t := range []string{cloudVault, finsei} {
				r := events.Record{Subject: events.SubjectOf(t, fmt.Sprint("r", i), e), Source: events.Gateway, Time: noon, Event: e,
					TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
				header, data, err := r.Encode()
				if err != nil {
					w.t.Fatal(err)
				}
				if _, err := w.js.PublishMsgAsync(&nats.Msg{Subject: r.Subject.String(), Header: header, Data: data}); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
	<-w.js.PublishAsyncComplete()
	for _, t := range []string{cloudVault, finsei} {
		w.eventually("the feed has all", func() bool { return w.last(t) == uint64(3*(from+registrations)) })
	}
}

func (w *feedWorld) last(tenant string) uint64 {
	s, err := w.js.Stream(w.t.Context(), bus.FeedStream(tenant))
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.LastSeq
}

func (w *feedWorld) eventually(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("still not: " + what)
		}
	}
}

// fedEvent is an event as its reader has it.
type fedEvent struct {
	ID, Type, Cursor, Sequence string
	Data                       json.RawMessage
}

func (w *feedWorld) request(ctx context.Context, token, tenant, path string, header ...string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("X-Tenant-ID", tenant)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { a.Body.Close() })
	return a
}

// page reads one page, and where the next one is.
func (w *feedWorld) page(tenant, path string) (page []fedEvent, next string) {
	w.t.Helper()
	a := w.request(w.t.Context(), "admin", tenant, path)
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/cloudevents-batch+json" {
		raw, _ := io.ReadAll(a.Body)
		w.t.Fatalf("%s answers %d %s", path, a.StatusCode, raw)
	}
	if err := json.NewDecoder(a.Body).Decode(&page); err != nil {
		w.t.Fatal(err)
	}
	next, found := strings.CutSuffix(strings.TrimPrefix(a.Header.Get("Link"), "<"), `>; rel="next"`)
	if !found {
		w.t.Fatalf("Link is %q", a.Header.Get("Link"))
	}
	return page, next
}

func TestTheFeedIsReadInOrderWithoutAGapInPagesOfAnySize(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 120)
	next := ""
	for _, limit := range []int{7, 100, 1000} {
		var all []fedEvent
		next = fmt.Sprint("/v1/events?limit=", limit)
		for {
			page, after := w.page(cloudVault, next)
			if len(page) > limit {
				t.Fatalf("a page of %d has %d events", limit, len(page))
			}
			all, next = append(all, page...), after
			if len(page) == 0 {
				break
			}
		}
		if len(all) != 360 {
			t.Fatalf("in pages of %d it has %d events", limit, len(all))
		}
		for i, e := range all {
			if e.Sequence != strconv.Itoa(i+1) || !strings.HasPrefix(e.ID, "reg."+cloudVault+".") || len(e.Data) == 0 {
				t.Fatalf("event %d is %+v", i+1, e)
			}
		}
	}
	w.publish(120, 1)
	if more, _ := w.page(cloudVault, next); len(more) != 3 || more[0].Sequence != "361" {
		t.Fatalf("after the end came %+v", more)
	}
}

func TestTheFeedGivesOnlyTheTypesAskedFor(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 700)
	seen, next := 0, "/v1/events?limit=400&types="+events.Validated{}.Type()
	for range 3 {
		var page []fedEvent
		page, next = w.page(finsei, next)
		for _, e := range page {
			if e.Type != (events.Validated{}).Type() {
				t.Fatalf("it gave %s", e.Type)
			}
		}
		seen += len(page)
	}
	if seen != 700 {
		t.Errorf("%d events of 700", seen)
	}
	page, next := w.page(finsei, "/v1/events?types="+events.Rejected{}.Type())
	if len(page) != 0 || !strings.Contains(next, "after=") {
		t.Errorf("none of a type gives %d events, next %s", len(page), next)
	}
	w.publish(700, 1)
	if page, _ = w.page(finsei, next); len(page) != 0 {
		t.Errorf("went on with %d", len(page))
	}
}

func TestWhoMayNotReadTheFeedAndWhatItCannotGive(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 20)
	page, _ := w.page(finsei, "/v1/events?limit=30")
	foreign, middle := page[0].Cursor, page[20].Cursor
	for name, c := range map[string]struct {
		token, tenant, path string
		status              int
		says                string
	}{
		"a channel":                 {"channel", finsei, "/v1/events", 403, "compliance"},
		"another tenant's auditor":  {"auditor", finsei, "/v1/events", 403, "X-Tenant-ID"},
		"nobody":                    {"stranger", finsei, "/v1/events", 401, "Bearer"},
		"a channel, as a stream":    {"channel", finsei, "/v1/events/stream", 403, "compliance"},
		"another tenant's cursor":   {"admin", cloudVault, "/v1/events?after=" + foreign, 400, "cursor"},
		"rubbish for a cursor":      {"admin", finsei, "/v1/events?after=x", 400, "cursor"},
		"rubbish as Last-Event-ID":  {"admin", finsei, "/v1/events/stream?after=x", 400, "cursor"},
		"an unknown type":           {"admin", finsei, "/v1/events?types=registration.invented", 400, "types"},
		"no limit at all":           {"admin", finsei, "/v1/events?limit=0", 400, "limit"},
		"a limit beyond the most":   {"admin", finsei, "/v1/events?limit=1001", 400, "limit"},
		"a misspelt parameter":      {"admin", finsei, "/v1/events?type=x", 400, "types"},
		"a place beyond the feed":   {"admin", finsei, "/v1/events?after=" + url.QueryEscape(string(cursorOf(finsei, 4000))), 410, "begin again"},
		"a place beyond, streaming": {"admin", finsei, "/v1/events/stream?after=" + string(cursorOf(finsei, 4000)), 410, "begin again"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.request(t.Context(), c.token, c.tenant, c.path)
			raw, _ := io.ReadAll(a.Body)
			if a.StatusCode != c.status || !strings.Contains(string(raw), c.says) {
				t.Errorf("answered %d %s", a.StatusCode, raw)
			}
		})
	}

	s, err := w.js.Stream(t.Context(), bus.FeedStream(finsei))
	if err != nil {
		t.Fatal(err)
	}
	short := s.CachedInfo().Config
	short.MaxMsgs, short.Discard = 20, jetstream.DiscardOld
	if _, err := w.js.UpdateStream(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	w.eventually("the feed has let go", func() bool {
		i, err := s.Info(t.Context())
		return err == nil && i.State.FirstSeq == 41
	})
	if a := w.request(t.Context(), "admin", finsei, "/v1/events?after="+middle); a.StatusCode != http.StatusGone {
		t.Errorf("what the feed has let go answers %d", a.StatusCode)
	}
	if page, _ := w.page(finsei, "/v1/events"); len(page) != 20 || page[0].Sequence != "41" {
		t.Errorf("from the oldest it gives %d events", len(page))
	}
}

// listen reads n events of a stream.
func listen(t *testing.T, body io.Reader, n int) (ids []string) {
	t.Helper()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for len(ids) < n && lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			ids = append(ids, id)
		}
	}
	if len(ids) < n {
		t.Fatalf("the stream ended after %d of %d events: %v", len(ids), n, lines.Err())
	}
	return ids
}

func TestAStreamResumesExactlyWhereItsReaderWas(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 80)
	var ids []string
	last := ""
	for _, n := range []int{1, 99, 100, 40} {
		ctx, cancel := context.WithCancel(t.Context())
		got := listen(t, w.request(ctx, "auditor", cloudVault, "/v1/events/stream", "Last-Event-ID", last).Body, n)
		cancel()
		ids, last = append(ids, got...), got[len(got)-1]
	}
	for i, id := range ids {
		if id != string(cursorOf(cloudVault, uint64(i+1))) {
			t.Fatalf("event %d of the stream is another", i+1)
		}
	}
	live := w.request(t.Context(), "auditor", cloudVault, "/v1/events/stream?after="+last)
	w.publish(80, 10)
	if got := listen(t, live.Body, 30); got[29] != string(cursorOf(cloudVault, 270)) {
		t.Error("what was published later did not arrive in order")
	}
}

func TestAStreamEndsWithItsTokenAndWithItsService(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 1)
	revoked := w.request(t.Context(), "auditor", cloudVault, "/v1/events/stream")
	listen(t, revoked.Body, 3)
	w.auth.AddToken("auditor", tenant.Principal{Subject: "auditor", Tenants: []string{finsei}, Roles: []tenant.Role{tenant.Compliance}})
	if _, err := io.Copy(io.Discard, revoked.Body); err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
	stopped := w.request(t.Context(), "admin", cloudVault, "/v1/events/stream")
	listen(t, stopped.Body, 3)
	close(w.ending)
	if _, err := io.Copy(io.Discard, stopped.Body); err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
}

func TestATenantCannotOpenMoreStreamsThanItsShare(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 1)
	for range mostStreams {
		listen(t, w.request(t.Context(), "admin", cloudVault, "/v1/events/stream").Body, 1)
	}
	if a := w.request(t.Context(), "admin", cloudVault, "/v1/events/stream"); a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("one more answers %d", a.StatusCode)
	}
	if a := w.request(t.Context(), "admin", finsei, "/v1/events/stream"); a.StatusCode != http.StatusOK {
		t.Errorf("another tenant's first answers %d", a.StatusCode)
	}
}

// BenchmarkFeed reads the whole feed over HTTP in the largest pages.
func BenchmarkFeed(b *testing.B) {
	w := newFeedWorld(b)
	w.publish(0, 10_000)
	read := 0
	for b.Loop() {
		next := fmt.Sprint("/v1/events?limit=", mostEvents)
		for {
			page, after := w.page(cloudVault, next)
			if len(page) == 0 {
				break
			}
			read, next = read+len(page), after
		}
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "events/s")
}
