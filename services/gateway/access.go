package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/usherhq/usher/pkg/tenant"
)

// access decides who may do what for which tenant.
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
	p, f := a.authenticate(r.Context(), r)
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
	if wait := a.limits.wait(t, address(r)); wait > 0 {
		return caller{}, &failure{http.StatusTooManyRequests, "too-many-requests", "the tenant's rate limit is reached; retry later", wait}
	}
	return caller{p, t}, nil
}

func (a *access) authenticate(ctx context.Context, r *http.Request) (tenant.Principal, *failure) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header.Values("Authorization")) != 1 {
		return tenant.Principal{}, fail(http.StatusUnauthorized, "unauthorized", "send one header Authorization: Bearer <token>")
	}
	p, err := a.auth.Authenticate(ctx, strings.TrimSpace(token))
	switch {
	case errors.Is(err, tenant.ErrUnavailable):
		return p, unavailable("tokens cannot be checked now; retry later")
	case err != nil:
		return p, fail(http.StatusUnauthorized, "unauthorized", "the bearer token is not valid")
	}
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

// intakeOpen refuses new registrations for a tenant that is disabled or lacks the dialect.
func intakeOpen(t *tenant.Tenant, dialect bool) *failure {
	switch {
	case t.Disabled:
		return fail(http.StatusForbidden, "tenant-disabled", "the tenant takes no registrations")
	case !dialect:
		return fail(http.StatusForbidden, "dialect-disabled", "the tenant does not use this dialect")
	}
	return nil
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// limits are token buckets by tenant and by tenant and address.
type limits struct {
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// mostBuckets bounds the memory of limits; beyond it every bucket starts full again.
const mostBuckets = 50_000

func newLimits() *limits { return &limits{buckets: map[string]*rate.Limiter{}} }

// wait takes one token of each bucket and returns 0, or how long until there is one.
func (l *limits) wait(t *tenant.Tenant, address string) time.Duration {
	return max(l.take(t.ID, t.Limits.PerTenant), l.take(t.ID+"|"+address, t.Limits.PerAddress))
}

func (l *limits) take(key string, perSecond float64) time.Duration {
	if perSecond == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[key]
	if !ok {
		if len(l.buckets) >= mostBuckets {
			clear(l.buckets)
		}
		b = rate.NewLimiter(rate.Limit(perSecond), max(int(perSecond), 1))
		l.buckets[key] = b
	}
	reservation := b.Reserve()
	delay := reservation.Delay()
	if delay > 0 {
		reservation.Cancel()
	}
	return delay
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
