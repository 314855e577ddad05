package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/native"
)

// reload changes the configuration file and waits until it is in force.
func (w *world) reload(edit ...string) *tenant.Config {
	w.t.Helper()
	raw, err := os.ReadFile(w.file)
	if err != nil {
		w.t.Fatal(err)
	}
	changed := []byte(strings.NewReplacer(edit...).Replace(string(raw)))
	if string(changed) == string(raw) {
		w.t.Fatalf("nothing of %v is in the file", edit)
	}
	if err := os.WriteFile(w.file, changed, 0o600); err != nil {
		w.t.Fatal(err)
	}
	live := w.gateway.env.Config
	w.eventually("the changed file is in force", func() bool { return live.Current().Version == tenant.VersionOf(changed) })
	return live.Current()
}

const sender = "    mail: {from: no-reply@cloudvault.example}"

func TestARequestIsAnsweredUnderTheVersionOfItsArrival(t *testing.T) {
	first, second := tenant.Demo(), tenant.Demo()
	live := tenant.NewLive(first)
	handler := pinned(live, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if before := configOf(r); before != first {
			t.Error("it did not begin under the version in force")
		}
		live.Replace(second)
		if configOf(r) != first {
			t.Error("the version changed under it")
		}
	}))
	handler.ServeHTTP(nil, httptest.NewRequest("GET", "/", nil))
}

func TestAReceiptRecordsTheVersionInForce(t *testing.T) {
	w := newWorld(t)
	b := w.bus(events.Ledger)
	demo := func() *tenant.Config { return w.gateway.env.Config.Current() }
	changed := func() *tenant.Config { return w.reload("name: CloudVault", "name: CloudAttic") }
	for _, in := range []func() *tenant.Config{demo, changed} {
		c := in()
		a := w.do("POST", "/v1/registrations", person("v@example.com"))
		history, err := b.History(t.Context(), cloudVault, a.field("id"))
		if err != nil || len(history) != 1 {
			t.Fatal(a.status, history, err)
		}
		if got := events.Fold(history).Carried.Config; got != c.Version {
			t.Errorf("recorded %s, in force was %s", got, c.Version)
		}
	}
}

func TestLimitsFollowTheFile(t *testing.T) {
	w := newWorld(t)
	register := func(email string) int { return w.do("POST", "/v1/registrations", person(email)).status }
	if got := register("a@example.com"); got != http.StatusAccepted {
		t.Fatalf("without limits: %d", got)
	}
	w.reload(sender, "    limits: {maxUnfinished: 2}\n"+sender)
	w.eventually("a cap that comes later holds", func() bool {
		return w.gateway.intake.open.backlog(cloudVault) != nil && register("b@example.com") == http.StatusTooManyRequests
	})
	if a := w.do("GET", "/readyz", nil); a.status != http.StatusOK {
		t.Errorf("with the cap: %d %s", a.status, a.body)
	}
	w.reload("limits: {maxUnfinished: 2}", "limits: {maxUnfinished: 50, perTenant: 1}")
	w.eventually("a rate limit holds", func() bool {
		return w.do("GET", "/v1/registrations/none", nil).status == http.StatusTooManyRequests
	})
	w.reload("    limits: {maxUnfinished: 50, perTenant: 1}\n", "")
	for range 5 {
		if got := register("c@example.com"); got != http.StatusAccepted {
			t.Errorf("with the limits gone: %d", got)
		}
	}
}

// batchUnderWay opens a batch and returns the result of its first line. last sends another line and
// returns its result.
func (w *world) batchUnderWay(token string) (stored native.Result, last func() (native.Result, error)) {
	w.t.Helper()
	body, send := io.Pipe()
	request, err := http.NewRequestWithContext(w.t.Context(), "POST", w.url+"/v1/registrations:batch", body)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + token, "X-Tenant-ID": cloudVault, "Content-Type": "application/x-ndjson"} {
		request.Header.Set(name, value)
	}
	go func() { _, _ = io.WriteString(send, batchLineOf("a@example.com", "a")+"\n") }()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { response.Body.Close() })
	lines := json.NewDecoder(response.Body)
	if err := lines.Decode(&stored); err != nil || stored.ID == "" {
		w.t.Fatal(stored, err)
	}
	return stored, func() (result native.Result, err error) {
		go func() { _, _ = io.WriteString(send, batchLineOf("b@example.com", "b")+"\n"); send.Close() }()
		err = lines.Decode(&result)
		return result, err
	}
}

func TestATenantIsDisabledAtOnceAlsoForABatchUnderWay(t *testing.T) {
	w := newWorld(t)
	stored, last := w.batchUnderWay("admin")
	w.reload("    name: CloudVault\n", "    name: CloudVault\n    disabled: true\n")
	if refused, err := last(); err != nil || refused.Problem == nil || refused.Problem.Status != http.StatusForbidden {
		t.Errorf("the line after: %+v, %v", refused, err)
	}
	if a := w.do("POST", "/v1/registrations", person("c@example.com")); a.status != http.StatusForbidden {
		t.Errorf("a request after: %d", a.status)
	}
	if a := w.do("GET", "/v1/registrations/"+stored.ID, nil); a.status != http.StatusOK {
		t.Errorf("what is open is told of with %d", a.status)
	}
}

func TestATokenThatIsTakenBackIsRefusedAtOnce(t *testing.T) {
	const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" // of "test"
	w := newWorld(t, "\nauth:\n", "\nauth:\n  tokens:\n    - {sha256: "+hash+", subject: desk, tenants: [\"*\"], roles: [channel]}\n")
	ask := func() int {
		return w.do("POST", "/v1/registrations", person("t@example.com"), "Authorization", "Bearer test").status
	}
	if got := ask(); got != http.StatusAccepted {
		t.Fatalf("the token answers %d", got)
	}
	_, last := w.batchUnderWay("test")
	w.reload("subject: desk", "subject: branch", hash, strings.Repeat("f", 64))
	if got := ask(); got != http.StatusUnauthorized {
		t.Errorf("taken back it answers %d", got)
	}
	if refused, err := last(); err != nil || refused.Problem == nil || refused.Problem.Status != http.StatusUnauthorized {
		t.Errorf("the line after of a batch under way: %+v, %v", refused, err)
	}
}

func TestARequestThatIsStillBeingSentIsNotTakenForATenantThatWasDisabled(t *testing.T) {
	w := newWorld(t)
	body, send := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/v1/registrations", body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer admin", "X-Tenant-ID": cloudVault, "Content-Type": "application/json", "Expect": "100-continue"} {
		request.Header.Set(name, value)
	}
	whole := person("slow@example.com")
	answers := make(chan int, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Error(err)
			answers <- 0
			return
		}
		response.Body.Close()
		answers <- response.StatusCode
	}()
	if _, err := send.Write(whole[:20]); err != nil { // the server asks for the body once it has admitted the request
		t.Fatal(err)
	}
	w.reload("    name: CloudVault\n", "    name: CloudVault\n    disabled: true\n")
	go func() { _, _ = send.Write(whole[20:]); send.Close() }()
	if got := <-answers; got != http.StatusForbidden {
		t.Errorf("answered %d", got)
	}
}
