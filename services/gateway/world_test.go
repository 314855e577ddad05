package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/freeport"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/openapi/openapitest"
)

const (
	cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"
	finsei     = "97e7ff29-15f3-49ef-9681-3bbfcce4f6cd"
)

// world is a gateway with a real broker; no other service runs.
type world struct {
	t    testing.TB
	url  string
	nats string
	file string       // the configuration
	keys string       // directory of the key files
	stop func() error // in order, as SIGTERM does
	// broker can be shut down by a test.
	broker  *server.Server
	gateway *gateway
	client  *http.Client // whose exchanges must be as the dialects' documents tell
}

// newWorld starts one with the demonstration configuration, in which edit replaces old by new
// texts.
func newWorld(t testing.TB, edit ...string) *world {
	t.Helper()
	return newWorldOf(t, func(*gateway) {}, edit...)
}

// newWorldOf starts one whose gateway is changed by prepare before it runs.
func newWorldOf(t testing.TB, prepare func(*gateway), edit ...string) *world {
	t.Helper()
	checked, err := openapitest.New(Documents(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	checked.Most = 3
	w := &world{t: t, client: &http.Client{Transport: checked}}
	started := make(chan struct{})
	service := app.Service{Name: Service.Name, Schemas: Service.Schemas, Run: func(ctx context.Context, env *app.Env) error {
		w.gateway = newGateway(env)
		prepare(w.gateway)
		close(started)
		return w.gateway.run(ctx)
	}}
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	if !broker.ReadyForConnections(20 * time.Second) {
		t.Fatal("broker did not start")
	}
	dir := t.TempDir()
	config := strings.NewReplacer(edit...).Replace(string(tenant.DemoFile()))
	if err := os.WriteFile(filepath.Join(dir, "tenants.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keys.Generate(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{
		"NATS_URL": broker.ClientURL(), "STORE_URL": "sqlite://" + filepath.Join(dir, "store"), "USHER_KEYS": filepath.Join(dir, "keys"),
		"USHER_CONFIG": filepath.Join(dir, "tenants.yaml"), "GATEWAY_ADDR": addr, "LOG_LEVEL": "error",
	}
	every, one := []string{tenant.AllTenants}, []string{cloudVault}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, app.Options{
			Getenv: func(name string) string { return settings[name] }, Setup: true, Output: io.Discard,
			Tokens: map[string]tenant.Principal{
				"admin":   {Subject: "admin", Tenants: every, Roles: []tenant.Role{tenant.Admin}},
				"channel": {Subject: "channel", Tenants: one, Roles: []tenant.Role{tenant.Channel}},
				"auditor": {Subject: "auditor", Tenants: one, Roles: []tenant.Role{tenant.Compliance}},
			},
		}, service)
	}()
	w.file, w.keys = filepath.Join(dir, "tenants.yaml"), settings["USHER_KEYS"]
	w.url, w.nats, w.broker = "http://"+addr, broker.ClientURL(), broker
	stopped := false
	w.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			return fmt.Errorf("the gateway did not end")
		}
	}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	w.eventually("the gateway is ready", func() bool {
		response, err := http.Get(w.url + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	<-started
	return w
}

func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("still not: %s", what)
		}
	}
}

// bus publishes and reads as a service.
func (w *world) bus(service events.Service) *bus.Bus {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	nc, err := bus.Connect(w.nats, "test", log)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	b, err := bus.New(bus.Config{Service: service, Conn: nc, Log: log, Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the test is connected", func() bool { return b.Ready() == nil })
	return b
}

func (w *world) publish(b *bus.Bus, id string, all ...events.Event) {
	w.t.Helper()
	for _, e := range all {
		if err := b.Publish(w.t.Context(), cloudVault, id, e); err != nil {
			w.t.Fatal(err)
		}
	}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) field(name string) string {
	var fields map[string]any
	_ = json.Unmarshal(a.body, &fields)
	text, _ := fields[name].(string)
	return text
}

// do sends a request as admin of CloudVault, unless headers say otherwise.
func (w *world) do(method, path string, body []byte, headers ...string) answer {
	w.t.Helper()
	a, err := w.try(w.t.Context(), method, path, body, headers...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) try(ctx context.Context, method, path string, body []byte, headers ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, value := range map[string]string{"Authorization": "Bearer admin", "X-Tenant-ID": cloudVault, "Content-Type": "application/json"} {
		request.Header.Set(name, value)
	}
	for i := 0; i < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			request.Host = headers[i+1]
		case headers[i+1] == "":
			request.Header.Del(headers[i])
		default:
			request.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := w.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, raw}, err
}

func person(email string) []byte {
	return fmt.Appendf(nil, `{"applicant":{"givenName":"Ingrid","familyName":"Solveig","email":%q,"birthDate":"1988-02-03"},"credentials":{"password":"seven quiet lanterns"}}`, email)
}
