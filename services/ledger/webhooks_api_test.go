package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/ledger/webhooks"
)

// ask sends a request with a body and returns its answer, which is JSON or nothing.
func (w *feedWorld) ask(token, tenant, method, path, body string) (status int, answer map[string]any) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("X-Tenant-ID", tenant)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	raw, err := io.ReadAll(a.Body)
	if err != nil || len(raw) > 0 && json.Unmarshal(raw, &answer) != nil {
		w.t.Fatalf("%s %s: %v %s", method, path, err, raw)
	}
	return a.StatusCode, answer
}

// hook makes a webhook and returns its id.
func (w *feedWorld) hook(tenant, members string) string {
	w.t.Helper()
	status, made := w.ask("admin", tenant, "POST", "/v1/webhooks", fmt.Sprintf(`{"url":"http://127.0.0.1:9/hook"%s}`, members))
	if status != http.StatusCreated {
		w.t.Fatalf("made: %d %v", status, made)
	}
	return made["id"].(string)
}

func TestTheSecretOfAWebhookIsShownOnceAndKeptSealed(t *testing.T) {
	w := newFeedWorld(t)
	status, made := w.ask("admin", cloudVault, "POST", "/v1/webhooks", `{"url":"http://127.0.0.1:9/hook","description":"ours","types":["account.created"],"ordered":true}`)
	secret, _ := made["secrets"].([]any)[0].(map[string]any)["secret"].(string)
	if status != http.StatusCreated || !strings.HasPrefix(secret, "whsec_") || made["state"] != "enabled" || made["ordered"] != true {
		t.Fatalf("made: %d %v", status, made)
	}
	id := made["id"].(string)
	status, second := w.ask("admin", cloudVault, "POST", "/v1/webhooks/"+id+"/secrets", `{"algorithm":"v1a"}`)
	if status != http.StatusCreated || !strings.HasPrefix(second["publicKey"].(string), "whpk_") || second["secret"] != nil {
		t.Fatalf("second: %d %v", status, second)
	}
	for _, path := range []string{"/v1/webhooks", "/v1/webhooks/" + id} {
		_, shown := w.ask("admin", cloudVault, "GET", path, "")
		raw, _ := json.Marshal(shown)
		if bytes.Contains(raw, []byte("whsec_")) || !bytes.Contains(raw, []byte(second["publicKey"].(string))) {
			t.Errorf("%s: %s", path, raw)
		}
	}
	stored, err := w.env.Store.Get(t.Context(), "webhooks", id)
	if err != nil || bytes.Contains(stored[id].Body, []byte(secret[6:])) {
		t.Errorf("the document has the secret: %v", err)
	}
	_, shown := w.ask("admin", cloudVault, "GET", "/v1/webhooks/"+id, "")
	if all := shown["secrets"].([]any); len(all) != 2 || all[0].(map[string]any)["expiresAt"] == nil || all[1].(map[string]any)["expiresAt"] != nil {
		t.Errorf("secrets are %v", shown["secrets"])
	}
	for range 3 {
		w.ask("admin", cloudVault, "POST", "/v1/webhooks/"+id+"/secrets", "")
	}
	if status, refused := w.ask("admin", cloudVault, "POST", "/v1/webhooks/"+id+"/secrets", ""); status != http.StatusConflict {
		t.Errorf("a sixth secret: %d %v", status, refused)
	}
	if status, _ := w.ask("admin", cloudVault, "POST", "/v1/webhooks/"+id+"/secrets", `{"expireOthersIn":0}`); status != http.StatusCreated {
		t.Errorf("one that ends the others: %d", status)
	}
}

