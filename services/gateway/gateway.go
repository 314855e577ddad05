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
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/finhub"
)

// Service is the gateway.
var Service = app.Service{Name: events.Gateway, Run: Run}

// Run serves HTTP on GATEWAY_ADDR and cleans the vault, until ctx ends.
func Run(ctx context.Context, env *app.Env) error { return newGateway(env).run(ctx) }

type gateway struct {
	env         *app.Env
	intake      *intake
	access      *access
	provisioned *provisioned
	presenting  *presenting
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
			room: bus.NewHighWater(env.Bus, env.Config.Broker.HighWater), open: newUnfinished(env.Bus, env.Config.Tenants),
			turns: semaphore.NewWeighted(mostStoring),
		},
		access:      &access{auth: env.Auth, config: env.Config, limits: newLimits(env.Config.Auth.FailuresPerAddress)},
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
	group.Go(func() error { return app.Serve(ctx, addr, g.routes()) })
	group.Go(func() error {
		return g.env.Bus.Run(ctx, bus.On(g.onRegistrationRejected), bus.On(g.onActivationSent))
	})
	return group.Wait()
}

func (g *gateway) routes() http.Handler {
	r := mux.NewRouter()
	r.Use(g.cors)
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nativeFail(w, fail(http.StatusNotFound, "not-found", "there is nothing at this path"))
	})
	r.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nativeFail(w, fail(http.StatusMethodNotAllowed, "method-not-allowed", "this path does not take this method"))
	})
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		r.Handle(path, g.env.Ops)
	}
	r.HandleFunc("/activate.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, pages, "activate.js") })
	api := r.NewRoute().Subrouter()
	api.Use(g.traced)
	api.Use(traceparent)
	api.HandleFunc("/v1/registrations", g.postNative).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/v1/registrations:batch", g.postBatch).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/v1/registrations/{id}", g.getRegistration).Methods(http.MethodGet, http.MethodOptions)
	api.HandleFunc("/v1/registrations/{id}/events", g.streamRegistration).Methods(http.MethodGet)
	api.HandleFunc("/v1/registrations/{id}/activation", g.postActivation).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/v1/registrations/{id}/activation/resend", g.postResend).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/api/v2.1/customer/individual/registration", g.postFinHub(finhubSingular)).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/api/v2.1/customers/individual/register", g.postFinHub(finhubPlural)).Methods(http.MethodPost, http.MethodOptions)
	for path, render := range map[string]func(*tenant.Tenant) []byte{
		"/api/v2.1/customer/individual/categorization/hierarchy":  finhub.Hierarchy,
		"/api/v2.1/customers/individual/categorization/hierarchy": finhub.SmartHierarchy,
	} {
		for _, end := range []string{"", "/", "/{tenantId}"} {
			api.HandleFunc(path+end, g.getHierarchy(render)).Methods(http.MethodGet, http.MethodOptions)
		}
	}
	api.HandleFunc("/api/v2.1/customer/individual/{id}/activation", g.postFinHubActivation).Methods(http.MethodPost, http.MethodOptions)
	api.HandleFunc("/activate/{tenant}/{id}", g.activationPage).Methods(http.MethodGet, http.MethodPost)
	return r
}

// traceparent tells the client the trace of its request (W3C Trace Context).
func traceparent(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		propagation.TraceContext{}.Inject(r.Context(), propagation.HeaderCarrier(w.Header()))
		next.ServeHTTP(w, r)
	})
}
