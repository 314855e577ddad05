package tenant

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"
)

// issuerTimeout bounds each request to an issuer.
const issuerTimeout = 5 * time.Second

// signingAlgorithms are the asymmetric ones: no secret is shared with an issuer.
var signingAlgorithms = []string{oidc.RS256, oidc.PS256, oidc.ES256, oidc.EdDSA}

// issuer verifies the JWTs of one OpenID Connect issuer. It finds the keys when the first token
// comes, and again with each token until that has succeeded. Safe for concurrent use.
type issuer struct {
	config    Issuer
	client    *http.Client
	discovery singleflight.Group
	keys      atomic.Pointer[oidc.RemoteKeySet]
}

func newIssuer(config Issuer) *issuer {
	return &issuer{config: config, client: &http.Client{Timeout: issuerTimeout}}
}

// claimedIssuer is what a JWT says its issuer is, unverified; empty for what is no JWT.
func claimedIssuer(jwt string) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

func (i *issuer) verify(ctx context.Context, jwt string) (Principal, error) {
	keys, err := i.keySet(ctx)
	if err != nil {
		return Principal{}, err
	}
	a := &attempt{keys: keys}
	config := &oidc.Config{ClientID: i.config.Audience, SupportedSigningAlgs: signingAlgorithms}
	token, err := oidc.NewVerifier(i.config.Issuer, a, config).Verify(ctx, jwt)
	switch {
	case a.unreachable:
		return Principal{}, fmt.Errorf("%w: its keys cannot be read", ErrUnavailable)
	case err != nil:
		return Principal{}, ErrUnauthenticated
	}
	var claims struct {
		Tenants []string `json:"tenants"`
		Roles   []Role   `json:"roles"`
	}
	if token.Subject == "" || token.Claims(&claims) != nil {
		return Principal{}, ErrUnauthenticated
	}
	unknown := func(r Role) bool { return !slices.Contains(Roles, r) }
	return Principal{token.Subject, claims.Tenants, slices.DeleteFunc(claims.Roles, unknown)}, nil
}

// attempt is one verification. It tells keys that cannot be read from a signature that is wrong:
// the verifier's own error does not.
type attempt struct {
	keys        *oidc.RemoteKeySet
	unreachable bool
}

func (a *attempt) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := a.keys.VerifySignature(ctx, jwt)
	a.unreachable = errors.Unwrap(err) != nil // a remote key set wraps only the failure to fetch
	return payload, err
}

// keySet returns the issuer's keys, which the set itself reads anew when it meets an unknown id.
func (i *issuer) keySet(ctx context.Context) (*oidc.RemoteKeySet, error) {
	if keys := i.keys.Load(); keys != nil {
		return keys, nil
	}
	found := i.discovery.DoChan("", func() (any, error) { return nil, i.discover() })
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case r := <-found:
		return i.keys.Load(), r.Err
	}
}

// discover runs once for all callers that wait for it, so its context is nobody's request.
func (i *issuer) discover() error {
	ctx := oidc.ClientContext(context.Background(), i.client)
	url := i.config.JWKSURL
	if url == "" {
		provider, err := oidc.NewProvider(ctx, i.config.Issuer)
		if err != nil {
			return fmt.Errorf("%w: discovery failed", ErrUnavailable)
		}
		var metadata struct {
			JWKSURL string `json:"jwks_uri"`
		}
		if provider.Claims(&metadata) != nil || metadata.JWKSURL == "" {
			return fmt.Errorf("%w: its discovery document names no keys", ErrUnavailable)
		}
		url = metadata.JWKSURL
	}
	i.keys.Store(oidc.NewRemoteKeySet(ctx, url))
	return nil
}
