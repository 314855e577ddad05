//go:build process

package usher

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/services/usher/mailsink"
)

// These tests run the real binaries against a real NATS server process and kill them.

// built is the directory of the project's binaries and the broker's.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "usher-bin-")
	if err != nil {
		return "", err
	}
	if err := build(dir, "nats-server", "github.com/nats-io/nats-server/v2"); err != nil {
		return "", err
	}
	if err := build(dir, "usher", "./cmd/usher"); err != nil {
		return "", err
	}
	for _, s := range events.Services {
		if err := buildService(dir, s); err != nil {
			return "", err
		}
	}
	return dir, nil
})

func buildService(dir string, s events.Service, flags ...string) error {
	return build(dir, string(s), fmt.Sprintf("github.com/usherhq/usher/services/%s/cmd/%s", s, s), flags...)
}

func build(dir, name, pkg string, flags ...string) error {
	args := append([]string{"build", "-o", filepath.Join(dir, name)}, append(flags, pkg)...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// cluster is a set of processes on this machine.
type cluster struct {
	t         *testing.T
	dir, bin  string
	env       []string
	gateway   string
	ledger    string
	natsURL   string
	sink      *mailsink.Sink
	processes map[string]*process
	// report tells of a broken promise.
	report func(format string, args ...any)
}

// process is one that is started again whenever it ends, until it is halted.
type process struct {
	name    string
	command func() *exec.Cmd
	log     *os.File

	mu      sync.Mutex
	running *exec.Cmd
	ended   chan struct{}
}

func (p *process) start(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.command()
	c.Stdout, c.Stderr = p.log, p.log
	if err := c.Start(); err != nil {
		t.Errorf("start %s: %v", p.name, err)
		return
	}
	p.running, p.ended = c, make(chan struct{})
	go func(ended chan struct{}) { _ = c.Wait(); close(ended) }(p.ended)
}

// signal sends one and waits until the process has ended; it returns the exit code.
func (p *process) signal(s syscall.Signal) int {
	p.mu.Lock()
	c, ended := p.running, p.ended
	p.mu.Unlock()
	_ = c.Process.Signal(s)
	<-ended
	return c.ProcessState.ExitCode()
}

// startCluster runs the project's binaries. edit are pairs of old and new text of the
// demonstration configuration.
func startCluster(t *testing.T, replicas map[string]int, edit ...string) *cluster {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return startClusterOf(t, bin, replicas, edit...)
}

func startClusterOf(t *testing.T, bin string, replicas map[string]int, edit ...string) *cluster {
	t.Helper()
	return startClusterWith(t, bin, demonstration, replicas, edit...)
}

// demonstration is the file of the demonstration's tenants.
const demonstration = "../../pkg/tenant/demo.yaml"

// startClusterWith is startCluster for the binaries and the tenants of another version.
func startClusterWith(t *testing.T, bin, tenants string, replicas map[string]int, edit ...string) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{t: t, dir: dir, bin: bin, gateway: freeAddr(t), ledger: freeAddr(t), processes: map[string]*process{}, report: t.Errorf}
	var err error
	broker := freeAddr(t)
	c.natsURL = "nats://" + broker
	if c.sink, err = mailsink.Start(filepath.Join(dir, "mail")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.sink.Close() })
	c.write("nats.conf", fmt.Sprintf("listen: %q\njetstream { store_dir: %q, max_file_store: 64GB }\n", broker, filepath.Join(dir, "nats")))
	demo, err := os.ReadFile(tenants)
	if err != nil {
		t.Fatal(err)
	}
	c.write("tenants.yaml", configuration(strings.NewReplacer(edit...).Replace(string(demo))))
	c.env = append(os.Environ(), "NATS_URL="+c.natsURL, "STORE_URL="+documents(dir),
		"USHER_CONFIG="+filepath.Join(dir, "tenants.yaml"), "USHER_KEYS="+filepath.Join(dir, "keys"),
		"GATEWAY_ADDR="+c.gateway, "LEDGER_ADDR="+c.ledger, "SMTP_URL=smtp://"+c.sink.Addr(), "PUBLIC_URL=http://"+c.gateway,
		"ACCOUNTS_INSECURE_HASH=true", "ACCOUNTS_ARGON2=m=8,t=1,p=1")
	c.mustRun("usher", "keys", "generate", filepath.Join(dir, "keys"))
	c.add("nats-server", "nats-server", "-c", filepath.Join(dir, "nats.conf"))
	c.processes["nats-server"].start(t)
	c.mustRun("usher", "topology", "apply")
	for _, s := range events.Services {
		for i := range max(replicas[string(s)], 1) {
			name := fmt.Sprintf("%s-%d", s, i+1)
			c.add(name, string(s))
			c.processes[name].start(t)
		}
	}
	t.Cleanup(c.stop)
	c.eventually(60*time.Second, "the gateway is ready", func() bool { return c.ready(c.gateway) && c.ready(c.ledger) })
	return c
}

// configuration is tenants with a token for the tests.
func configuration(tenants string) string {
	return strings.Replace(tenants, "\nauth:\n", fmt.Sprintf("\nauth:\n  tokens:\n    - {sha256: %s, subject: test, tenants: [\"*\"], roles: [admin]}\n", sha256Hex(testToken)), 1)
}