func TestWhatIsWrongWithAWebhookIsNamed(t *testing.T) {
	w := newFeedWorld(t)
	id := w.hook(cloudVault, "")
	for sentence, test := range map[string]struct {
		token, method, path, body string
		status                    int
		want                      string
	}{
		"without a URL":                     {"admin", "POST", "", `{}`, 400, "url is missing"},
		"with one that is no text":          {"admin", "POST", "", `{"url":5}`, 400, "url is not a text"},
		"with one that is private":          {"admin", "POST", "", `{"url":"https://10.0.0.1/"}`, 422, "private"},
		"with one of metadata":              {"admin", "POST", "", `{"url":"http://169.254.169.254/"}`, 422, "link-local"},
		"with one that has a password":      {"admin", "POST", "", `{"url":"https://a:b@127.0.0.1/"}`, 422, "user name"},
		"changed to a private one":          {"admin", "PATCH", "/" + id, `{"url":"https://192.168.0.1/"}`, 422, "private"},
		"with a member nobody knows":        {"admin", "POST", "", `{"url":"http://127.0.0.1/","color":"red"}`, 400, "not known"},
		"with a member twice":               {"admin", "POST", "", `{"url":"http://127.0.0.1/","url":"http://127.0.0.1/"}`, 400, "twice"},
		"with types that are no list":       {"admin", "POST", "", `{"url":"http://127.0.0.1/","types":"all"}`, 400, "types is not a list"},
		"with a type nobody knows":          {"admin", "POST", "", `{"url":"http://127.0.0.1/","types":["registration.lost"]}`, 400, "unknown type"},
		"with an order that is neither":     {"admin", "POST", "", `{"url":"http://127.0.0.1/","ordered":"yes"}`, 400, "true or false"},
		"with an unknown algorithm":         {"admin", "POST", "", `{"url":"http://127.0.0.1/","algorithm":"md5"}`, 400, "algorithm"},
		"with a cursor that is none":        {"admin", "POST", "", `{"url":"http://127.0.0.1/","after":"x"}`, 400, "cursor"},
		"with another tenant's cursor":      {"admin", "POST", "", fmt.Sprintf(`{"url":"http://127.0.0.1/","after":%q}`, cursorOf(finsei, 1)), 400, "cursor"},
		"with a long description":           {"admin", "POST", "", fmt.Sprintf(`{"url":"http://127.0.0.1/","description":%q}`, strings.Repeat("x", 257)), 400, "description"},
		"put into a state that is ours":     {"admin", "PATCH", "/" + id, `{"state":"disabled"}`, 400, "enabled or paused"},
		"for somebody who may not":          {"auditor", "GET", "", ``, 403, "operator"},
		"that is not there":                 {"admin", "GET", "/AAAA", ``, 404, "no such webhook"},
		"whose id is nothing":               {"admin", "GET", "/%00", ``, 404, "no such webhook"},
		"with an overlap below zero":        {"admin", "POST", "/" + id + "/secrets", `{"expireOthersIn":-1}`, 400, "expireOthersIn"},
		"replayed from nowhere":             {"admin", "POST", "/" + id + "/replay", `{}`, 400, "give one of"},
		"replayed from two places":          {"admin", "POST", "/" + id + "/replay", `{"event":"a","since":"b"}`, 400, "give one of"},
		"replayed from a time that is none": {"admin", "POST", "/" + id + "/replay", `{"since":"yesterday"}`, 400, "since"},
		"replayed with no event":            {"admin", "POST", "/" + id + "/replay", `{"event":"what"}`, 404, "no such event"},
		"replayed with another tenant's":    {"admin", "POST", "/" + id + "/replay", fmt.Sprintf(`{"event":"reg.%s.r1.requested.1"}`, finsei), 404, "no such event"},
		"with a log of no state":            {"admin", "GET", "/" + id + "/deliveries?state=lost", ``, 400, "state"},
		"with a log from no cursor":         {"admin", "GET", "/" + id + "/deliveries?after=x", ``, 400, "cursor"},
	} {
		status, answer := w.ask(test.token, cloudVault, test.method, "/v1/webhooks"+test.path, test.body)
		detail, _ := answer["detail"].(string)
		if status != test.status || !strings.Contains(detail, test.want) {
			t.Errorf("a webhook %s: %d %v, want %d with %q", sentence, status, answer, test.status, test.want)
		}
	}
}

