package simulation

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/telemetry"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/accounts"
	"github.com/usherhq/usher/services/gateway"
	"github.com/usherhq/usher/services/ledger"
	"github.com/usherhq/usher/services/notifier"
	"github.com/usherhq/usher/services/notifier/mail"
	"github.com/usherhq/usher/services/risk"
	"github.com/usherhq/usher/services/validator"
)

// cloudVault is the tenant of the demonstration that the clients register with.
const cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"

// fixture is what all seeds share: nothing in it changes.
type fixture struct {
	ring *keys.Ring
	// configs are what processes may start with. The second refuses passwords that the first
	// takes, has another policy and catalog version, demands two reviewers, and refuses whom nobody
	// has reviewed in 20 s.
	configs  [2]*tenant.Config
	auth     *tenant.Authenticator
	token    string
	topology *broker
}

func newFixture(dir string) (*fixture, error) {
	if err := keys.Generate(filepath.Join(dir, "keys")); err != nil {
		return nil, err
	}
	ring, err := keys.Open(filepath.Join(dir, "keys"))
	if err != nil {
		return nil, err
	}
	token := make([]byte, 16)
	_, _ = rand.Read(token)
	f := &fixture{ring: ring, token: hex.EncodeToString(token)}
	demo := strings.Replace(string(tenant.DemoFile()), "    screening: {lists: [demo]}\n", "    screening: {lists: [demo]}\n    maxReview: 20s\n    unreviewed: approve\n", 1)
	// Accounts that nobody activates end soon.
	demo = strings.Replace(demo, "    mail: {from: no-reply@cloudvault.example}", "    activation: {codeValidity: 60s, expireAfter: 60s}\n    mail: {from: no-reply@cloudvault.example}", 1)
	changed := strings.NewReplacer(
		"unreviewed: approve", "unreviewed: refuse\n    fourEyes: true",
		"    mail: {from: no-reply@cloudvault.example}", "    password: {minLength: 24}\n    mail: {from: no-reply@cloudvault.example}",
		`    version: "1"`, `    version: "2"`, "points: 10", "points: 45").Replace(demo)
	for i, text := range []string{demo, changed} {
		path := filepath.Join(dir, fmt.Sprint(i)+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
		if f.configs[i], err = tenant.Load(path); err != nil {
			return nil, err
		}
	}
	if f.auth, err = tenant.NewAuthenticator(f.configs[0].Auth); err != nil {
		return nil, err
	}
	f.auth.AddToken(f.token, tenant.Principal{Subject: "simulation", Tenants: []string{tenant.AllTenants}, Roles: []tenant.Role{tenant.Admin}})
	for _, name := range reviewers {
		f.auth.AddToken(name, tenant.Principal{Subject: name, Tenants: []string{cloudVault}, Roles: []tenant.Role{tenant.Reviewer}})
	}
	f.topology = newBroker(newFaults(0))
	f.topology.faults.heal()
	return f, f.apply()
}

// apply makes the streams and consumers as `usher topology apply` does.
func (f *fixture) apply() error {
	p := &process{name: "topology"}
	nc, err := connect(f.topology, p)
	if err != nil {
		return err
	}
	defer f.topology.close()
	defer nc.Close()
	b, err := newBus(events.Ledger, nc, nil)
	if err != nil {
		return err
	}
	return app.Topology(f.configs[0]).Apply(context.Background(), b.JetStream())
}

// pipe connects to the simulated broker.
type pipe func() (net.Conn, error)

// InProcessConn implements nats.InProcessConnProvider.
func (p pipe) InProcessConn() (net.Conn, error) { return p() }

// connect opens a process's connection, which ends with the process.
func connect(b *broker, p *process) (*nats.Conn, error) {
	dial := pipe(func() (net.Conn, error) {
		if p.dead.Load() {
			return nil, net.ErrClosed
		}
		return b.dial(p), nil
	})
	return bus.Connect("nats://127.0.0.1:4222", p.name, quiet, nats.InProcessServer(dial), nats.NoReconnect(), nats.RetryOnFailedConnect(false))
}

var quiet = slog.New(slog.DiscardHandler)

func newBus(service events.Service, nc *nats.Conn, documents store.Backend) (*bus.Bus, error) {
	return bus.New(bus.Config{
		Service: service, Conn: nc, Log: quiet, Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Store: documents,
	})
}

// world is one seed's run.
type world struct {
	*fixture
	seed   uint64
	faults *faults
	broker *broker
	stores map[events.Service]*documents
	box    *mailbox

	mu        sync.Mutex
	listeners map[events.Service][]*process
	ending    bool
	running   sync.WaitGroup // processes, dead or alive
	failures  []string       // of processes, which must not end by themselves
}

var services = map[events.Service]app.Service{
	events.Gateway: gateway.Service, events.Validator: validator.Service, events.Risk: risk.Service,
	events.Accounts: accounts.Service, events.Notifier: notifier.Service, events.Ledger: ledger.Service,
}

func newWorld(f *fixture, seed uint64) *world {
	w := &world{fixture: f, seed: seed, faults: newFaults(seed), stores: map[events.Service]*documents{}, listeners: map[events.Service][]*process{}}
	w.broker = f.topology.blank(w.faults)
	w.box = &mailbox{faults: w.faults}
	for name, s := range services {
		d := &documents{Memory: store.NewMemory()}
		if err := d.Ensure(context.Background(), append([]store.Schema{bus.ParkedSchema}, s.Schemas...)...); err != nil {
			panic(err) // a schema that no store takes
		}
		w.stores[name] = d
	}
	return w
}

// start starts every service once, and one of them, which the seed chooses, twice.
func (w *world) start() {
	doubled := events.Services[w.faults.number("doubled")%uint64(len(events.Services))]
	for _, s := range events.Services {
		w.launch(s, string(s)+"-1", 0)
		if s == doubled {
			w.launch(s, string(s)+"-2", 0)
		}
	}
}

// process is one incarnation of a service. When it is dead nothing that it does has any effect.
type process struct {
	name   string // the same for all incarnations
	dead   atomic.Bool
	end    func() // called once, on its own goroutine
	gone   chan struct{}
	routes atomic.Pointer[http.Handler]
}

// untilStill is after how long a dead process is cleared away. Until then all its calls fail, so
// that none of its handlers runs any more: watermill's Router waits for them under a lock, and
// fake time stands still while somebody waits for a lock.
const untilStill = 7 * time.Second

// crash ends the process at once. It waits for nothing.
func (p *process) crash() {
	if p.dead.CompareAndSwap(false, true) && p.end != nil {
		go p.end()
	}
}

// launch starts an incarnation; after it has died, another.
func (w *world) launch(s events.Service, name string, life int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending {
		return
	}
	p := &process{name: name, gone: make(chan struct{})}
	config := w.configs[0]
	if w.faults.number(fmt.Sprintf("config|%s|%d", name, life))%3 == 0 {
		config = w.configs[1]
	}
	nc, err := connect(w.broker, p)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.end = func() {
		nc.Close()
		close(p.gone)
		time.AfterFunc(untilStill, cancel)
		w.faults.say("%s died", name)
		wait := w.faults.between(fmt.Sprintf("restart|%s|%d", name, life), 50*time.Millisecond, 4*time.Second)
		time.AfterFunc(wait, func() { w.launch(s, name, life+1) })
	}
	w.faults.say("%s starts with configuration %s", name, config.Version)
	w.listeners[s] = append(w.listeners[s], p)
	w.running.Go(func() {
		err := w.run(ctx, s, p, config, nc)
		if !p.dead.Load() {
			w.fail("%s ended by itself: %v", name, err)
			p.crash()
		}
	})
}

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, fmt.Sprintf(format, args...))
}

