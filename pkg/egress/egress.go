// Package egress makes HTTP requests to addresses that somebody else has chosen, such as the
// receivers of webhooks. Where a request may go is decided by the address that is dialled, after
// names are resolved, so that no name leads to a network that only we can reach.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// Resolver finds the addresses of a name; net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Settings of a client. The zero value reaches public addresses by https.
type Settings struct {
	Policy Policy
	// Timeout is of a whole request, the reading of its answer included; default 10 s.
	Timeout time.Duration
	// MaxBody bounds what is read of an answer's body, in bytes: then ErrBodyTooLong. Default 64 KiB.
	MaxBody int64
	// TLS trusts other roots; nil for those of the system. It is not changed.
	TLS *tls.Config
	// Resolver and Dial are for tests: nil for those of the system. Dial is only given addresses
	// that may be reached, never names.
	Resolver Resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	usualTimeout = 10 * time.Second
	usualBody    = 64 << 10
	dialTimeout  = 5 * time.Second // of each address
	headerBytes  = 32 << 10
	idleConns    = 256
	idleTime     = 30 * time.Second
)

// New returns a client that follows no redirect, uses no proxy of the environment, keeps no
// cookies, asks for no compression and speaks HTTP/1.1. A redirect is an answer like any other. The
// errors of its Do name the whole URL: hand on Words of them instead. Safe for concurrent use.
func New(s Settings) *http.Client {
	if s.Timeout == 0 {
		s.Timeout = usualTimeout
	}
	if s.MaxBody == 0 {
		s.MaxBody = usualBody
	}
	if s.Resolver == nil {
		s.Resolver = net.DefaultResolver
	}
	if s.Dial == nil {
		s.Dial = (&net.Dialer{}).DialContext
	}
	return &http.Client{
		Transport:     &transport{policy: s.Policy, most: s.MaxBody, https: s.transport(false), http: s.transport(true)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       s.Timeout,
	}
}

// transport returns one for https, or for plain http.
func (s Settings) transport(plain bool) *http.Transport {
	d := &dialer{policy: s.Policy, plain: plain, resolver: s.Resolver, connect: s.Dial}
	return &http.Transport{
		DialContext:            d.dial,
		TLSClientConfig:        s.TLS.Clone(),
		TLSHandshakeTimeout:    dialTimeout,
		DisableCompression:     true, // a small body cannot become a large one
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: headerBytes,
	}
}

// transport sends a request by the transport of its scheme.
type transport struct {
	policy      Policy
	most        int64
	https, http *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkForm(r.URL); err != nil {
		closeBody(r)
		return nil, err
	}
	by := t.https
	if r.URL.Scheme == "http" {
		by = t.http
	}
	response, err := by.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = &bounded{ReadCloser: response.Body, left: t.most}
	return response, nil
}

// CloseIdleConnections is called by http.Client.
func (t *transport) CloseIdleConnections() {
	t.https.CloseIdleConnections()
	t.http.CloseIdleConnections()
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// dialer connects to what the policy admits.
type dialer struct {
	policy   Policy
	plain    bool // without TLS
	resolver Resolver
	connect  func(ctx context.Context, network, address string) (net.Conn, error)
}

// dial resolves a name once and connects to one of the addresses it found: there is no second
// look-up that could answer differently.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	found, err := lookUp(ctx, d.resolver, host)
	if err != nil {
		return nil, err
	}
	admitted, refused := d.policy.filter(host, port, d.plain, found)
	if len(admitted) == 0 {
		return nil, refused
	}
	var problems []error
	for _, to := range admitted {
		conn, err := d.connectTo(ctx, network, netip.AddrPortFrom(to, port))
		if err == nil {
			return conn, nil
		}
		problems = append(problems, err)
	}
	return nil, errors.Join(problems...)
}

func (d *dialer) connectTo(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return d.connect(ctx, network, to.String())
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("split address: %w", err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, &RefusedError{Reason: "the port is not a number from 1 to 65535"}
	}
	return host, uint16(n), nil
}

// lookUp returns what a name resolves to, each IPv4 address in its own form.
func lookUp(ctx context.Context, by Resolver, host string) ([]netip.Addr, error) {
	if literal, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{literal.Unmap()}, nil
	}
	found, err := by.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolve name: %w", err)
	}
	for i, a := range found {
		found[i] = a.Unmap()
	}
	return found, nil
}
