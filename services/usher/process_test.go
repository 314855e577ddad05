//go:build process

package usher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/services/usher/mailsink"
)

// These tests run the real binaries against a real NATS server process and kill them. SCALE
// multiplies their counts.

func scale(t *testing.T, n int) int {
	t.Helper()
	text := os.Getenv("SCALE")
	if text == "" {
		return n
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f <= 0 {
		t.Fatalf("SCALE is not a positive number")
	}
	return max(int(float64(n)*f), 1)
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "usher-bin-")
	if err != nil {
		return "", err
	}
	packages := map[string]string{"nats-server": "github.com/nats-io/nats-server/v2", "usher": "./cmd/usher"}
	for _, s := range events.Services {
		packages[string(s)] = fmt.Sprintf("github.com/usherhq/usher/services/%s/cmd/%s", s, s)
	}
	for name, pkg := range packages {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})

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
}

// process is one that is started again whenever it ends, until it is halted.
type process struct {
	name    string
	command func() *exec.Cmd
	log     *os.File

	mu      sync.Mutex
	running *exec.Cmd
	ended   chan struct{}
	kills   int
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

func startCluster(t *testing.T, replicas map[string]int, edit ...string) *cluster {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &cluster{t: t, dir: dir, bin: bin, gateway: freeAddr(t), ledger: freeAddr(t), processes: map[string]*process{}}
	broker := freeAddr(t)
	c.natsURL = "nats://" + broker
	if c.sink, err = mailsink.Start(filepath.Join(dir, "mail")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.sink.Close() })
	c.write("nats.conf", fmt.Sprintf("listen: %q\njetstream { store_dir: %q, max_file_store: 64GB }\n", broker, filepath.Join(dir, "nats")))
	demo, err := os.ReadFile("../../pkg/tenant/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.write("tenants.yaml", strings.NewReplacer(edit...).Replace(string(demo))+fmt.Sprintf("\nauth:\n  tokens:\n    - {sha256: %s, subject: test, tenants: [\"*\"], roles: [admin]}\n", sha256Hex(testToken)))
	if err := keys.Generate(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "NATS_URL="+c.natsURL, "STORE_URL=sqlite://"+filepath.Join(dir, "store"),
		"USHER_CONFIG="+filepath.Join(dir, "tenants.yaml"), "USHER_KEYS="+filepath.Join(dir, "keys"),
		"GATEWAY_ADDR="+c.gateway, "LEDGER_ADDR="+c.ledger, "SMTP_URL=smtp://"+c.sink.Addr(), "PUBLIC_URL=http://"+c.gateway,
		"ACCOUNTS_INSECURE_HASH=true", "ACCOUNTS_ARGON2=m=8,t=1,p=1")
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
	c.processes[name] = &process{name: name, log: log, command: func() *exec.Cmd {
		command := exec.Command(filepath.Join(c.bin, binary), args...)
		command.Env = c.env
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
	deadline := time.Now().Add(limit)
	for !is() {
		if time.Now().After(deadline) {
			c.t.Fatalf("after %v still not: %s", limit, what)
		}
		<-time.After(50 * time.Millisecond)
	}
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

// load registers n customers from several clients; every tenth repeats an address, every
// fifth sends its request a second time under the same key.
func (c *cluster) load(ctx context.Context, n int) (all []accepted, retries int) {
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
						c.t.Errorf("key %s gave %s and %s", key, a.id, again.id)
					}
				}
				mu.Lock()
				if err != nil {
					c.t.Errorf("register: %v", err)
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
	}
	close(next)
	wg.Wait()
	return all, retries
}

// kill ends random processes with SIGKILL and starts them again, until ctx ends.
func (c *cluster) kill(ctx context.Context, every time.Duration) (kills int) {
	names := make([]string, 0, len(c.processes))
	for name := range c.processes {
		names = append(names, name)
	}
	for ctx.Err() == nil {
		p := c.processes[names[rand.IntN(len(names))]]
		p.signal(syscall.SIGKILL)
		p.kills++
		kills++
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(rand.Int64N(int64(every)))):
		}
		p.start(c.t)
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
	return kills
}

func TestNothingAcknowledgedIsLostOrDoubledWhateverIsKilled(t *testing.T) {
	c := startCluster(t, map[string]int{"validator": 2, "accounts": 2})
	want, wantKills := scale(t, 3000), scale(t, 60)
	killing, stopKilling := context.WithCancel(t.Context())
	killed := make(chan int, 1)
	go func() { killed <- c.kill(killing, 200*time.Millisecond) }()

	var all []accepted
	retries := 0
	started := time.Now()
	kills := func() (n int) {
		for _, p := range c.processes {
			n += p.kills
		}
		return n
	}
	loading, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	all, retries = c.load(loading, want)
	c.eventually(3*time.Minute, "enough was killed", func() bool { return kills() >= wantKills })
	stopKilling()
	total := <-killed
	t.Logf("%d accepted in %v, %d client retries, %d kills", len(all), time.Since(started).Round(time.Second), retries, total)
	if len(all) != want || total < wantKills || retries == 0 {
		t.Fatalf("the run proves nothing: %d of %d accepted, %d kills, %d retries", len(all), want, total, retries)
	}

	b, nc := c.bus()
	healed := time.Now()
	histories := c.complete(b, all, 60*time.Second)
	t.Logf("all complete %v after the last kill", time.Since(healed).Round(10*time.Millisecond))
	c.verify(all, histories)
	c.verifyMails(all, histories)
	c.verifyQueues(nc)
	c.verifyActivation(all, histories)
}

// complete waits until every registration has its mail or its rejection.
func (c *cluster) complete(b *bus.Bus, all []accepted, limit time.Duration) map[string][]events.Record {
	c.t.Helper()
	histories := map[string][]events.Record{}
	c.eventually(limit, "every acknowledged registration is complete", func() bool {
		open := 0
		for _, a := range all {
			if _, done := histories[a.id]; done {
				continue
			}
			h, err := b.History(c.t.Context(), cloudVault, a.id)
			if err != nil {
				return false
			}
			if status := events.Fold(h).Status; status == events.StatusActivationSent || status == events.StatusRejected {
				histories[a.id] = h
			} else {
				open++
			}
		}
		return open == 0
	})
	return histories
}

// verify checks that every address has one account, and every other registration of it the
// documented rejection.
func (c *cluster) verify(all []accepted, histories map[string][]events.Record) {
	c.t.Helper()
	accounts, ids := map[string]int{}, map[string]bool{}
	for _, a := range all {
		if ids[a.id] {
			c.t.Errorf("two keys gave the registration %s", a.id)
		}
		ids[a.id] = true
		state := events.Fold(histories[a.id])
		email := string(bytes.ToLower([]byte(a.email)))
		switch {
		case state.Status == events.StatusActivationSent:
			accounts[email]++
		case len(state.Codes) != 1 || state.Codes[0] != events.CodeDuplicateEmail:
			c.t.Errorf("%s was rejected because of %v", a.id, state.Codes)
		default:
			accounts[email] += 0
		}
	}
	for email, n := range accounts {
		if n != 1 {
			c.t.Errorf("%s has %d accounts", email, n)
		}
	}
}

// verifyMails checks that every account has a mail, under one Message-ID and with the code of
// its first epoch.
func (c *cluster) verifyMails(all []accepted, histories map[string][]events.Record) {
	c.t.Helper()
	ring, err := keys.Open(filepath.Join(c.dir, "keys"))
	if err != nil {
		c.t.Fatal(err)
	}
	mails := map[string]map[string]string{} // registration -> Message-Id -> code
	for _, m := range c.sink.Mails() {
		id := m.Headers["Message-Id"]
		if len(id) < 38 {
			c.t.Fatalf("Message-Id %q", id)
		}
		registration := id[1:37]
		if mails[registration] == nil {
			mails[registration] = map[string]string{}
		}
		mails[registration][id] = codePattern.FindString(m.Text)
	}
	for _, a := range all {
		sent := mails[a.id]
		if events.Fold(histories[a.id]).Status == events.StatusRejected {
			if len(sent) != 0 {
				c.t.Errorf("a mail was sent for the rejected %s", a.id)
			}
			continue
		}
		code, err := ring.ActivationCode(a.id, 1)
		if err != nil {
			c.t.Fatal(err)
		}
		for id, got := range sent {
			if got != code {
				c.t.Errorf("mail %s has another code", id)
			}
		}
		if len(sent) != 1 {
			c.t.Errorf("%s has mails under %d Message-IDs", a.id, len(sent))
		}
	}
}

// verifyQueues checks that no message is left undelivered or unacknowledged, and that kills
// did cause redeliveries.
func (c *cluster) verifyQueues(nc *nats.Conn) {
	c.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, consumer := range bus.Consumers() {
		c.eventually(60*time.Second, consumer.Name+" has nothing left", func() bool {
			found, err := js.Consumer(c.t.Context(), consumer.Stream, consumer.Name)
			if err != nil {
				return false
			}
			info := found.CachedInfo()
			return info.NumPending == 0 && info.NumAckPending == 0
		})
	}
	dead, err := js.Stream(c.t.Context(), bus.DeadLetters)
	if err != nil {
		c.t.Fatal(err)
	}
	if n := dead.CachedInfo().State.Msgs; n != 0 {
		c.t.Errorf("%d dead letters", n)
	}
}

// verifyActivation activates some of the accounts with the code that was mailed.
func (c *cluster) verifyActivation(all []accepted, histories map[string][]events.Record) {
	c.t.Helper()
	d := &dev{t: c.t}
	d.command.HTTP = c.gateway
	left := 20
	for _, m := range c.sink.Mails() {
		id := m.Headers["Message-Id"][1:37]
		if histories[id] == nil || left == 0 {
			continue
		}
		left--
		a := d.do(http.MethodPost, d.gateway("/v1/registrations/"+id+"/activation"), cloudVault, fmt.Appendf(nil, `{"code":%q}`, codePattern.FindString(m.Text)))
		if a.status != http.StatusOK {
			c.t.Errorf("activation answers %d %s", a.status, a.body)
		}
	}
	if left != 0 && len(all) > 40 {
		c.t.Errorf("%d activations were not tried", left)
	}
}

func TestAStoppedServiceDelaysAndLosesNothing(t *testing.T) {
	c := startCluster(t, nil)
	b, _ := c.bus()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i, s := range []events.Service{events.Validator, events.Risk, events.Accounts, events.Notifier} {
		t.Run(string(s), func(t *testing.T) {
			p := c.processes[string(s)+"-1"]
			if code := p.signal(syscall.SIGTERM); code != 0 {
				t.Errorf("SIGTERM ended it with code %d", code)
			}
			var all []accepted
			for n := range 5 {
				a, _, err := c.register(ctx, fmt.Sprintf("stop-%d-%d", i, n), fmt.Sprintf("stopped.%d.%d@example.com", i, n))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, a)
			}
			p.start(t)
			c.complete(b, all, 30*time.Second)
		})
	}
}

