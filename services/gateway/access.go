package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/tenant"
)

// access decides who may do what for which tenant, and how often.
type access struct {
	auth   *tenant.Authenticator
	config *tenant.Config
	limits *limits
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
	t, known := a.config.Tenant(id)
	if !known || !p.Allows(id) {
		return caller{}, fail(http.StatusForbidden, "forbidden", "the token does not allow this tenant; check X-Tenant-ID")
	}
	if wait := a.limits.wait(t, a.address(r)); wait > 0 {
		return caller{}, tooMany("the tenant's rate limit is reached; retry later", wait)
	}
	return caller{p, t}, nil
}

// authenticate finds out who sends a request. An address that sent too many tokens that are not
// valid is answered 429 for every token that was not found valid before, unchecked: neither a
// guess nor a flood gets through, and others behind the same address go on.
func (a *access) authenticate(r *http.Request) (tenant.Principal, *failure) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header.Values("Authorization")) != 1 {
		return tenant.Principal{}, fail(http.StatusUnauthorized, "unauthorized", "send one header Authorization: Bearer <token>")
	}
	token = strings.TrimSpace(token)
	address := a.address(r)
	if wait := a.limits.attempt(token, address); wait > 0 {
		return tenant.Principal{}, tooMany("too many tokens that are not valid came from this address; retry later", wait)
	}
	p, err := a.auth.Authenticate(r.Context(), token)
	switch {
	case errors.Is(err, tenant.ErrUnavailable):
		return p, unavailable("tokens cannot be checked now; retry later")
	case err != nil:
		a.limits.failed(token, address)
		return p, fail(http.StatusUnauthorized, "unauthorized", "the bearer token is not valid")
	}
	a.limits.succeeded(token)
	return p, nil
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
		return fail(http.StatusForbidden, "tenant-disabled", "the tenant takes no registrations")
	case !dialect:
		return fail(http.StatusForbidden, "dialect-disabled", "the tenant does not use this dialect")
	case !g.provisioned.has(ctx, t.ID):
		return &failure{http.StatusServiceUnavailable, "tenant-not-provisioned", "TENANT_NOT_PROVISIONED: the tenant is not set up yet; retry later", provisionHint}
	}
	return nil
}

// provisionHint is how long a client should wait for a person to set a tenant up.
const provisionHint = 30 * time.Second

// address is where a request comes from. Behind trusted proxies that is the last address of
// X-Forwarded-For that is not a trusted proxy itself; what stands before it anybody can write.
func (a *access) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && a.trusts(host); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		host = hop.Unmap().WithZone("").String()
	}
	return host
}

func (a *access) trusts(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(a.config.TrustedProxies, func(n tenant.Network) bool { return n.Contains(ip.Unmap().WithZone("")) })
}

// cors answers browsers from the origins that some tenant allows; the tenant of a request is
// checked when it comes.
func (g *gateway) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		allowed := origin != "" && slices.ContainsFunc(g.env.Config.Tenants, func(t *tenant.Tenant) bool {
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
		if allowed {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Tenant-ID, X-Forwarded-From, platform, deviceId, X-Device-Id, device-id, Idempotency-Key, Prefer, uuid, traceparent")
			w.Header().Set("Access-Control-Max-Age", "600")
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
