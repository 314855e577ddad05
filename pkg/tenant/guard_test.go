package tenant

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"testing"
)

func TestTheAddressOfARequestIsTheLastThatNoTrustedProxyHas(t *testing.T) {
	proxies := []Network{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, {Prefix: netip.MustParsePrefix("2001:db8::/32")}}
	for name, test := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"a stranger is not believed":           {"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"},
		"a proxy is":                           {"10.1.1.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"what the client wrote first is not":   {"10.1.1.1:5", []string{"1.2.3.4, 198.51.100.7"}, "198.51.100.7"},
		"two proxies":                          {"10.1.1.1:5", []string{"198.51.100.7, 10.2.2.2"}, "198.51.100.7"},
		"two headers":                          {"10.1.1.1:5", []string{"1.2.3.4", "198.51.100.7,10.2.2.2"}, "198.51.100.7"},
		"a proxy that says nothing":            {"10.1.1.1:5", nil, "10.1.1.1"},
		"a proxy that passes rubbish on":       {"10.1.1.1:5", []string{"198.51.100.7, rubbish"}, "10.1.1.1"},
		"only proxies":                         {"10.1.1.1:5", []string{"10.3.3.3"}, "10.3.3.3"},
		"a proxy by IPv6":                      {"[2001:db8::1]:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"a proxy by IPv4 written as IPv6":      {"[::ffff:10.1.1.1]:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"a client by IPv4 written as IPv6":     {"10.1.1.1:5", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		"an address that is no address at all": {"@", []string{"198.51.100.7"}, "@"},
	} {
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-For": test.forwarded}}
		if got := Address(r, proxies); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// answers authenticates every token alike.
type answers struct{ err error }

func (a *answers) Authenticate(context.Context, string) (Principal, error) { return Principal{}, a.err }

func TestOnlyTokensThatAreNotValidCountAgainstAnAddress(t *testing.T) {
	c := &Config{Auth: Auth{FailuresPerAddress: 0.001}} // one, and none for long after it
	ask := func(g *Guard, token string) error {
		_, err := g.Authenticate(&http.Request{RemoteAddr: "192.0.2.1:5", Header: http.Header{"Authorization": {"Bearer " + token}}}, c)
		return err
	}
	for sentence, test := range map[string]struct {
		is     error
		limits bool
	}{
		"valid":                 {nil, false},
		"not valid":             {ErrUnauthenticated, true},
		"of an issuer not here": {ErrUnavailable, false},
	} {
		auth := &answers{}
		g := NewGuard(&Authenticator{})
		g.auth = auth
		if err := ask(g, "known"); err != nil {
			t.Fatal(err)
		}
		auth.err = test.is
		if err := ask(g, "first"); !errors.Is(err, test.is) {
			t.Errorf("%s: %v", sentence, err)
		}
		var tooOften *TooManyError
		if err := ask(g, "second"); errors.As(err, &tooOften) != test.limits {
			t.Errorf("%s, then another: %v", sentence, err)
		}
		auth.err = nil
		if err := ask(g, "known"); err != nil {
			t.Errorf("%s, then one that was valid before: %v", sentence, err)
		}
	}
	g := NewGuard(&Authenticator{})
	for _, header := range [][]string{nil, {"Basic x"}, {"Bearer a", "Bearer b"}} {
		if _, err := g.Authenticate(&http.Request{Header: http.Header{"Authorization": header}}, c); !errors.Is(err, ErrNoBearer) {
			t.Errorf("%v: %v", header, err)
		}
	}
}