func TestWithoutABrokerIntakeAnswers503AndStoresNothing(t *testing.T) {
	c := startCluster(t, nil)
	broker := c.processes["nats-server"]
	broker.signal(syscall.SIGKILL)
	c.eventually(20*time.Second, "the gateway notices", func() bool { return !c.ready(c.gateway) })
	const key = "while the broker is down"
	request, err := http.NewRequest(http.MethodPost, "http://"+c.gateway+"/v1/registrations", bytes.NewReader(nativeBody("broker.down@example.com")))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + testToken, "X-Tenant-ID": cloudVault, "Content-Type": "application/json", "Idempotency-Key": key} {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("answer %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
	broker.start(t)
	c.eventually(30*time.Second, "the gateway is ready again", func() bool { return c.ready(c.gateway) })
	b, _ := c.bus()
	ring, err := keys.Open(filepath.Join(c.dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := ring.RegistrationID(cloudVault, key)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := b.History(t.Context(), cloudVault, id); err != nil || len(h) != 0 {
		t.Errorf("the refused registration has %d events, %v", len(h), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, _, err := c.register(ctx, key, "broker.down@example.com")
	if err != nil || a.id != id {
		t.Fatalf("the same key later: %v", errors.Join(err, fmt.Errorf("id %s", a.id)))
	}
	c.complete(b, []accepted{a}, 30*time.Second)
}

func TestAFullStreamRefusesIntakeAndCompletesWhatItAccepted(t *testing.T) {
	c := startCluster(t, nil, "maxBytes: 8589934592", "maxBytes: 3000000")
	started := time.Now()
	validator := c.processes["validator-1"]
	validator.signal(syscall.SIGTERM)
	var all []accepted
	full := false
	for i := 0; i < 10_000 && !full; i++ {
		email := fmt.Sprintf("full.%d@example.com", i)
		id, status, err := c.post(t.Context(), email, email)
		switch {
		case err != nil:
			t.Fatal(err)
		case status == http.StatusServiceUnavailable:
			full = true
		case status == http.StatusAccepted:
			all = append(all, accepted{id, email})
		default:
			t.Fatalf("status %d", status)
		}
	}
	t.Logf("%d accepted in %v before 503", len(all), time.Since(started))
	if !full || len(all) < 100 {
		t.Fatalf("full %v after %d accepted", full, len(all))
	}
	validator.start(t)
	b, _ := c.bus()
	restarted := time.Now()
	c.verify(all, c.complete(b, all, 60*time.Second))
	t.Logf("complete %v after the validator is back", time.Since(restarted))
}

func TestTheOneProcessPipelineSurvivesBeingKilled(t *testing.T) {
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: t.TempDir(), bin: bin, gateway: freeAddr(t), ledger: freeAddr(t), processes: map[string]*process{}}
	broker := freeAddr(t)
	c.natsURL = "nats://" + broker
	c.env = append(os.Environ(), "USHER_DEV_TOKEN="+testToken, "ACCOUNTS_INSECURE_HASH=true", "ACCOUNTS_ARGON2=m=8,t=1,p=1")
	data := filepath.Join(c.dir, "data")
	c.add("nats-server", "usher", "dev", "--http", c.gateway, "--ops", c.ledger, "--nats", broker, "--data", data)
	usher := c.processes["nats-server"]
	usher.start(t)
	t.Cleanup(c.stop)
	ready := func() bool { return c.ready(c.gateway) && c.ready(c.ledger) }
	c.eventually(60*time.Second, "it is ready", ready)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	loaded := make(chan []accepted, 1)
	go func() {
		all, _ := c.load(ctx, scale(t, 1000))
		loaded <- all
	}()
	for range scale(t, 20) {
		<-time.After(time.Duration(200+rand.IntN(400)) * time.Millisecond)
		usher.signal(syscall.SIGKILL)
		usher.start(t)
		c.eventually(60*time.Second, "it is ready again", ready)
	}
	all := <-loaded
	b, _ := c.bus()
	c.verify(all, c.complete(b, all, 60*time.Second))
}

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
