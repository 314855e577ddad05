package tenant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
)

// Role is what a caller may do.
type Role string

const (
	Channel    Role = "channel"    // submit; read status, category and validation codes
	Operator   Role = "operator"   // mend
	Reviewer   Role = "reviewer"   // decide cases
	Compliance Role = "compliance" // read risk, reasons and the feed
	Admin      Role = "admin"      // all of these
)

// Roles lists them all.
var Roles = []Role{Channel, Operator, Reviewer, Compliance, Admin}

// AllTenants in a principal's tenants stands for every tenant.
const AllTenants = "*"

// Principal is an authenticated caller.
type Principal struct {
	Subject string
	Tenants []string
	Roles   []Role
}

// Has reports whether the caller has one of the roles; admin has them all.
func (p Principal) Has(roles ...Role) bool {
	return slices.ContainsFunc(p.Roles, func(r Role) bool { return r == Admin || slices.Contains(roles, r) })
}

// Allows reports whether the caller may act for a tenant.
func (p Principal) Allows(tenant string) bool {
	return slices.Contains(p.Tenants, AllTenants) || slices.Contains(p.Tenants, tenant)
}

var (
	// ErrUnauthenticated: no token, or one that is not valid. HTTP 401.
	ErrUnauthenticated = errors.New("bearer token is missing or not valid")
	// ErrUnavailable: the issuer's keys cannot be read now. HTTP 503.
	ErrUnavailable = errors.New("token issuer is not reachable")
)

// Authenticator decides who a bearer token stands for. Safe for concurrent use.
type Authenticator struct {
	mu      sync.RWMutex
	added   []hashedToken // by AddToken
	tokens  []hashedToken
	issuers map[string]*issuer // by name
}

type hashedToken struct {
	sum       [sha256.Size]byte
	principal Principal
}

// NewAuthenticator returns an authenticator. Issuers are contacted when their first token
// arrives: one that is down does not stop the start.
func NewAuthenticator(auth Auth) (*Authenticator, error) {
	a := &Authenticator{}
	if err := a.Replace(auth); err != nil {
		return nil, err
	}
	return a, nil
}

// Replace takes the tokens and issuers of auth in place of those before, all at once. Added
// tokens stay, and an issuer that is the same keeps its keys. After an error nothing has changed.
func (a *Authenticator) Replace(auth Auth) error {
	var tokens []hashedToken
	for _, t := range auth.Tokens {
		sum, err := hex.DecodeString(t.SHA256)
		if err != nil || len(sum) != sha256.Size {
			return errors.New("a token's sha256 is not a SHA-256 in hex")
		}
		tokens = append(tokens, hashedToken{[sha256.Size]byte(sum), Principal{t.Subject, t.Tenants, t.Roles}})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	issuers := map[string]*issuer{}
	for _, o := range auth.OIDC {
		if same, ok := a.issuers[o.Issuer]; ok && same.config == o {
			issuers[o.Issuer] = same
			continue
		}
		issuers[o.Issuer] = newIssuer(o)
	}
	a.tokens, a.issuers = tokens, issuers
	return nil
}

// AddToken adds a static token by its plain text.
func (a *Authenticator) AddToken(plain string, p Principal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.added = append(a.added, hashedToken{sha256.Sum256([]byte(plain)), p})
}

// Authenticate returns who the token stands for; the principal is shared, not to be changed.
// Its error is ErrUnauthenticated or wraps ErrUnavailable. Only a token that names a configured
// issuer makes that issuer be contacted. The time it takes does not tell how much of a token was right.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string) (Principal, error) {
	if bearer == "" {
		return Principal{}, ErrUnauthenticated
	}
	if p, ok := a.static(bearer); ok {
		return p, nil
	}
	if i, ok := a.issuer(claimedIssuer(bearer)); ok {
		return i.verify(ctx, bearer)
	}
	return Principal{}, ErrUnauthenticated
}

func (a *Authenticator) issuer(name string) (*issuer, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	i, ok := a.issuers[name]
	return i, ok
}

func (a *Authenticator) static(bearer string) (Principal, bool) {
	sum := sha256.Sum256([]byte(bearer))
	a.mu.RLock()
	defer a.mu.RUnlock()
	var found *hashedToken
	for _, list := range [][]hashedToken{a.added, a.tokens} {
		for i := range list {
			if subtle.ConstantTimeCompare(sum[:], list[i].sum[:]) == 1 {
				found = &list[i]
			}
		}
	}
	if found == nil {
		return Principal{}, false
	}
	return found.principal, true
}
