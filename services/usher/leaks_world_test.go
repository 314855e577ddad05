package usher

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/usher/mailsink"
)

// canaries are tenants whose ids are in whatever is theirs: subjects, addresses, actors.
var canaries = []string{"canaryone", "canarytwo", "canarythree"}

// everybody is the subject of a token of all tenants, by which the test finds out whether it would
// notice a leak.
const everybody = "everybody"

// leaky is a pipeline of services, each with its own user at the broker, several tenants, and what
// is known of each.
type leaky struct {
	t               *testing.T
	broker          *guardedBroker
	gateway, ledger string
	logs            *lockedBuffer
	ids, cursors    map[string][]string
	feeds           map[string]jetstream.Consumer // by the subscriber's tenant
	conns           map[string]*nats.Conn
}

func canaryConfig(t *testing.T) string {
	t.Helper()
	demo, _, found := bytes.Cut(tenant.DemoFile(), []byte("\ntenants:\n"))
	if !found {
		t.Fatal("the demonstration has no tenants")
	}
	var tokens, tenants strings.Builder
	token := func(name, of, role string) {
		fmt.Fprintf(&tokens, "    - {sha256: %s, subject: %s, tenants: [%s], roles: [%s]}\n", sha256Hex(name), name, of, role)
	}
	for _, c := range canaries {
		for _, role := range tenant.Roles {
			token(c+"-"+string(role), c, string(role))
		}
		fmt.Fprintf(&tenants, "  - id: %s\n    name: %s\n    dialects: {native: true}\n    catalog: individuals\n    policy: standard\n    mail: {from: no-reply@%s.example}\n", c, c, c)
	}
	token(everybody, strings.Join(canaries, ", "), string(tenant.Admin))
	config := strings.Replace(string(demo), "auth:\n", "auth:\n  tokens:\n"+tokens.String(), 1) + "\ntenants:\n" + tenants.String()
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func startLeaky(t *testing.T) *leaky {
	t.Helper()
	cheapHash(t)
	dir := t.TempDir()
	t.Setenv("USHER_CONFIG", canaryConfig(t))
	t.Setenv("STORE_URL", documents(dir))
	w := &leaky{t: t, broker: startGuardedBroker(t), gateway: "http://" + freeAddr(t), ledger: "http://" + freeAddr(t), logs: &lockedBuffer{},
		ids: map[string][]string{}, cursors: map[string][]string{}, feeds: map[string]jetstream.Consumer{}, conns: map[string]*nats.Conn{}}
	sink, err := mailsink.Start(filepath.Join(dir, "mail"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	ring, screening := filepath.Join(dir, "keys"), filepath.Join(dir, "lists")
	if err := keys.Generate(ring); err != nil {
		t.Fatal(err)
	}
	if err := lists.WriteDemo(screening); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"USHER_KEYS": ring, "USHER_LISTS": screening, "SMTP_URL": "smtp://" + sink.Addr(), "PUBLIC_URL": w.gateway,
		"GATEWAY_ADDR": strings.TrimPrefix(w.gateway, "http://"), "LEDGER_ADDR": strings.TrimPrefix(w.ledger, "http://"), "OPS_ADDR": ""}
	for _, s := range Services {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		address := w.broker.address(string(s.Name))
		go func() {
			ended <- app.Run(ctx, app.Options{Output: w.logs, Getenv: func(name string) string {
				if v, ok := settings[name]; ok {
					return v
				}
				if name == "NATS_URL" {
					return address
				}
				return os.Getenv(name)
			}}, s)
		}()
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
		})
	}
	w.ready()
	w.broker.as(bus.SubscriptionsUser)
	for _, c := range canaries {
		w.broker.must("subscribers", "add", c, "audit", "--dir", w.broker.dir, "--in-flight", "1000", "--ack-wait", "1s")
	}
	w.broker.reload()
	w.ready()
	for _, c := range canaries {
		user := bus.FeedSubscriber{Tenant: c, Name: "audit"}.User()
		nc, err := nats.Connect(w.broker.address(user), nats.CustomInboxPrefix(bus.InboxPrefix(user)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.NewWithDomain(nc, bus.Domain)
		if err != nil {
			t.Fatal(err)
		}
		if w.feeds[c], err = js.Consumer(t.Context(), bus.FeedStream(c), "audit"); err != nil {
			t.Fatal(err)
		}
		w.conns[c] = nc
	}
	return w
}

func (w *leaky) ready() {
	w.t.Helper()
	w.eventually("gateway and ledger are ready", func() bool { return ready(w.gateway+"/readyz") && ready(w.ledger+"/readyz") })
}

func (w *leaky) eventually(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(3 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("still not: %s\n%s", what, w.logs)
		}
	}
}

// ask sends a request as somebody, for a tenant.
func (w *leaky) ask(token, of, method, address, body string, headers ...string) answer {
	w.t.Helper()
	request, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("X-Tenant-ID", of)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	if strings.HasSuffix(request.URL.Path, "/stream") {
		return w.listenTo(request)
	}
	a, err := send(request)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// listenTo reads a stream of events until it beats, which follows the first page.
func (w *leaky) listenTo(request *http.Request) answer {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), waitLong)
	defer cancel()
	response, err := http.DefaultClient.Do(request.WithContext(ctx))
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	var said bytes.Buffer
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && lines.Text() != ": beat" {
		said.WriteString(lines.Text() + "\n")
	}
	return answer{response.StatusCode, response.Header, said.Bytes()}
}

// populate gives every tenant registrations, one of which waits for a reviewer, and learns cursors.
func (w *leaky) populate() {
	w.t.Helper()
	for _, c := range canaries {
		for i := range 4 {
			body := person("Ingrid", c, "1990-05-15", fmt.Sprintf("person%d@%s.example", i, c))
			if i == 0 {
				body = person("Arkady Zorinovich", "Volkharin", "1961-03-09", "suspect@"+c+".example")
			}
			a := w.ask(c+"-channel", c, http.MethodPost, w.gateway+"/v1/registrations", string(body))
			if a.status != http.StatusAccepted {
				w.t.Fatalf("%d %s\n%s", a.status, a.body, w.logs)
			}
			w.ids[c] = append(w.ids[c], a.json(w.t)["id"].(string))
		}
		w.eventually("a case is open", func() bool {
			return strings.Contains(string(w.ask(c+"-reviewer", c, http.MethodGet, w.ledger+"/v1/reviews", "").body), w.ids[c][0])
		})
		w.eventually("the others have their mails", func() bool {
			a := w.ask(c+"-operator", c, http.MethodGet, w.ledger+"/v1/mails?state=SENT", "")
			return strings.Count(string(a.body), `"SENT"`) == 3
		})
		w.eventually("the feed has their events", func() bool { // the broker copies them into it by and by
			w.cursors[c] = nil
			a := w.ask(c+"-compliance", c, http.MethodGet, w.ledger+"/v1/events?limit=1000", "")
			for part := range strings.SplitSeq(string(a.body), `"cursor":"`) {
				if place, _, found := strings.Cut(part, `"`); found && !strings.ContainsAny(place, "[{") {
					w.cursors[c] = append(w.cursors[c], place)
				}
			}
			return len(w.cursors[c]) >= 10
		})
	}
}