// run is app.Run for one service without what it would open itself.
func (w *world) run(ctx context.Context, s events.Service, p *process, config *tenant.Config, nc *nats.Conn) error {
	documents := &handle{w.stores[s], p, w.faults}
	b, err := newBus(s, nc, documents)
	if err != nil {
		return err
	}
	defer b.Close()
	env := &app.Env{
		Getenv: getenv, Log: quiet, Telemetry: &telemetry.Telemetry{Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Logger: quiet},
		Config: tenant.NewLive(config), Auth: w.auth, Keys: w.ring, Store: documents, Bus: b, Vault: vault.New(b.JetStream(), w.ring),
		Health: &app.Health{}, Ops: http.NotFoundHandler(),
		Serve: func(ctx context.Context, _ string, routes http.Handler) error {
			p.routes.Store(&routes)
			<-ctx.Done()
			return nil
		},
	}
	if s == events.Notifier {
		return notifier.RunWith(ctx, env, &sender{w.box, p}, nil)
	}
	return services[s].Run(ctx, env)
}

func getenv(name string) string {
	return map[string]string{
		"ACCOUNTS_ARGON2": "m=8,t=1,p=1", "ACCOUNTS_INSECURE_HASH": "true", "PUBLIC_URL": "https://usher.example",
		"GATEWAY_ADDR": "simulated", "LEDGER_ADDR": "simulated",
	}[name]
}

