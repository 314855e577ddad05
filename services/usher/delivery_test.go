package usher

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// texts is a gateway of text messages that knows nobody while it is told so.
type texts struct {
	verify *standardwebhooks.Webhook

	mu          sync.Mutex
	knowsNobody bool
	taken       []map[string]any
	problems    []error
}

func (g *texts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = g.verify.Verify(body, r.Header)
	}
	var m map[string]any
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		g.problems = append(g.problems, err)
	}
	if g.knowsNobody {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	g.taken = append(g.taken, m)
}

func (g *texts) knows(somebody bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.knowsNobody = !somebody
}

func (g *texts) messages() []map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken
}

func TestCodesReachApplicantsByATenantsWebhook(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	verify, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	g := &texts{verify: verify, knowsNobody: true}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("USHER_EGRESS_ALLOW", "127.0.0.1")
	d := startDevWith(t, fmt.Sprintf("    activation: {resendCooldown: 0s}\n    delivery: {by: webhook, url: %q, secretFile: %q}\n", server.URL, file))

	id := d.registerKnown().json(t)["id"].(string)
	d.reaches(cloudVault, id, "ACTIVATION_FAILED")
	var failed []listed
	d.eventually(waitLong, "the ledger knows why", func() bool {
		failed = d.listMails("/v1/mails?state=FAILED&code=HTTP_422", cloudVault)
		return len(failed) == 1
	})
	if failed[0].Registration != id || failed[0].Answer != "HTTP 422" {
		t.Errorf("the ledger has %+v", failed[0])
	}
	g.knows(true)
	if a := d.resend(id); a.status != http.StatusAccepted {
		t.Fatalf("a resend answers %d %s", a.status, a.body)
	}
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	messages := g.messages()
	if len(messages) != 1 || messages[0]["registration"] != id || messages[0]["to"].(map[string]any)["phone"] != known[4] || len(g.problems) > 0 {
		t.Fatalf("%d messages, not verified: %v", len(messages), g.problems)
	}
	if a := d.present(cloudVault, id, messages[0]["code"].(string)); a.status != http.StatusOK {
		t.Errorf("its code answers %d %s", a.status, a.body)
	}
	if mails := d.mails(known[2]); len(mails) != 0 {
		t.Errorf("%d mails were sent beside", len(mails))
	}
}
