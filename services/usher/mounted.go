package usher

import (
	"context"
	"net/http"
	"sync/atomic"
)

// mounted answers for a listener of a service that has none of its own on a developer's machine.
type mounted struct{ handler atomic.Pointer[http.Handler] }

// serve is app.Env's Serve: it hands the handler over until ctx ends.
func (m *mounted) serve(ctx context.Context, _ string, handler http.Handler) error {
	m.handler.Store(&handler)
	<-ctx.Done()
	return nil
}

// ServeHTTP implements http.Handler: 503 until the service has begun.
func (m *mounted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := m.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
}
