package tenant

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/limit"
)

// ErrNoBearer: the request has not one header Authorization with a bearer token. HTTP 401.
var ErrNoBearer = errors.New("no bearer token was sent")

// TooManyError: too many tokens that are not valid came from the address. HTTP 429.
type TooManyError struct{ Wait time.Duration }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("too many tokens that are not valid; wait %v", e.Wait)
}

// authenticator is what a guard asks.
type authenticator interface {
	Authenticate(ctx context.Context, bearer string) (Principal, error)
}

// Guard finds out who sends a request. An address that sent too many tokens that are not valid is
// refused every token that was not found valid before, unchecked: neither a guess nor a flood gets
// through, and others behind the same address go on. Each listener has its own. Safe for
// concurrent use.
type Guard struct {
	auth     authenticator
	attempts *limit.Attempts
}

// NewGuard returns a guard that has not seen any address.
func NewGuard(auth *Authenticator) *Guard { return &Guard{auth, limit.NewAttempts()} }

// Authenticate returns who sends a request, under the limits of c. Its error is ErrNoBearer, a
// *TooManyError, ErrUnauthenticated or wraps ErrUnavailable.
func (g *Guard) Authenticate(r *http.Request, c *Config) (Principal, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header.Values("Authorization")) != 1 {
		return Principal{}, ErrNoBearer
	}
	token = strings.TrimSpace(token)
	address, failures := Address(r, c.TrustedProxies), c.Auth.FailuresPerAddress
	if wait := g.attempts.Wait(token, address, failures); wait > 0 {
		return Principal{}, &TooManyError{wait}
	}
	p, err := g.auth.Authenticate(r.Context(), token)
	switch {
	case err == nil:
		g.attempts.Succeeded(token)
	case !errors.Is(err, ErrUnavailable):
		g.attempts.Failed(token, address, failures)
	}
	return p, err
}

// Address is where a request comes from. Behind trusted proxies that is the last address of
// X-Forwarded-For that is not a trusted proxy itself; what stands before it anybody can write.
func Address(r *http.Request, proxies []Network) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && trusts(proxies, host); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		host = hop.Unmap().WithZone("").String()
	}
	return host
}

func trusts(proxies []Network, host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(proxies, func(n Network) bool { return n.Contains(ip.Unmap().WithZone("")) })
}