func (c *cluster) write(name, content string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) add(name, binary string, args ...string) {
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	program, env := filepath.Join(c.bin, binary), c.env
	c.processes[name] = &process{name: name, log: log, command: func() *exec.Cmd {
		command := exec.Command(program, args...)
		command.Env = env
		return command
	}}
}

func (c *cluster) mustRun(binary string, args ...string) {
	c.t.Helper()
	command := exec.Command(filepath.Join(c.bin, binary), args...)
	command.Env = c.env
	if out, err := command.CombinedOutput(); err != nil {
		c.t.Fatalf("%s %v: %v\n%s", binary, args, err, out)
	}
}

func (c *cluster) ready(addr string) bool {
	response, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (c *cluster) stop() {
	for name, p := range c.processes {
		if name != "nats-server" {
			p.signal(syscall.SIGKILL)
		}
	}
	c.processes["nats-server"].signal(syscall.SIGKILL)
	if c.t.Failed() {
		for name := range c.processes {
			raw, _ := os.ReadFile(filepath.Join(c.dir, name+".log"))
			c.t.Logf("end of the log of %s:\n%s", name, raw[max(0, len(raw)-1500):])
		}
	}
}

func (c *cluster) eventually(limit time.Duration, what string, is func() bool) {
	c.t.Helper()
	if !within(limit, is) {
		c.t.Fatalf("after %v still not: %s", limit, what)
	}
}

// within reports whether something comes true before the limit.
func within(limit time.Duration, is func() bool) bool {
	for deadline := time.Now().Add(limit); !is(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// bus connects the test to the cluster's broker.
func (c *cluster) bus() (*bus.Bus, *nats.Conn) {
	c.t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	nc, err := bus.Connect(c.natsURL, "test", log)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	b, err := bus.New(bus.Config{Service: events.Ledger, Conn: nc, Log: log, Tracer: tracenoop.NewTracerProvider(), Meter: noop.NewMeterProvider()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.eventually(30*time.Second, "the test is connected", func() bool { return b.Ready() == nil })
	return b, nc
}

// accepted is a registration that the gateway has acknowledged.
type accepted struct{ id, email string }

var client = &http.Client{Timeout: 20 * time.Second}

// register sends one registration with its key until it is acknowledged: an error and a 503
// mean "unknown, try again with the same key".
func (c *cluster) register(ctx context.Context, key, email string) (accepted, int, error) {
	for attempt := 1; ; attempt++ {
		id, status, err := c.post(ctx, key, email)
		if err == nil && status == http.StatusAccepted {
			return accepted{id, email}, attempt, nil
		}
		if err == nil && status != http.StatusServiceUnavailable {
			return accepted{}, attempt, fmt.Errorf("status %d", status)
		}
		select {
		case <-ctx.Done():
			return accepted{}, attempt, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *cluster) post(ctx context.Context, key, email string) (id string, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.gateway+"/v1/registrations", bytes.NewReader(nativeBody(email)))
	if err != nil {
		return "", 0, err
	}
	request.Header.Set("Authorization", "Bearer "+testToken)
	request.Header.Set("X-Tenant-ID", cloudVault)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	response, err := client.Do(request)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	var receipt struct{ ID string }
	err = json.NewDecoder(response.Body).Decode(&receipt)
	return receipt.ID, response.StatusCode, err
}

// load registers n customers from several clients, one every pace; every tenth repeats an address, every
// fifth sends its request a second time under the same key.
func (c *cluster) load(ctx context.Context, n int, pace time.Duration) (all []accepted, retries int) {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		next = make(chan int)
	)
	for range 16 {
		wg.Go(func() {
			for i := range next {
				email := fmt.Sprintf("person.%d@example.com", i)
				if i%10 == 9 {
					email = fmt.Sprintf("Person.%d@Example.com", i-1)
				}
				key := fmt.Sprintf("key-%d", i)
				a, attempts, err := c.register(ctx, key, email)
				if err == nil && i%5 == 0 {
					var again accepted
					if again, _, err = c.register(ctx, key, email); err == nil && again.id != a.id {
						c.report("key %s gave %s and %s", key, a.id, again.id)
					}
				}
				mu.Lock()
				if err != nil {
					c.report("register: %v", err)
				} else {
					all = append(all, a)
				}
				retries += attempts - 1
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
		pause(ctx, pace)
	}
	close(next)
	wg.Wait()
	return all, retries
}

// kill ends processes with SIGKILL and starts them again, until ctx ends: all of them in one
// random order after another. so counts the kills so far.
func (c *cluster) kill(ctx context.Context, every time.Duration, so *atomic.Int64) int {
	names := slices.Sorted(maps.Keys(c.processes))
	for i := 0; ctx.Err() == nil; i++ {
		if i%len(names) == 0 {
			rand.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
		}
		p := c.processes[names[i%len(names)]]
		p.signal(syscall.SIGKILL)
		so.Add(1)
		pause(ctx, time.Duration(rand.Int64N(int64(every))))
		p.start(c.t)
		pause(ctx, every)
	}
	return int(so.Load())
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