// stop ends everything and returns when nothing runs any more.
func (w *world) stop() {
	w.mu.Lock()
	w.ending = true
	w.mu.Unlock()
	w.broker.mu.Lock()
	owners := map[*process]bool{}
	for c := range w.broker.conns {
		owners[c.owner] = true
	}
	w.broker.mu.Unlock()
	for p := range owners {
		p.crash()
	}
	w.running.Wait()
	w.broker.close()
}

// answer is what a client hears; status 0 is no answer at all.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request to one of a service's processes. One that dies, or is late, does not answer.
func (w *world) send(to events.Service, method, path, body string, headers map[string]string) answer {
	p := w.listening(to)
	if p == nil {
		return answer{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	request := httptest.NewRequestWithContext(ctx, method, path, io.NopCloser(strings.NewReader(body)))
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	answered := make(chan struct{})
	w.running.Go(func() {
		defer close(answered)
		(*p.routes.Load()).ServeHTTP(recorder, request)
	})
	select {
	case <-answered:
	case <-p.gone:
		return answer{}
	case <-ctx.Done():
		return answer{}
	}
	if p.dead.Load() {
		return answer{}
	}
	return answer{recorder.Code, recorder.Header(), recorder.Body.String()}
}

// listening returns a process of a service that lives and listens, or nil.
func (w *world) listening(s events.Service) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.listeners[s]) - 1; i >= 0; i-- {
		if p := w.listeners[s][i]; !p.dead.Load() && p.routes.Load() != nil {
			return p
		}
	}
	return nil
}

// mailbox is where all mail arrives.
type mailbox struct {
	faults *faults
	mu     sync.Mutex
	mails  []mail.Letter
}

func (b *mailbox) put(l mail.Letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, l)
}

// to returns the mails to an address.
func (b *mailbox) to(email string) (found []mail.Letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.mails {
		if strings.EqualFold(m.To, email) {
			found = append(found, m)
		}
	}
	return found
}

// sender is one notifier's way to the mail server.
type sender struct {
	box   *mailbox
	owner *process
}

var errMail = fmt.Errorf("simulated: %w", mail.ErrTemporary)

// Send implements notifier.Sender.
func (s *sender) Send(_ context.Context, l mail.Letter) error {
	if s.owner.dead.Load() {
		return errors.New("the process is dead")
	}
	v, _ := s.box.faults.decide(s.owner.name, "mail "+l.MessageID, oddsOfMail)
	switch v {
	case lost:
		return errMail
	case crashBefore:
		s.owner.crash()
		return errMail
	}
	s.box.put(l)
	s.box.faults.say("mail %s was taken", l.MessageID)
	switch v {
	case unanswered:
		return errMail
	case crashAfter:
		s.owner.crash()
		return errMail
	}
	return nil
}
