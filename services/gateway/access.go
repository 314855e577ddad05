package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/pkg/tenant"
)

// access decides who may do what for which tenant, and how often.
type access struct {
	guard  *tenant.Guard
	limits *limits
	// anonymous honours auth: none also of tenants that do not allow it for everybody.
	anonymous bool
}

// caller is who sends a request, for which tenant.
type caller struct {
	tenant.Principal
	tenant *tenant.Tenant
}

// enter authenticates a request, finds its tenant and applies the tenant's limits. The tenant
// is X-Tenant-ID's, or the token's only one. A tenant that the token does not allow answers
// 403 whether it exists or not.
func (a *access) enter(r *http.Request, roles ...tenant.Role) (caller, *failure) {
	p, f := a.authenticate(r)
	if f != nil {
		return caller{}, f
	}
	if !p.Has(roles...) {
		return caller{}, fail(http.StatusForbidden, "forbidden", "the token's roles do not allow this")
	}
	id, f := tenantID(r, p)
	if f != nil {
		return caller{}, f
	}
	t, known := configOf(r).Tenant(id)
	if !known || !p.Allows(id) {
		return caller{}, fail(http.StatusForbidden, "forbidden", "the token does not allow this tenant; check X-Tenant-ID")
	}
	return a.admit(r, p, t)
}

// enterInstitution is enter for the tenant that has the institution id of the path.
func (a *access) enterInstitution(r *http.Request, institution string, roles ...tenant.Role) (caller, *failure) {
	p, f := a.authenticate(r)
	if f != nil {
		return caller{}, f
	}
	t, known := configOf(r).Institution(institution)
	if !p.Has(roles...) || !known || !p.Allows(t.ID) {
		return caller{}, fail(http.StatusForbidden, "forbidden", "the token does not allow this; check its roles and the institution id in the path")
	}
	return a.admit(r, p, t)
}

// admit applies the limits of a tenant.
func (a *access) admit(r *http.Request, p tenant.Principal, t *tenant.Tenant) (caller, *failure) {
	if wait := a.limits.wait(t, a.address(r)); wait > 0 {
		return caller{}, tooMany("the tenant's rate limit is reached; retry later", wait)
	}
	return caller{p, t}, nil
}

// authenticate finds out who sends a request.
func (a *access) authenticate(r *http.Request) (tenant.Principal, *failure) {
	p, err := a.guard.Authenticate(r, configOf(r))
	var tooOften *tenant.TooManyError
	switch {
	case err == nil:
		return p, nil
	case errors.As(err, &tooOften):
		return p, tooMany("too many tokens that are not valid came from this address; retry later", tooOften.Wait)
	case errors.Is(err, tenant.ErrNoBearer):
		return p, fail(http.StatusUnauthorized, "unauthorized", "send one header Authorization: Bearer <token>")
	case errors.Is(err, tenant.ErrUnavailable):
		return p, unavailable("tokens cannot be checked now; retry later")
	}
	return p, fail(http.StatusUnauthorized, "unauthorized", "the bearer token is not valid")
}

func tenantID(r *http.Request, p tenant.Principal) (string, *failure) {
	switch sent := r.Header.Values("X-Tenant-ID"); {
	case len(sent) > 1:
		return "", fail(http.StatusBadRequest, "malformed", "header X-Tenant-ID is repeated; send it once")
	case len(sent) == 1 && sent[0] != "":
		return sent[0], nil
	}
	if len(p.Tenants) == 1 && p.Tenants[0] != tenant.AllTenants {
		return p.Tenants[0], nil
	}
	return "", fail(http.StatusBadRequest, "malformed", "header X-Tenant-ID is required: the token has several tenants")
}

// intakeOpen refuses new registrations for a tenant that is disabled, lacks the dialect or has
// no streams yet.
func (g *gateway) intakeOpen(ctx context.Context, t *tenant.Tenant, dialect bool) *failure {
	switch {
	case t.Disabled:
		return tenantDisabled()
	case !dialect:
		return fail(http.StatusForbidden, "dialect-disabled", "the tenant does not use this dialect")
	case !g.provisioned.has(ctx, t.ID):
		return &failure{http.StatusServiceUnavailable, "tenant-not-provisioned", "TENANT_NOT_PROVISIONED: the tenant is not set up yet; retry later", provisionHint}
	}
	return nil
}

func tenantDisabled() *failure {
	return fail(http.StatusForbidden, "tenant-disabled", "the tenant takes no registrations")
}

// provisionHint is how long a client should wait for a person to set a tenant up.
const provisionHint = 30 * time.Second

func (a *access) address(r *http.Request) string {
	return tenant.Address(r, configOf(r).TrustedProxies)
}

// cors answers browsers from the origins that some tenant allows, and OPTIONS for whoever asks;
// the tenant of a request is checked when it comes.
func (g *gateway) cors(routes *mux.Router) mux.MiddlewareFunc {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			origin := r.Header.Get("Origin")
			allowed := origin != "" && slices.ContainsFunc(configOf(r).Tenants, func(t *tenant.Tenant) bool {
				return slices.Contains(t.CORSOrigins, origin)
			})
			if allowed {
				w.Header().Set("Access-Control-Allow-Origin", origin)
				w.Header().Add("Vary", "Origin")
				w.Header().Set("Access-Control-Expose-Headers", "Location, Retry-After, X-Registration-ID, Preference-Applied, traceparent")
			}
			if r.Method != http.MethodOptions {
				next.ServeHTTP(w, r)
				return
			}
			methods := methodsOf(routes, r)
			if len(methods) == 0 {
				next.ServeHTTP(w, r)
				return
			}
			if allowed {
				w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
				w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Tenant-ID, X-Forwarded-From, X-Forwarded-For, platform, deviceId, X-Device-Id, device-id, Idempotency-Key, Prefer, uuid, di_tid, offering_id, traceparent")
				w.Header().Set("Access-Control-Max-Age", "600")
			}
			w.Header().Set("Allow", strings.Join(methods, ", "))
			w.WriteHeader(http.StatusNoContent)
		})
	}
}
