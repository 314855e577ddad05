package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/freeport"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
)

func broker(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("broker did not start")
	}
	return s.ClientURL()
}

// complete are settings with which a service starts.
func complete(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := keys.Generate(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"NATS_URL": broker(t), "STORE_URL": "sqlite://" + filepath.Join(dir, "store"), "USHER_KEYS": filepath.Join(dir, "keys")}
}

func options(settings map[string]string) Options {
	return Options{Getenv: func(name string) string { return settings[name] }, Setup: true, Output: io.Discard}
}

func waiting(ctx context.Context, _ *Env) error {
	<-ctx.Done()
	return nil
}

func TestASettingThatIsMissingOrWrongIsNamedWithItsMend(t *testing.T) {
	for name, test := range map[string]struct{ set, to, want string }{
		"no keys":                       {"USHER_KEYS", "", "usher keys generate"},
		"keys that are not there":       {"USHER_KEYS", "/nowhere", "keys"},
		"no broker":                     {"NATS_URL", "", "nats://127.0.0.1:4222"},
		"no store":                      {"STORE_URL", "", "sqlite://DIR"},
		"a store nobody knows":          {"STORE_URL", "oracle://x", "sqlite://DIR"},
		"a configuration that is gone":  {"USHER_CONFIG", "/nowhere.yaml", "/nowhere.yaml"},
		"a log level that is not known": {"LOG_LEVEL", "loud", "LOG_LEVEL"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := complete(t)
			settings[test.set] = test.to
			err := Run(t.Context(), options(settings), Service{Name: events.Risk, Run: waiting})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestServicesThatDoNotFindWhatTheyNeedSaySo(t *testing.T) {
	settings := complete(t)
	o := options(settings)
	o.Setup = false
	missing := Service{Name: events.Risk, Run: waiting, Schemas: []store.Schema{{Collection: "things"}}}
	if err := Run(t.Context(), o, missing); err == nil || !strings.Contains(err.Error(), "things") || !strings.Contains(err.Error(), "topology apply") {
		t.Errorf("without its collection: %v", err)
	}
	if err := Run(stopped(t), options(settings), Service{Name: events.Risk, Schemas: missing.Schemas, Run: waiting}); err != nil {
		t.Fatal(err)
	}
	if err := Run(stopped(t), o, missing); err != nil {
		t.Errorf("with everything there: %v", err)
	}
}

// stopped is a context that ends when everything has started, which a service tells.
func stopped(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestTheFirstErrorStopsTheOthers(t *testing.T) {
	broken := errors.New("broken")
	ended := make(chan struct{})
	err := Run(t.Context(), options(complete(t)),
		Service{Name: events.Risk, Run: func(ctx context.Context, e *Env) error { defer close(ended); return waiting(ctx, e) }},
		Service{Name: events.Accounts, Run: func(context.Context, *Env) error { return broken }})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "accounts") {
		t.Errorf("got %v", err)
	}
	<-ended
}

func TestReadinessNamesWhatIsNotReady(t *testing.T) {
	h := &Health{}
	h.Add("risk", func() error { return nil })
	var problem error
	h.Add("gateway", func() error { return problem })
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code, w.Body.String()
	}
	if status, body := ask(); status != 200 {
		t.Errorf("all ready: %d %s", status, body)
	}
	problem = errors.New("no connection")
	if status, body := ask(); status != 503 || body != "gateway: no connection\n" {
		t.Errorf("one not ready: %d %q", status, body)
	}
}

func TestServeFinishesTheRequestInProgressAndTakesNoOther(t *testing.T) {
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	begun, finish := make(chan struct{}), make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(begun)
				<-finish
			}
			_, _ = io.WriteString(w, "done")
		}))
	}()
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		if response, err := http.Get("http://" + addr + "/"); err == nil {
			response.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody listens")
		}
	}
	if response, err := http.Get("http://" + addr + "/?" + strings.Repeat("x", 64<<10)); err != nil || response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a huge head: %v, %v", response, err)
	}
	answers := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + addr + "/slow")
		if err != nil {
			answers <- err.Error()
			return
		}
		defer response.Body.Close()
		raw, _ := io.ReadAll(response.Body)
		answers <- string(raw)
	}()
	<-begun
	stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_, _ = fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		_, readErr := bufio.NewReader(conn).ReadByte()
		conn.Close()
		if readErr != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("new requests are still taken")
		}
	}
	close(finish)
	if got := <-answers; got != "done" {
		t.Errorf("the request in progress got %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := Serve(t.Context(), "256.0.0.1:1", nil); err == nil {
		t.Error("an address that is none was listened on")
	}
}