func TestAWebhookIsChangedPausedAndRemovedAndEachIsAFact(t *testing.T) {
	w := newFeedWorld(t)
	id := w.hook(cloudVault, `,"types":["account.created"]`)
	_, changed := w.ask("channel", cloudVault, "PATCH", "/v1/webhooks/"+id, `{"description":"x","types":[],"ordered":true,"state":"paused"}`)
	if changed["description"] != "x" || len(changed["types"].([]any)) != 0 || changed["ordered"] != true || changed["state"] != "paused" || changed["url"] != "http://127.0.0.1:9/hook" {
		t.Errorf("changed is %v", changed)
	}
	if status, _ := w.ask("channel", cloudVault, "DELETE", "/v1/webhooks/"+id, ""); status != http.StatusNoContent {
		t.Errorf("removed: %d", status)
	}
	for _, method := range []string{"GET", "DELETE", "PATCH"} {
		if status, _ := w.ask("admin", cloudVault, method, "/v1/webhooks/"+id, ""); status != http.StatusNotFound {
			t.Errorf("%s of one that is removed: %d", method, status)
		}
	}
	if _, list := w.ask("admin", cloudVault, "GET", "/v1/webhooks", ""); len(list["webhooks"].([]any)) != 0 {
		t.Errorf("the list has %v", list)
	}
	w.eventually("the orders are in the feed", func() bool { return w.last(cloudVault) == 3 })
	page, _ := w.page(cloudVault, "/v1/events?types=operator.webhook_changed")
	var told []string
	for _, e := range page {
		var fact events.WebhookChanged
		if err := json.Unmarshal(e.Data, &fact); err != nil || fact.Webhook != id {
			t.Errorf("%s: %v", e.Data, err)
		}
		told = append(told, fact.Actor+" "+fact.Change)
	}
	if !slices.Equal(told, []string{"admin created", "channel paused", "channel deleted"}) {
		t.Errorf("told %q", told)
	}
}

func TestAReplayMovesAWebhookBackToAPlaceOfItsFeed(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 3)
	id := w.hook(cloudVault, "")
	if _, before := w.ask("admin", cloudVault, "GET", "/v1/webhooks/"+id, ""); before["behind"].(float64) > 1 { // the order itself may follow
		t.Errorf("a new one is behind: %v", before)
	}
	status, _ := w.ask("admin", cloudVault, "POST", "/v1/webhooks/"+id+"/replay", fmt.Sprintf(`{"after":%q}`, cursorOf(cloudVault, 4)))
	if _, now := w.ask("admin", cloudVault, "GET", "/v1/webhooks/"+id, ""); status != http.StatusAccepted || now["after"] != string(cursorOf(cloudVault, 4)) {
		t.Errorf("after a replay: %d %v", status, now)
	}
	w.ask("admin", cloudVault, "POST", "/v1/webhooks/"+id+"/replay", `{"since":"2020-01-01T00:00:00Z"}`)
	if _, now := w.ask("admin", cloudVault, "GET", "/v1/webhooks/"+id, ""); now["after"] != nil || now["behind"].(float64) < 9 {
		t.Errorf("after a replay of all: %v", now)
	}
}

func TestOneEventIsReplayedByItsId(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 3)
	model := newReadModel(w.env.Store)
	event := events.SubjectOf(cloudVault, "r1", events.Requested{})
	stored, err := w.env.Bus.StoredAt(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	if err := model.onAnyEvent(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	id := w.hook(cloudVault, "")
	status, d := w.ask("admin", cloudVault, "POST", "/v1/webhooks/"+id+"/replay", fmt.Sprintf(`{"event":%q}`, event))
	if status != http.StatusAccepted || d["event"] != event.String() || d["state"] != "pending" || strings.Contains(d["webhookId"].(string), ".") {
		t.Errorf("replayed: %d %v", status, d)
	}
	if _, log := w.ask("admin", cloudVault, "GET", "/v1/webhooks/"+id+"/deliveries?state=pending", ""); len(log["deliveries"].([]any)) != 1 {
		t.Errorf("the log has %v", log)
	}
	for tenant, want := range map[string]int{cloudVault: 1, finsei: 0} {
		sent, err := consoleWebhooks{w.api}.Of(t.Context(), tenant, "r1")
		if err != nil || len(sent) != want || want == 1 && (sent[0].Webhook != id || sent[0].URL == "" || sent[0].State != "pending") {
			t.Errorf("the registration of %s shows %+v, %v", tenant, sent, err)
		}
	}
}

// TestTenantsKnowNothingOfEachOthersWebhooks mixes 1,000 operations of two tenants: whatever names
// the other's webhook is answered as one that names nothing.
func TestTenantsKnowNothingOfEachOthersWebhooks(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 1)
	rng := rand.New(rand.NewPCG(7, 1))
	tenants := []string{cloudVault, finsei}
	own := map[string][]string{}
	for _, tenant := range tenants {
		own[tenant] = []string{w.hook(tenant, fmt.Sprintf(`,"description":"of %s"`, tenant))}
	}
	calls := []struct{ method, path, body string }{
		{"GET", "", ""}, {"PATCH", "", `{"description":"taken"}`}, {"DELETE", "", ""}, {"POST", "/secrets", `{"expireOthersIn":0}`},
		{"GET", "/deliveries", ""}, {"POST", "/replay", `{"after":""}`}, {"PATCH", "", `{"state":"paused"}`},
	}
	for range 1000 {
		mine := rng.IntN(2)
		tenant, other := tenants[mine], tenants[1-mine]
		switch call := calls[rng.IntN(len(calls))]; rng.IntN(4) {
		case 0:
			if len(own[tenant]) < 20 {
				own[tenant] = append(own[tenant], w.hook(tenant, fmt.Sprintf(`,"description":"of %s"`, tenant)))
			}
		case 1:
			_, list := w.ask("admin", tenant, "GET", "/v1/webhooks?limit=500", "")
			for _, v := range list["webhooks"].([]any) {
				if id := v.(map[string]any)["id"].(string); !slices.Contains(own[tenant], id) {
					t.Fatalf("%s sees %s", tenant, id)
				}
			}
			if n := len(list["webhooks"].([]any)); n != len(own[tenant]) {
				t.Fatalf("%s sees %d of its %d", tenant, n, len(own[tenant]))
			}
		default:
			id := own[other][rng.IntN(len(own[other]))]
			status, answer := w.ask("admin", tenant, call.method, "/v1/webhooks/"+id+call.path, call.body)
			nothing, same := w.ask("admin", tenant, call.method, "/v1/webhooks/"+strings.Repeat("A", 26)+call.path, call.body)
			if status != nothing || fmt.Sprint(answer) != fmt.Sprint(same) || status != http.StatusNotFound {
				t.Fatalf("%s %s of the other: %d %v; of nothing: %d %v", call.method, call.path, status, answer, nothing, same)
			}
		}
	}
	for _, tenant := range tenants {
		for _, id := range own[tenant] {
			if _, v := w.ask("admin", tenant, "GET", "/v1/webhooks/"+id, ""); v["description"] != "of "+tenant || v["state"] != "enabled" || len(v["secrets"].([]any)) != 1 {
				t.Errorf("of %s: %v", tenant, v)
			}
		}
	}
}

func TestAProbeThatIsOneTooManyIsToldToComeLater(t *testing.T) {
	w := httptest.NewRecorder()
	(&api{}).webhookRefused(w, httptest.NewRequest(http.MethodPost, "/v1/webhooks/x/probe", nil), webhooks.ErrBusy)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "retry later") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}
