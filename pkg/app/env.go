package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/telemetry"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// Options are where a process gets its settings and what tests add.
type Options struct {
	// Getenv reads a setting: NATS_URL, NATS_CREDS, NATS_CA, STORE_URL, USHER_CONFIG (absent:
	// the embedded demo), USHER_KEYS, OPS_ADDR and those of the services.
	Getenv func(string) string
	// Tokens are bearer tokens besides the configured ones, by their plain text.
	Tokens map[string]tenant.Principal
	// Setup makes streams, consumers and collections before the services start. Without it
	// they are verified, and a difference is an error.
	Setup bool
	// AllowAnonymous honours auth: none also of tenants without allowAnonymous: for a developer's
	// own machine.
	AllowAnonymous bool
	// Twice runs every handler twice for each message: a test of idempotence.
	Twice bool
	// Spans receives every span, besides the exporter; for tests.
	Spans sdktrace.SpanProcessor
	// Output receives the logs; default standard error.
	Output io.Writer
}

// Env is all that a service gets from outside.
type Env struct {
	Getenv    func(string) string
	Log       *slog.Logger
	Telemetry *telemetry.Telemetry
	Config    *tenant.Live
	Auth      *tenant.Authenticator
	Keys      *keys.Ring
	Store     store.Backend
	Bus       *bus.Bus
	Vault     *vault.Vault
	Health    *Health
	// Serve answers HTTP on an address until ctx ends.
	Serve func(ctx context.Context, addr string, handler http.Handler) error
	// AllowAnonymous is that of Options.
	AllowAnonymous bool
	// Ops answers /livez, /readyz and /metrics for the whole process.
	Ops http.Handler
}

type process struct {
	options   Options
	config    *tenant.Live
	reload    *reload
	auth      *tenant.Authenticator
	keys      *keys.Ring
	health    *Health
	gatherers prometheus.Gatherers
	closers   []func() error
	watches   []func(context.Context) // run until the process ends
	running   atomic.Bool             // all services have been started
}

func (p *process) started() error {
	if !p.running.Load() {
		return errors.New("services are starting")
	}
	return nil
}

func newProcess(ctx context.Context, o Options) (*process, error) {
	p := &process{options: o, health: &Health{}}
	path := o.Getenv("USHER_CONFIG")
	config, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	if p.auth, err = tenant.NewAuthenticator(config.Auth); err != nil {
		return nil, fmt.Errorf("set up authentication: %w", err)
	}
	p.config = tenant.NewLive(config)
	p.reload = &reload{path: path, live: p.config, auth: p.auth}
	p.health.Warn("configuration", p.reload.warning)
	for token, principal := range o.Tokens {
		p.auth.AddToken(token, principal)
	}
	dir := o.Getenv("USHER_KEYS")
	if dir == "" {
		return nil, errors.New("USHER_KEYS is not set; give the directory that `usher keys generate` made")
	}
	if p.keys, err = keys.Open(dir); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	return p, nil
}

func loadConfig(path string) (*tenant.Config, error) {
	if path == "" {
		return tenant.Demo(), nil
	}
	return tenant.Load(path)
}

// Topology derives what the broker must hold from the configuration.
func Topology(c *tenant.Config) bus.Topology {
	return bus.Topology{
		Limits: bus.Limits{
			MaxAge: time.Duration(c.Broker.MaxAge), MaxBytes: int64(c.Broker.MaxBytes), VaultMaxBytes: int64(c.Broker.VaultMaxBytes), Replicas: c.Broker.Replicas,
		},
		Tenants: c.TenantIDs(),
	}
}

// env connects one service to the outside. What it opened, close closes.
func (p *process) env(ctx context.Context, s Service) (*Env, error) {
	getenv := p.options.Getenv
	t, err := telemetry.New(ctx, telemetry.Options{
		Service: string(s.Name), Getenv: getenv, SpanProcessor: p.options.Spans, Output: p.options.Output,
	})
	if err != nil {
		return nil, fmt.Errorf("set up telemetry: %w", err)
	}
	p.closers = append(p.closers, func() error { t.Shutdown(context.WithoutCancel(ctx)); return nil })
	p.gatherers = append(p.gatherers, t.Gatherer)
	if err := errors.Join(p.reload.observe(t.Meter), observeKeys(t.Meter, p.keys)); err != nil {
		return nil, err
	}

	backend, err := store.Open(ctx, getenv("STORE_URL"), string(s.Name), t.Tracer)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	p.closers = append(p.closers, backend.Close)

	nc, err := Connect(getenv, string(s.Name), t.Logger)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, func() error { nc.Close(); return nil })

	b, err := bus.New(bus.Config{
		Service: s.Name, Conn: nc, Log: t.Logger, Tracer: t.Tracer, Meter: t.Meter, Store: backend, Twice: p.options.Twice,
	})
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, func() error { b.Close(); return nil })
	if err := p.prepare(ctx, s, b, backend); err != nil {
		return nil, err
	}
	p.health.Add(string(s.Name), b.Ready)
	if len(s.Schemas) > 0 {
		documents := &storeHealth{store: backend}
		p.health.Add(string(s.Name), documents.ready)
		p.watches = append(p.watches, documents.watch)
	}
	return &Env{
		Getenv: getenv, Log: t.Logger, Telemetry: t, Config: p.config, Auth: p.auth, Keys: p.keys, Store: backend,
		Bus: b, Vault: vault.New(b.JetStream(), p.keys), Health: p.health, Serve: Serve, Ops: p.ops(),
		AllowAnonymous: p.options.AllowAnonymous,
	}, nil
}

