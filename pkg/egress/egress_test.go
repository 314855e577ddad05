package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// names answers each look-up of a name with the next of its answers, the last of them again and again.
type names struct {
	mu  sync.Mutex
	are map[string][][]string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	answers, known := n.are[host]
	if !known {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n.are[host] = answers[1:]
	}
	var found []netip.Addr
	for _, a := range answers[0] {
		found = append(found, netip.MustParseAddr(a))
	}
	return found, nil
}

// outside is the internet of a test: whatever is dialled, the server answers.
type outside struct {
	mu     sync.Mutex
	server string
	dialed []string
}

func (o *outside) dial(ctx context.Context, network, address string) (net.Conn, error) {
	o.mu.Lock()
	o.dialed = append(o.dialed, address)
	o.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, o.server)
}

// world returns a client whose names are those given, the server that answers at every address
// it reaches, and what it has dialled. httptest's certificate is for example.com.
func world(t *testing.T, policy string, are map[string][][]string, handler http.HandlerFunc) (*http.Client, *outside) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	o := &outside{server: server.Listener.Addr().String()}
	p, err := ParsePolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	client := New(Settings{Policy: p, TLS: &tls.Config{RootCAs: roots}, Resolver: &names{are: are}, Dial: o.dial, MaxBody: 10})
	t.Cleanup(client.CloseIdleConnections)
	return client, o
}

func fine(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }

func TestANameThatTurnsPrivateAfterItWasCheckedIsNotReached(t *testing.T) {
	for _, inside := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"} {
		t.Run(inside, func(t *testing.T) {
			client, o := world(t, "", map[string][][]string{"example.com": {{"93.184.215.14"}, {inside}}}, fine)
			first, err := client.Get("https://example.com/")
			if err != nil {
				t.Fatal(err)
			}
			first.Body.Close()
			client.CloseIdleConnections()
			second, err := client.Get("https://example.com/")
			if err == nil {
				second.Body.Close()
			}
			var refused *RefusedError
			if !errors.As(err, &refused) || len(o.dialed) != 1 || o.dialed[0] != "93.184.215.14:443" {
				t.Errorf("got %v after dialling %q", err, o.dialed)
			}
		})
	}
}

func TestANameIsResolvedOnceForAConnection(t *testing.T) {
	client, o := world(t, "", map[string][][]string{"example.com": {{"93.184.215.14"}, {"127.0.0.1"}}}, fine)
	for range 2 { // the second goes by the connection of the first
		response, err := client.Get("https://example.com/")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if len(o.dialed) != 1 {
		t.Errorf("dialled %q", o.dialed)
	}
}

func TestOfSeveralAddressesOnlyThePublicAreDialled(t *testing.T) {
	client, o := world(t, "", map[string][][]string{"example.com": {{"10.0.0.1", "93.184.215.14"}}}, fine)
	response, err := client.Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if len(o.dialed) != 1 || o.dialed[0] != "93.184.215.14:443" {
		t.Errorf("dialled %q", o.dialed)
	}
}

func TestARedirectIsAnAnswerAndNotFollowed(t *testing.T) {
	for _, to := range []string{"https://example.com/other", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"} {
		asked := 0
		client, _ := world(t, "", map[string][][]string{"example.com": {{"93.184.215.14"}}}, func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		})
		response, err := client.Post("https://example.com/", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusTemporaryRedirect || asked != 1 {
			t.Errorf("to %s: %d after %d requests", to, response.StatusCode, asked)
		}
	}
}

func TestTheProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	client := New(Settings{})
	for _, by := range []*http.Transport{client.Transport.(*transport).https, client.Transport.(*transport).http} {
		if by.Proxy != nil {
			t.Error("a transport asks for a proxy")
		}
	}
}

func TestAnAnswerIsReadUpToItsBound(t *testing.T) {
	for body, want := range map[string]error{"": nil, "ten bytes.": nil, "eleven byte": ErrBodyTooLong, strings.Repeat("x", 1<<20): ErrBodyTooLong} {
		client, _ := world(t, "", map[string][][]string{"example.com": {{"93.184.215.14"}}}, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body)
		})
		response, err := client.Get("https://example.com/")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(response.Body)
		response.Body.Close()
		if !errors.Is(err, want) || string(raw) != body[:min(len(body), 10)] {
			t.Errorf("%d bytes: read %q, %v", len(body), raw, err)
		}
	}
}

func TestACompressedAnswerStaysCompressed(t *testing.T) {
	client, _ := world(t, "", map[string][][]string{"example.com": {{"93.184.215.14"}}}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("asked for compression")
		}
		fine(w, r)
	})
	response, err := client.Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

func TestAReceiverThatHangsCostsTheTimeoutAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		policy, _ := ParsePolicy("127.0.0.1")
		client := New(Settings{Policy: policy, Timeout: 3 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil }})
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		begun := time.Now()
		response, err := client.Get("http://127.0.0.1/")
		if err == nil {
			response.Body.Close()
		}
		if Words(err) != "no answer in time" || time.Since(begun) != 3*time.Second {
			t.Errorf("%q after %v", Words(err), time.Since(begun))
		}
	})
}

func TestWordsTellTheCauseWithoutTheURL(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	closed.Close()
	client, _ := world(t, "", map[string][][]string{
		"example.com": {{"93.184.215.14"}}, "other.test": {{"93.184.215.14"}}, "private.test": {{"192.168.1.1"}},
	}, fine)
	down, _ := world(t, "", map[string][][]string{"example.com": {{"93.184.215.14"}}}, fine)
	down.Transport.(*transport).https.DialContext = (&dialer{
		resolver: &names{are: map[string][][]string{"example.com": {{"93.184.215.14"}}}},
		connect: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}).dial
	for name, test := range map[string]struct {
		by        *http.Client
		url, want string
	}{
		"a name that is not":      {client, "https://nowhere.test/?secret=1", "the host's name does not exist"},
		"a private address":       {client, "https://private.test/?secret=1", "destination refused: its address is private"},
		"another's certificate":   {client, "https://other.test/?secret=1", "the host's certificate is not trusted"},
		"nobody listens":          {down, "https://example.com/?secret=1", "the connection was refused"},
		"a scheme that is no web": {client, "ftp://example.com/?secret=1", "destination refused: the scheme is not https"},
	} {
		response, err := test.by.Get(test.url)
		if err == nil {
			response.Body.Close()
		}
		if got := Words(err); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestTheBodyOfARefusedRequestIsClosed(t *testing.T) {
	body := &closing{Reader: bytes.NewReader(nil)}
	r, _ := http.NewRequest(http.MethodPost, "ftp://example.com/", body)
	response, err := New(Settings{}).Transport.RoundTrip(r)
	if err == nil {
		response.Body.Close()
	}
	if err == nil || !body.closed {
		t.Errorf("%v, closed %v", err, body.closed)
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }
