// Package ledger is the query side: it folds every event into a read model and answers for
// registrations of any age.
package ledger

import (
	"context"
	"errors"
	"net/http"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// Service is the ledger.
var Service = app.Service{Name: events.Ledger, Schemas: []store.Schema{registrationSchema}, Run: Run}

// Run serves HTTP on LEDGER_ADDR and follows every event, until ctx ends.
func Run(ctx context.Context, env *app.Env) error { return RunWith(ctx, env, nil) }

// RunWith is Run with more routes on the same listener, by their path.
func RunWith(ctx context.Context, env *app.Env, more map[string]http.Handler) error {
	addr := env.Getenv("LEDGER_ADDR")
	if addr == "" {
		return errors.New("LEDGER_ADDR is not set; give the address to listen on, e.g. 127.0.0.1:8081")
	}
	model := newReadModel(env.Store)
	api := &api{env: env, model: model}
	r := api.routes()
	for path, handler := range more {
		r.Handle(path, handler)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return app.Serve(ctx, addr, r) })
	group.Go(func() error { return env.Bus.Run(ctx, bus.OnAny(model.onAnyEvent)) })
	return group.Wait()
}

func (a *api) routes() *mux.Router {
	r := mux.NewRouter()
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusNotFound, "not-found", "there is nothing at this path")
	})
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		r.Handle(path, a.env.Ops)
	}
	r.HandleFunc("/v1/registrations", a.listRegistrations).Methods(http.MethodGet)
	r.HandleFunc("/v1/registrations/{id}", a.getRegistration).Methods(http.MethodGet)
	r.HandleFunc("/v1/stats", a.getStats).Methods(http.MethodGet)
	return r
}
