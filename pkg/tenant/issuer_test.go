package tenant

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var b64 = base64.RawURLEncoding.EncodeToString

// identityProvider is an OpenID Connect issuer with one RSA key, that can be down.
type identityProvider struct {
	*httptest.Server
	key        *rsa.PrivateKey
	down       atomic.Bool
	keysDown   atomic.Bool
	discovered atomic.Int32
}

func newIdentityProvider(t *testing.T) *identityProvider {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &identityProvider{key: key}
	routes := http.NewServeMux()
	routes.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.discovered.Add(1)
		p.answer(w, p.down.Load(), map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	})
	routes.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		jwk := map[string]string{"kty": "RSA", "kid": "k1", "alg": "RS256", "use": "sig", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
		p.answer(w, p.keysDown.Load(), map[string]any{"keys": []any{jwk}})
	})
	p.Server = httptest.NewServer(routes)
	t.Cleanup(p.Close)
	return p
}

func (p *identityProvider) answer(w http.ResponseWriter, down bool, body any) {
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

func (p *identityProvider) authenticator(t *testing.T, change ...func(*Issuer)) *Authenticator {
	t.Helper()
	o := Issuer{Issuer: p.URL, Audience: "usher"}
	for _, c := range change {
		c(&o)
	}
	a, err := NewAuthenticator(Auth{OIDC: []Issuer{o}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type claims map[string]any

// claims are those of a good token, changed.
func (p *identityProvider) claims(changes claims) claims {
	c := claims{"iss": p.URL, "aud": "usher", "sub": "desk", "exp": time.Now().Add(time.Hour).Unix(), "tenants": []string{"acme"}, "roles": []string{"channel", "pope"}}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func signed(t *testing.T, header, payload claims, sign func(input []byte) []byte) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	input := b64(h) + "." + b64(body)
	return input + "." + b64(sign([]byte(input)))
}

func rs256(t *testing.T, key *rsa.PrivateKey) func([]byte) []byte {
	return func(input []byte) []byte {
		sum := sha256.Sum256(input)
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
}

func (p *identityProvider) token(t *testing.T, changes claims) string {
	return signed(t, claims{"alg": "RS256", "kid": "k1"}, p.claims(changes), rs256(t, p.key))
}

func TestATokenOfTheIssuerStandsForItsClaims(t *testing.T) {
	p := newIdentityProvider(t)
	for sentence, a := range map[string]*Authenticator{
		"keys are discovered": p.authenticator(t),
		"keys are configured": p.authenticator(t, func(o *Issuer) { o.JWKSURL = p.URL + "/keys" }),
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := a.Authenticate(t.Context(), p.token(t, nil))
			if err != nil {
				t.Fatal(err)
			}
			if got.Subject != "desk" || !got.Allows("acme") || got.Allows("other") || !slices.Equal(got.Roles, []Role{Channel}) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestATokenThatIsNotGoodIsRefused(t *testing.T) {
	p := newIdentityProvider(t)
	a := p.authenticator(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := p.token(t, nil)
	shared := func(input []byte) []byte {
		mac := hmac.New(sha256.New, p.key.N.Bytes())
		mac.Write(input)
		return mac.Sum(nil)
	}
	for sentence, token := range map[string]string{
		"expired":                        p.token(t, claims{"exp": time.Now().Add(-time.Minute).Unix()}),
		"never expires":                  p.token(t, claims{"exp": nil}),
		"not valid yet":                  p.token(t, claims{"nbf": time.Now().Add(time.Hour).Unix()}),
		"for another audience":           p.token(t, claims{"aud": "other"}),
		"of another issuer":              p.token(t, claims{"iss": "https://other.example"}),
		"of nobody":                      p.token(t, claims{"sub": nil}),
		"with tenants that are no list":  p.token(t, claims{"tenants": "acme"}),
		"signed by a stranger":           signed(t, claims{"alg": "RS256", "kid": "k1"}, p.claims(nil), rs256(t, stranger)),
		"signed by an unknown key":       signed(t, claims{"alg": "RS256", "kid": "k9"}, p.claims(nil), rs256(t, stranger)),
		"signed with the public key":     signed(t, claims{"alg": "HS256", "kid": "k1"}, p.claims(nil), shared),
		"not signed":                     signed(t, claims{"alg": "none"}, p.claims(nil), func([]byte) []byte { return nil }),
		"with its signature cut":         good[:strings.LastIndex(good, ".")+1],
		"with its claims of other token": strings.Join([]string{strings.Split(good, ".")[0], strings.Split(p.token(t, claims{"sub": "root"}), ".")[1], strings.Split(good, ".")[2]}, "."),
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := a.Authenticate(t.Context(), token)
			if !errors.Is(err, ErrUnauthenticated) || got.Subject != "" {
				t.Errorf("got %+v, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Error("the error repeats the token")
			}
		})
	}
	if p, err := a.Authenticate(t.Context(), good); err != nil || p.Subject != "desk" {
		t.Errorf("the good token: %+v, %v", p, err)
	}
}

func TestAnIssuerThatIsDownIsNoVerdictAndIsAskedAgain(t *testing.T) {
	for sentence, part := range map[string]func(*identityProvider) *atomic.Bool{
		"its discovery is down": func(p *identityProvider) *atomic.Bool { return &p.down },
		"its keys are down":     func(p *identityProvider) *atomic.Bool { return &p.keysDown },
	} {
		t.Run(sentence, func(t *testing.T) {
			p := newIdentityProvider(t)
			a := p.authenticator(t)
			part(p).Store(true)
			_, err := a.Authenticate(t.Context(), p.token(t, nil))
			if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnauthenticated) {
				t.Errorf("while down: %v", err)
			}
			if _, err := a.Authenticate(t.Context(), "rubbish"); !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("rubbish while down: %v", err)
			}
			part(p).Store(false)
			if _, err := a.Authenticate(t.Context(), p.token(t, nil)); err != nil {
				t.Errorf("once up: %v", err)
			}
		})
	}
}

func TestAnIssuerIsDiscoveredWithItsFirstTokenAndThenNoMore(t *testing.T) {
	p := newIdentityProvider(t)
	a := p.authenticator(t)
	if _, err := a.Authenticate(t.Context(), "e30."+b64([]byte(`{"iss":"https://other.example"}`))+".e30"); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("another issuer's token: %v", err)
	}
	if n := p.discovered.Load(); n != 0 {
		t.Errorf("discovered %d times before its first token", n)
	}
	token := p.token(t, nil)
	if _, err := a.Authenticate(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if _, err := a.Authenticate(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := p.discovered.Load(); n != 1 {
		t.Errorf("discovered %d times", n)
	}
}

func TestAnIssuerThatStaysKeepsItsKeysWhenOthersAreReplaced(t *testing.T) {
	p := newIdentityProvider(t)
	a := p.authenticator(t)
	bearer := p.token(t, nil)
	if _, err := a.Authenticate(t.Context(), bearer); err != nil {
		t.Fatal(err)
	}
	same := Issuer{Issuer: p.URL, Audience: "usher"}
	if err := a.Replace(Auth{OIDC: []Issuer{same, {Issuer: "https://other.example", Audience: "usher"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), bearer); err != nil || p.discovered.Load() != 1 {
		t.Errorf("after %d discoveries: %v", p.discovered.Load(), err)
	}
	same.Audience = "another"
	if err := a.Replace(Auth{OIDC: []Issuer{same}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), bearer); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("a token of another audience: %v", err)
	}
}