// Connect dials the broker that NATS_URL, NATS_CREDS and NATS_CA name, as bus.Connect does unless
// more options say otherwise. The caller closes it.
func Connect(getenv func(string) string, name string, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	url := getenv("NATS_URL")
	if url == "" {
		return nil, errors.New("NATS_URL is not set; give the broker's address, e.g. nats://127.0.0.1:4222")
	}
	var options []nats.Option
	if creds := getenv("NATS_CREDS"); creds != "" {
		options = append(options, nats.UserCredentials(creds))
	}
	if ca := getenv("NATS_CA"); ca != "" {
		options = append(options, nats.RootCAs(ca))
	}
	return bus.Connect(url, name, log, append(options, more...)...)
}

// prepare makes or verifies the topology and the collections. It waits for a store and a broker
// that are not there yet.
func (p *process) prepare(ctx context.Context, s Service, b *bus.Bus, backend store.Backend) error {
	schemas := append([]store.Schema{bus.ParkedSchema}, s.Schemas...)
	topology := Topology(p.config.Current())
	broker := func() error { return topology.Verify(ctx, b.JetStream(), s.Name) }
	documents := func() error { return backend.Verify(ctx, schemas...) }
	if p.options.Setup {
		broker = func() error { return topology.Apply(ctx, b.JetStream()) }
		documents = func() error { return backend.Ensure(ctx, schemas...) }
	}
	if err := persist(ctx, b, "store", documents); err != nil {
		return err
	}
	return persist(ctx, b, "broker", func() error {
		return errors.Join(AwaitBroker(ctx, b, 0), broker())
	})
}

// persist prepares what, and begins again every second while it cannot be reached.
func persist(ctx context.Context, b *bus.Bus, what string, prepare func() error) error {
	for {
		err := prepare()
		if err == nil || ctx.Err() != nil || !unreachable(err) {
			return wrap("prepare "+what, err)
		}
		b.Log().WarnContext(ctx, what+" does not answer yet", "error", err)
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// unreachable reports an error that says nothing about what is there: store or broker went
// away, or are not up yet.
func unreachable(err error) bool {
	var said *jetstream.APIError
	if errors.As(err, &said) && said.Code == http.StatusServiceUnavailable { // e.g. an election is under way
		return true
	}
	return slices.ContainsFunc([]error{
		store.ErrUnreachable, context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, nats.ErrConnectionClosed,
	}, func(e error) bool { return errors.Is(err, e) })
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// pause waits, or returns ctx's error when it ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// AwaitBroker returns once the broker is connected, or an error when ctx ends or, unless it
// is 0, the limit is over.
func AwaitBroker(ctx context.Context, b *bus.Bus, limit time.Duration) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	for b.Ready() != nil {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("await broker: %w", err)
		}
	}
	return nil
}

// ops answers health and metrics of all services of the process.
func (p *process) ops() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", http.HandlerFunc(live))
	mux.Handle("GET /readyz", p.health)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		promhttp.HandlerFor(p.gatherers, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
	if p.options.Getenv("OPS_PPROF") == "true" {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	}
	return mux
}

// serveOps listens on OPS_ADDR, if set, until ctx ends.
func (p *process) serveOps(ctx context.Context) error {
	addr := p.options.Getenv("OPS_ADDR")
	if addr == "" {
		return nil
	}
	return Serve(ctx, addr, p.ops())
}

// Serve answers HTTP on addr until ctx ends, then lets the requests in progress finish. Its
// limits are for clients nobody trusts.
func Serve(ctx context.Context, addr string, handler http.Handler) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", addr, err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return server.Close()
	}
	return nil
}

func (p *process) close() error {
	var problems []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		problems = append(problems, p.closers[i]())
	}
	return errors.Join(problems...)
}
