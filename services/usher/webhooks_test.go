package usher

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// posted is a delivery as its receiver got it.
type posted struct {
	header http.Header
	body   []byte
}

// inbox is a receiver of webhooks that takes everything.
type inbox struct {
	*httptest.Server
	mu  sync.Mutex
	got []posted
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	i := &inbox{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.got = append(i.got, posted{r.Header.Clone(), body})
		_, _ = io.WriteString(w, "thank you")
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *inbox) all() []posted {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.got)
}

// id is that of the CloudEvent within.
func (s posted) id(t *testing.T) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(s.body))
	r.Header = s.header
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		t.Fatalf("the SDK does not parse %s: %v", s.body, err)
	}
	if err := e.Validate(); err != nil {
		t.Fatalf("the SDK refuses %s: %v", s.body, err)
	}
	return e.ID()
}

// hooked makes a webhook and returns its id and what verifies it.
func (d *desk) hooked(who, members string) (id, verifies string) {
	d.t.Helper()
	a := d.as(who, "POST", "/v1/webhooks", members)
	var made struct {
		ID      string
		Secrets []struct{ Secret, PublicKey string }
	}
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != http.StatusCreated {
		d.t.Fatalf("webhook not made: %d %s", a.status, a.body)
	}
	return made.ID, made.Secrets[0].Secret + made.Secrets[0].PublicKey
}

