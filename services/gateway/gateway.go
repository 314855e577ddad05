// Package gateway takes registrations over HTTP, in its own dialect and those of vendors, and
// stores each as the event registration.requested. It answers for what becomes of them.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/finhub"
	"github.com/usherhq/usher/services/gateway/openapi"
)

// Service is the gateway.
var Service = app.Service{Name: events.Gateway, Schemas: []store.Schema{tombstoneSchema}, Run: Run}

// Run serves HTTP on GATEWAY_ADDR until ctx ends.
func Run(ctx context.Context, env *app.Env) error { return newGateway(env).run(ctx) }

type gateway struct {
	env         *app.Env
	intake      *intake
	access      *access
	provisioned *provisioned
	presenting  *presenting
	blocklist   *passwords.Blocklist
	waiting     atomic.Int64        // callers that wait for an outcome
	lines       *semaphore.Weighted // bytes of the lines under way of all batches
	stall       time.Duration       // after which a client of a batch that does nothing is cut off
	duration    metric.Float64Histogram
	// stopping is closed when the gateway is about to end.
	stopping <-chan struct{}
}

func newGateway(env *app.Env) *gateway {
	return &gateway{
		env: env,
		intake: &intake{
			bus: env.Bus, vault: env.Vault, keys: env.Keys, config: env.Config,
			room: bus.NewHighWater(env.Bus, func() float64 { return env.Config.Current().Broker.HighWater }), open: newUnfinished(env),
			turns: semaphore.NewWeighted(mostStoring),
		},
		access:      &access{guard: tenant.NewGuard(env.Auth), limits: newLimits(), anonymous: env.AllowAnonymous},
		provisioned: &provisioned{bus: env.Bus},
		presenting:  &presenting{open: map[string]int{}},
		lines:       semaphore.NewWeighted(batchMemory),
		stall:       batchStall,
	}
}

func (g *gateway) run(ctx context.Context) (err error) {
	if g.duration, err = newDuration(g.env.Telemetry.Meter); err != nil {
		return fmt.Errorf("make metrics: %w", err)
	}
	if err := g.intake.room.Observe(g.env.Telemetry.Meter); err != nil {
		return err
	}
	if g.blocklist, err = passwords.Open(g.env.Getenv(passwords.Setting)); err != nil {
		return err
	}
	addr := g.env.Getenv("GATEWAY_ADDR")
	if addr == "" {
		return errors.New("GATEWAY_ADDR is not set; give the address to listen on, e.g. 127.0.0.1:8080")
	}
	g.env.Health.Add("gateway", g.intake.room.Err)
	g.env.Health.Add("gateway", g.intake.open.err)
	group, ctx := errgroup.WithContext(ctx)
	g.stopping = ctx.Done()
	group.Go(func() error { g.intake.room.Watch(ctx); return nil })
	group.Go(func() error { g.intake.open.watch(ctx); return nil })
	erasure := newErasure(g.env)
	group.Go(func() error { erasure.sweep(ctx, g.env.Log); return nil })
	group.Go(func() error {
		return g.env.Bus.Run(ctx, bus.On(erasure.onErasureRequested), bus.On(erasure.onRegistrationExpired), bus.On(erasure.onErased))
	})
	group.Go(func() error { return g.env.Serve(ctx, addr, g.routes()) })
	return group.Wait()
}

func (g *gateway) routes() http.Handler {
	r := mux.NewRouter().SkipClean(true)
	r.Use(g.cors(r))
	r.NotFoundHandler = g.outside(r, notFound)
	r.MethodNotAllowedHandler = g.outside(r, methodNotAllowed(r))
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		r.Handle(path, g.env.Ops)
	}
	r.HandleFunc("/activate.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, pages, "activate.js") })
	r.PathPrefix("/openapi/").Handler(openapi.Handler(Documents(), notFound)).Methods(http.MethodGet, http.MethodHead, http.MethodOptions)
	api := r.NewRoute().Subrouter()
	api.Use(g.traced)
	api.Use(traceparent)
	api.HandleFunc("/v1/registrations", g.postNative).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/v1/registrations:batch", g.postBatch).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/v1/registrations/{id}", g.getRegistration).Methods(http.MethodGet, http.MethodHead, http.MethodOptions)
	api.HandleFunc("/v1/registrations/{id}/personal-data", g.deletePersonalData).Methods(http.MethodDelete, http.MethodOptions)
	api.HandleFunc("/v1/registrations/{id}/events", g.streamRegistration).Methods(http.MethodGet, http.MethodOptions)
	api.HandleFunc("/v1/registrations/{id}/activation", g.postActivation).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/v1/registrations/{id}/activation/resend", g.postResend).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/api/v2.1/customer/individual/registration", g.postFinHub(finhubSingular)).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/api/v2.1/customers/individual/register", g.postFinHub(finhubPlural)).Methods(http.MethodPost, http.MethodOptions)
	for path, render := range map[string]func(*tenant.Tenant) []byte{
		"/api/v2.1/customer/individual/categorization/hierarchy":  finhub.Hierarchy,
		"/api/v2.1/customers/individual/categorization/hierarchy": finhub.SmartHierarchy,
	} {
		for _, end := range []string{"", "/", "/{tenantId}"} {
			api.HandleFunc(path+end, g.getHierarchy(render)).Methods(http.MethodGet, http.MethodHead, http.MethodOptions)
		}
	}
	api.HandleFunc("/api/v2.1/customer/individual/{id}/activation", g.postFinHubActivation).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc(candescentPath, g.postCandescent).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/api/v6/services/usermanagement/register-customer", g.postFincode).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/activate/{tenant}/{id}", g.activationPage).Methods(http.MethodGet, http.MethodHead, http.MethodPost)
	return pinned(g.env.Config, r)
}

// traceparent tells the client the trace of its request (W3C Trace Context).
func traceparent(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(w.Header()))
		next.ServeHTTP(w, r)
	})
}
