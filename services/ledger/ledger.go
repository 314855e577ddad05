// Package ledger is the query side: it folds every event into a read model and answers for
// registrations of any age.
package ledger

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/egress"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/ledger/console"
	"github.com/usherhq/usher/services/ledger/webhooks"
)

// Service is the ledger.
var Service = app.Service{Name: events.Ledger, Schemas: slices.Concat(
	[]store.Schema{registrationSchema, caseSchema, reviewSchema, notarySchema}, webhooks.Schemas), Run: Run}

// Run serves HTTP on LEDGER_ADDR and follows every event, until ctx ends.
func Run(ctx context.Context, env *app.Env) error { return RunWith(ctx, env, Dev{}) }

// Dev is what a developer's machine has besides; nothing of it is required.
type Dev struct {
	Routes  map[string]http.Handler // more on the same listener, by their path
	Mailbox console.Mailbox
}

// RunWith is Run on a developer's machine.
func RunWith(ctx context.Context, env *app.Env, dev Dev) error {
	addr := env.Getenv("LEDGER_ADDR")
	if addr == "" {
		return errors.New("LEDGER_ADDR is not set; give the address to listen on, e.g. 127.0.0.1:8081")
	}
	model := newReadModel(env.Store)
	queue, cases := newQueue(env, model), newCases(env, model)
	signs := newNotary(env.Bus, env.Store, env.Keys.Signer(), env.Log)
	tenants := func() []string { return env.Config.Current().TenantIDs() }
	if err := errors.Join(queue.observe(env.Telemetry.Meter, tenants), signs.observe(env.Telemetry.Meter, tenants)); err != nil {
		return err
	}
	policy, err := egress.PolicyOf(env.Getenv)
	if err != nil {
		return err
	}
	hooks, err := newWebhooks(env, policy)
	if err != nil {
		return err
	}
	reads := newAccesses(env.Bus, env.Log)
	group, ctx := errgroup.WithContext(ctx)
	api := &api{
		env: env, guard: tenant.NewGuard(env.Auth), model: model, queue: queue, cases: cases, lists: newListed(ctx, env.Getenv("USHER_LISTS"), env.Log),
		webhooks: hooks, accesses: reads, beat: streamBeat, ending: ctx.Done(),
	}
	watch := newStages(env.Bus, env.Log)
	env.Health.Warn("stages", watch.warning)
	group.Go(func() error { watch.run(ctx); return nil })
	r := api.routes()
	r.PathPrefix(console.Root).Handler(newConsole(api, watch, dev.Mailbox))
	for path, handler := range dev.Routes {
		r.Handle(path, handler)
	}
	group.Go(func() error { return env.Serve(ctx, addr, r) })
	env.Health.Warn("evidence", signs.warning)
	group.Go(func() error { signs.run(ctx, env.Config.Current); return nil })
	group.Go(func() error { hooks.Run(ctx); return nil })
	group.Go(func() error { reads.run(ctx, accessWindow); return nil })
	group.Go(func() error { return follow(ctx, env, model, queue, cases) })
	return group.Wait()
}

// newWebhooks returns who delivers to the endpoints of tenants, whose URLs the policy admits.
func newWebhooks(env *app.Env, policy egress.Policy) (*webhooks.Dispatcher, error) {
	check := func(ctx context.Context, url string) error { return policy.Check(ctx, nil, url) }
	return webhooks.NewDispatcher(webhooks.NewRegistry(env.Store, env.Keys, env.Bus, env.Bus, check), webhooks.Settings{
		Client: egress.New(egress.Settings{Policy: policy, Timeout: webhooks.SendTimeout}), Encode: structured,
		Known: func(tenant string) bool { _, known := env.Config.Tenant(tenant); return known },
		Log:   env.Log, Meter: env.Telemetry.Meter,
	})
}

// follow folds every event until ctx ends.
func follow(ctx context.Context, env *app.Env, model *readModel, queue *queue, cases *cases) error {
	f := forgetter{model, []func(context.Context, string) error{queue.withdraw, cases.withdraw}}
	return env.Bus.Run(ctx, bus.On(f.onErasureRequested), bus.On(f.onRegistrationExpired),
		bus.OnAny(each(queue.onReviewEvent, cases.onCaseEvent, model.onAnyEvent)))
}

// each hands an event to one after another, until one fails.
func each(react ...func(context.Context, events.Record) error) func(context.Context, events.Record) error {
	return func(ctx context.Context, r events.Record) error {
		for _, f := range react {
			if err := f(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}
}

func (a *api) routes() *mux.Router {
	r := mux.NewRouter()
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusNotFound, "not-found", "there is nothing at this path")
	})
	r.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusMethodNotAllowed, "method-not-allowed", "this path does not take the method; see /openapi/ledger.yaml")
	})
	r.HandleFunc("/openapi/ledger.yaml", getOpenAPI).Methods(http.MethodGet)
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		r.Handle(path, a.env.Ops)
	}
	r.HandleFunc("/v1/registrations", a.listRegistrations).Methods(http.MethodGet)
	r.HandleFunc("/v1/registrations/{id}", a.getRegistration).Methods(http.MethodGet)
	r.HandleFunc("/v1/events", a.getEvents).Methods(http.MethodGet)
	r.HandleFunc("/v1/evidence/keys", a.getEvidenceKeys).Methods(http.MethodGet)
	r.HandleFunc("/v1/events/stream", a.streamEvents).Methods(http.MethodGet)
	r.HandleFunc("/v1/registrations/{id}/personal-data", a.deletePersonalData).Methods(http.MethodDelete)
	a.mailRoutes(r)
	a.webhookRoutes(r)
	r.HandleFunc("/v1/stats", a.getStats).Methods(http.MethodGet)
	r.HandleFunc("/v1/reviews", a.reviewers(a.listReviews)).Methods(http.MethodGet)
	r.HandleFunc("/v1/reviews/{id}", a.reviewers(a.getReview)).Methods(http.MethodGet)
	r.HandleFunc("/v1/reviews/{id}/assign", a.reviewers(a.postAssign)).Methods(http.MethodPost)
	r.HandleFunc("/v1/reviews/{id}/notes", a.reviewers(a.postNote)).Methods(http.MethodPost)
	r.HandleFunc("/v1/reviews/{id}/approve", a.reviewers(a.postDecision(true))).Methods(http.MethodPost)
	r.HandleFunc("/v1/reviews/{id}/reject", a.reviewers(a.postDecision(false))).Methods(http.MethodPost)
	r.HandleFunc("/v1/cases", a.reviewers(a.listCases)).Methods(http.MethodGet)
	r.HandleFunc("/v1/cases/{id}", a.reviewers(a.getCase)).Methods(http.MethodGet)
	r.HandleFunc("/v1/cases/{id}/clear", a.reviewers(a.postCaseDecision(true))).Methods(http.MethodPost)
	r.HandleFunc("/v1/cases/{id}/confirm", a.reviewers(a.postCaseDecision(false))).Methods(http.MethodPost)
	return r
}
