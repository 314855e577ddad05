package mail

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/egress"
	"github.com/usherhq/usher/pkg/tenant"
)

const gatewaySecret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // 24 bytes in base64

// gateway is a receiver that answers what it is told to.
type gateway struct {
	status   int
	header   http.Header
	requests []*http.Request
	bodies   [][]byte
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.requests, g.bodies = append(g.requests, r), append(g.bodies, body)
	for name, values := range g.header {
		w.Header()[name] = values
	}
	w.WriteHeader(g.status)
}

// start returns the sender, which may reach the gateway, and a letter for it.
func (g *gateway) start(t *testing.T, signature string) (*Webhooks, Letter) {
	t.Helper()
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("whsec_"+gatewaySecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	policy, err := egress.ParsePolicy("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return NewWebhooks(policy), Letter{
		Kind: Activation, TenantID: "acme", Tenant: "Acme", Registration: "r1", To: "zoe@example.com", Phone: "+37061234567", Name: "Zoë", Language: "en",
		Code: "ABCDEFGHIJKL2345", Link: "https://usher.example/activate/acme/r1#ABCDEFGHIJKL2345", ValidFor: time.Hour, MessageID: "r1.created@usher",
		Webhook: &tenant.Delivery{By: tenant.ByWebhook, URL: server.URL + "/sms", SecretFile: secret, Signature: signature, Header: "X-Signature"},
	}
}

func hmacOf(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func TestAWebhookGetsTheCodeSignedAndTheSameEachTime(t *testing.T) {
	g := &gateway{status: http.StatusNoContent}
	s, l := g.start(t, tenant.StandardWebhooks)
	for range 2 {
		if err := s.Send(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	var m Message
	if err := json.Unmarshal(g.bodies[0], &m); err != nil || string(g.bodies[0]) != string(g.bodies[1]) {
		t.Fatalf("%v, or the second differs from the first", err)
	}
	if m.ID != l.MessageID || m.Code != l.Code || m.Link != l.Link || m.To != (Addressee{l.To, l.Phone, l.Name}) || m.ValidSeconds != 3600 || m.Registration != "r1" || m.Tenant != "acme" || !strings.Contains(m.Text, l.Code) {
		t.Errorf("got %s", g.bodies[0])
	}
	key, _ := base64.StdEncoding.DecodeString(gatewaySecret)
	for i, r := range g.requests {
		id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
		want := "v1," + base64.StdEncoding.EncodeToString(hmacOf(key, id+"."+at+"."+string(g.bodies[i])))
		seconds, err := strconv.ParseInt(at, 10, 64)
		if r.Header.Get("webhook-signature") != want || id != l.MessageID || err != nil || time.Since(time.Unix(seconds, 0)) > time.Minute || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("request %d has id %q, time %q", i, id, at)
		}
	}
}

func TestAWebhookOfAnotherSignatureGetsThatOfTheBody(t *testing.T) {
	g := &gateway{status: http.StatusOK}
	s, l := g.start(t, tenant.HMACSHA256)
	if err := s.Send(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	want := "sha256=" + hex.EncodeToString(hmacOf([]byte("whsec_"+gatewaySecret), string(g.bodies[0])))
	if got := g.requests[0].Header.Get("X-Signature"); got != want {
		t.Errorf("got %q", got)
	}
}

func TestWhatAWebhookAnswersIsFinalOnlyWhereItIsOfTheAddressee(t *testing.T) {
	type verdict struct {
		final  bool
		answer string
		after  time.Duration
	}
	for sentence, row := range map[string]struct {
		status int
		header http.Header
		want   verdict
	}{
		"a number that is none":                {http.StatusUnprocessableEntity, nil, verdict{true, "HTTP 422", 0}},
		"an ingress without a route just now":  {http.StatusNotFound, nil, verdict{false, "HTTP 404", 0}},
		"a receiver that has moved":            {http.StatusGone, nil, verdict{false, "HTTP 410", 0}},
		"a request that is not understood":     {http.StatusBadRequest, nil, verdict{true, "HTTP 400", 0}},
		"a secret that is not the right one":   {http.StatusUnauthorized, nil, verdict{false, "HTTP 401", 0}},
		"a contract that has ended":            {http.StatusForbidden, nil, verdict{false, "HTTP 403", 0}},
		"too many messages":                    {http.StatusTooManyRequests, http.Header{"Retry-After": {"120"}}, verdict{false, "HTTP 429", 2 * time.Minute}},
		"an outage":                            {http.StatusServiceUnavailable, http.Header{"Retry-After": {"soon"}}, verdict{false, "HTTP 503", 0}},
		"a redirect, which nobody follows":     {http.StatusFound, http.Header{"Location": {"http://127.0.0.1:1/"}}, verdict{false, "HTTP 302", 0}},
		"a time to come back, which is behind": {http.StatusServiceUnavailable, http.Header{"Retry-After": {"Wed, 21 Oct 2015 07:28:00 GMT"}}, verdict{false, "HTTP 503", 0}},
	} {
		t.Run(sentence, func(t *testing.T) {
			g := &gateway{status: row.status, header: row.header}
			s, l := g.start(t, tenant.StandardWebhooks)
			err := s.Send(t.Context(), l)
			var (
				got       verdict
				permanent *PermanentError
				notTaken  *NotTakenError
			)
			switch {
			case errors.As(err, &permanent):
				got = verdict{true, permanent.Answer(), 0}
				if permanent.Reason() != "HTTP_"+strconv.Itoa(row.status) {
					t.Errorf("the reason is %s", permanent.Reason())
				}
			case errors.As(err, &notTaken) && errors.Is(err, ErrTemporary):
				got = verdict{false, notTaken.Answer(), notTaken.After}
			}
			if got != row.want || len(g.requests) != 1 {
				t.Errorf("got %+v by %d requests (%v)", got, len(g.requests), err)
			}
		})
	}
}

func TestWhatKeepsAWebhookFromBeingAskedIsTemporaryAndTellsNothing(t *testing.T) {
	for sentence, change := range map[string]func(s *Webhooks, l *Letter){
		"an address that only we can reach": func(s *Webhooks, _ *Letter) { s.client = egress.New(egress.Settings{}) },
		"nobody listens":                    func(_ *Webhooks, l *Letter) { l.Webhook.URL = "http://127.0.0.1:1/sms?key=hidden" },
		"a secret that is not there":        func(_ *Webhooks, l *Letter) { l.Webhook.SecretFile += "-gone" },
		"a secret that is too short":        func(_ *Webhooks, l *Letter) { _ = os.WriteFile(l.Webhook.SecretFile, []byte("c2hvcnQ="), 0o600) },
		"a secret that is no base64":        func(_ *Webhooks, l *Letter) { _ = os.WriteFile(l.Webhook.SecretFile, []byte("%%%"), 0o600) },
		"a secret that is too short for all": func(_ *Webhooks, l *Letter) {
			l.Webhook.Signature = tenant.HMACSHA256
			_ = os.WriteFile(l.Webhook.SecretFile, []byte("short"), 0o600)
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			g := &gateway{status: http.StatusOK}
			s, l := g.start(t, tenant.StandardWebhooks)
			change(s, &l)
			err := s.Send(t.Context(), l)
			if !errors.Is(err, ErrTemporary) || len(g.requests) != 0 {
				t.Fatalf("got %v by %d requests", err, len(g.requests))
			}
			for _, private := range []string{"hidden", l.To, l.Phone, l.Code, gatewaySecret} {
				if strings.Contains(err.Error(), private) {
					t.Errorf("the error tells %q", private)
				}
			}
		})
	}
}