func TestEveryDeliveryIsVerifiedByOthersAndIsTheEventOfTheFeed(t *testing.T) {
	d := startDesk(t, "")
	ours, theirs := newInbox(t), newInbox(t)
	id, secret := d.hooked("olga", fmt.Sprintf(`{"url":%q,"ordered":true,"after":""}`, ours.URL))
	_, public := d.hooked("olga", fmt.Sprintf(`{"url":%q,"algorithm":"v1a","after":"","types":["account.created"]}`, theirs.URL))
	for i := range 3 {
		d.register(nativeBody(fmt.Sprintf("hook.%d@example.com", i)))
	}
	feed := func() (ids []string) {
		var page []struct{ ID string }
		if err := json.Unmarshal(d.as("carl", "GET", "/v1/events?limit=1000", "").body, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			ids = append(ids, e.ID)
		}
		return ids
	}
	d.eventually(waitLong, "three accounts were told", func() bool { return len(theirs.all()) == 3 })
	d.eventually(waitLong, "all of the feed was sent", func() bool { return len(ours.all()) >= len(feed()) && len(ours.all()) > 12 })

	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, got := range ours.all() {
		ids = append(ids, got.id(t))
		if err := verifier.Verify(got.body, got.header); err != nil {
			t.Errorf("a delivery is refused: %v", err)
		}
		refused(t, verifier, got)
	}
	if all := feed(); !slices.Equal(ids[:min(len(ids), len(all))], all[:min(len(ids), len(all))]) {
		t.Errorf("sent were %q, the feed has %q", ids, all)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range theirs.all() {
		signature, found := strings.CutPrefix(got.header.Get("webhook-signature"), "v1a,")
		raw, err := base64.StdEncoding.DecodeString(signature)
		signed := got.header.Get("webhook-id") + "." + got.header.Get("webhook-timestamp") + "." + string(got.body)
		if !found || err != nil || !ed25519.Verify(key, []byte(signed), raw) {
			t.Errorf("the signature %q does not verify", got.header.Get("webhook-signature"))
		}
	}
	rotated(t, d, ours, id, verifier)
}

// refused checks that nothing of a delivery can be altered.
func refused(t *testing.T, by *standardwebhooks.Webhook, got posted) {
	t.Helper()
	for what, alter := range map[string]func(h http.Header, body []byte){
		"body":      func(_ http.Header, body []byte) { body[len(body)/2] ^= 1 },
		"id":        func(h http.Header, _ []byte) { h.Set("webhook-id", h.Get("webhook-id")+"x") },
		"timestamp": func(h http.Header, _ []byte) { h.Set("webhook-timestamp", h.Get("webhook-timestamp")[:9]+"x") },
		"second": func(h http.Header, _ []byte) {
			last := h.Get("webhook-timestamp")
			h.Set("webhook-timestamp", last[:9]+string('0'+('9'-last[9])%10))
		},
	} {
		header, body := got.header.Clone(), bytes.Clone(got.body)
		if alter(header, body); by.Verify(body, header) == nil && header.Get("webhook-timestamp")+header.Get("webhook-id")+string(body) != got.header.Get("webhook-timestamp")+got.header.Get("webhook-id")+string(got.body) {
			t.Errorf("an altered %s is accepted", what)
		}
	}
}

// rotated checks that what is sent after a rotation verifies with either secret, that a probe does
// too, and what the log says.
func rotated(t *testing.T, d *desk, to *inbox, id string, old *standardwebhooks.Webhook) {
	t.Helper()
	var made struct{ Secret string }
	if a := d.as("olga", "POST", "/v1/webhooks/"+id+"/secrets", `{}`); json.Unmarshal(a.body, &made) != nil {
		t.Fatalf("rotated: %d %s", a.status, a.body)
	}
	fresh, err := standardwebhooks.NewWebhook(made.Secret)
	if err != nil {
		t.Fatal(err)
	}
	var probe struct {
		Delivered bool
		Answer    string
		WebhookID string
	}
	if a := d.as("olga", "POST", "/v1/webhooks/"+id+"/probe", ""); json.Unmarshal(a.body, &probe) != nil || !probe.Delivered || probe.Answer != "thank you" {
		t.Fatalf("probed: %d %s", a.status, a.body)
	}
	all := to.all()
	i := slices.IndexFunc(all, func(s posted) bool { return s.header.Get("webhook-id") == probe.WebhookID })
	if i < 0 || all[i].id(t) == "" || old.Verify(all[i].body, all[i].header) != nil || fresh.Verify(all[i].body, all[i].header) != nil {
		t.Errorf("the probe does not verify with both secrets")
	}
	var log struct {
		Deliveries []struct {
			Event, WebhookID, State string
			Attempts                []struct{ Status int }
		}
	}
	if a := d.as("olga", "GET", "/v1/webhooks/"+id+"/deliveries?limit=500", ""); json.Unmarshal(a.body, &log) != nil || len(log.Deliveries) < 12 {
		t.Fatalf("the log: %d %s", a.status, a.body)
	}
	for _, l := range log.Deliveries {
		if l.State != "delivered" || len(l.Attempts) != 1 || l.Attempts[0].Status != http.StatusOK {
			t.Errorf("the log has %+v", l)
		}
	}
	event := log.Deliveries[len(log.Deliveries)-1]
	if a := d.as("olga", "POST", "/v1/webhooks/"+id+"/replay", fmt.Sprintf(`{"event":%q}`, event.Event)); a.status != http.StatusAccepted {
		t.Fatalf("replayed: %d %s", a.status, a.body)
	}
	d.eventually(waitLong, "it was sent again under the same id", func() bool {
		n := 0
		for _, got := range to.all() {
			if got.header.Get("webhook-id") == event.WebhookID {
				n++
			}
		}
		return n == 2
	})
	for _, call := range [][3]string{
		{"GET", "", ""}, {"GET", "/" + id, ""}, {"PATCH", "/" + id, `{"state":"paused"}`}, {"POST", "/" + id + "/replay", `{"since":"2030-01-01T00:00:00Z"}`},
	} {
		if a := d.as("olga", call[0], "/v1/webhooks"+call[1], call[2]); a.status >= 300 {
			t.Errorf("%s %s: %d %s", call[0], call[1], a.status, a.body)
		}
	}
	metrics := string(d.do("GET", d.ledger("/metrics"), "", nil).body)
	if !strings.Contains(metrics, `usher_webhook_attempts_total{`) || !strings.Contains(metrics, `outcome="delivered"`) || strings.Contains(metrics, to.URL[len("http://"):]) {
		t.Error("the metrics do not count deliveries, or name a URL")
	}
}
