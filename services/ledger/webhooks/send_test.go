package webhooks

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/egress"
)

// turning is a name that is public when it is first asked for, and then private.
type turning struct{ asked int }

func (r *turning) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	if r.asked++; r.asked == 1 {
		return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
}

func TestAReceiverWhoseNameTurnsPrivateIsNotReached(t *testing.T) {
	var dialed []string
	names := &turning{}
	if err := (egress.Policy{}).Check(t.Context(), names, "https://hooks.test/"); err != nil {
		t.Fatalf("when it is made: %v", err)
	}
	s := sender{egress.New(egress.Settings{Resolver: names, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		dialed = append(dialed, address)
		return nil, net.ErrClosed
	}})}
	a, err := s.send(t.Context(), "https://hooks.test/", nil, message{"id", nil})
	if err != nil || a.Error != "destination refused: its address is private" || a.outcome != outcomeRefused || len(dialed) > 0 {
		t.Errorf("%+v, %v, dialled %q", a, err, dialed)
	}
}

func TestOnlyAnAnswerOf2xxIsASuccessAndNoRedirectIsFollowed(t *testing.T) {
	inside := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/inside":
			inside = true
		case "/302", "/307", "/308":
			http.Redirect(w, r, "/inside", map[string]int{"/302": 302, "/307": 307, "/308": 308}[r.URL.Path])
		case "/204":
			w.WriteHeader(204)
		case "/429":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(429)
		case "/410":
			w.WriteHeader(410)
		case "/503":
			w.Header().Set("Retry-After", "soon")
			w.WriteHeader(503)
		case "/long":
			_, _ = w.Write([]byte(strings.Repeat("x", 1<<20)))
		}
	}))
	defer server.Close()
	policy, err := egress.ParsePolicy("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	s := sender{egress.New(egress.Settings{Policy: policy})}
	for path, want := range map[string]struct {
		words, outcome string
		waits          time.Duration
	}{
		"/200":  {"", outcomeOK, 0},
		"/204":  {"", outcomeOK, 0},
		"/long": {"", outcomeOK, 0},
		"/302":  {"the receiver answered 302 Found; redirects are not followed", outcomeRedirect, 0},
		"/307":  {"the receiver answered 307 Temporary Redirect; redirects are not followed", outcomeRedirect, 0},
		"/308":  {"the receiver answered 308 Permanent Redirect; redirects are not followed", outcomeRedirect, 0},
		"/429":  {"the receiver answered 429 Too Many Requests", outcomeClient, 2 * time.Minute},
		"/410":  {"the receiver answered 410 Gone", outcomeGone, 0},
		"/503":  {"the receiver answered 503 Service Unavailable", outcomeServer, 0},
	} {
		a, err := s.send(t.Context(), server.URL+path, nil, message{"id", []byte("{}")})
		if err != nil || a.Error != want.words || a.outcome != want.outcome {
			t.Errorf("%s: %+v, %v", path, a, err)
		}
		if wait := time.Until(a.retryAfter); (want.waits == 0) != a.retryAfter.IsZero() || want.waits > 0 && (wait > want.waits || wait < want.waits-10*time.Second) {
			t.Errorf("%s: it is to be asked again in %v", path, wait)
		}
		if len(a.answer) > longestExcerpt {
			t.Errorf("%s: %d bytes of the answer are kept", path, len(a.answer))
		}
	}
	if inside {
		t.Error("a redirect was followed")
	}
}

func FuzzRetryAfterIsNeverLongerThanADay(f *testing.F) {
	for _, text := range []string{"120", "Fri, 31 Dec 9999 23:59:59 GMT", "-1", "99999999999999999999", ""} {
		f.Add(text)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if at := retryAfterOf(http.Header{"Retry-After": {text}}, now); at.After(now.Add(longestWait)) {
			t.Errorf("%q is %v", text, at)
		}
	})
}
