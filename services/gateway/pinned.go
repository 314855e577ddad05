package gateway

import (
	"context"
	"net/http"

	"github.com/usherhq/usher/pkg/tenant"
)

type configKey struct{}

// pinned gives every request the configuration in force at its arrival: it is answered under that
// one version to its end.
func pinned(live *tenant.Live, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(withConfig(r.Context(), live.Current())))
	})
}

func withConfig(ctx context.Context, c *tenant.Config) context.Context {
	return context.WithValue(ctx, configKey{}, c)
}

// configOf is the configuration a request is pinned to.
func configOf(r *http.Request) *tenant.Config { return r.Context().Value(configKey{}).(*tenant.Config) }
