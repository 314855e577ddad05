//go:build process

package usher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
)

func TestNothingAcknowledgedIsLostOrDoubledWhateverIsKilled(t *testing.T) {
	c := startCluster(t, map[string]int{"validator": 2, "accounts": 2})
	want, kills := scale(t, 3000), max(scale(t, 60), 2*len(c.processes))
	all, retries := c.loadUnderKills(want, kills)
	if len(all) != want || retries == 0 {
		t.Fatalf("the run proves nothing: %d of %d accepted, %d retries", len(all), want, retries)
	}
	c.audit(all, 60*time.Second)
}

// killEvery is how often a process is killed, while customers register.
const killEvery = 200 * time.Millisecond

// loadUnderKills registers n customers while at least so many processes are killed.
func (c *cluster) loadUnderKills(n, kills int) (all []accepted, retries int) {
	c.t.Helper()
	killing, stop := context.WithCancel(c.t.Context())
	defer stop()
	killed := make(chan int, 1)
	var so atomic.Int64
	go func() { killed <- c.kill(killing, killEvery, &so) }()
	loading, cancel := context.WithTimeout(c.t.Context(), 8*time.Minute)
	defer cancel()
	started := time.Now()
	all, retries = c.load(loading, n, 3*killEvery/2*time.Duration(kills)/time.Duration(n))
	c.eventually(3*time.Minute, "enough was killed", func() bool { return so.Load() >= int64(kills) })
	stop()
	c.t.Logf("%d accepted in %v, %d client retries, %d kills", len(all), time.Since(started).Round(time.Second), retries, <-killed)
	return all, retries
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
	c := &cluster{t: t, dir: t.TempDir(), bin: bin, gateway: freeAddr(t), ledger: freeAddr(t), processes: map[string]*process{}, report: t.Errorf}
	broker := freeAddr(t)
	c.natsURL = "nats://" + broker
	c.env = append(os.Environ(), "USHER_DEV_TOKEN="+testToken, "ACCOUNTS_INSECURE_HASH=true", "ACCOUNTS_ARGON2=m=8,t=1,p=1")
	data := filepath.Join(c.dir, "data")
	c.add("nats-server", "usher", "dev", "--http", c.gateway, "--ops", c.ledger, "--nats", broker, "--data", data, "--store", documents(c.dir))
	usher := c.processes["nats-server"]
	usher.start(t)
	t.Cleanup(c.stop)
	ready := func() bool { return c.ready(c.gateway) && c.ready(c.ledger) }
	c.eventually(60*time.Second, "it is ready", ready)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	loaded := make(chan []accepted, 1)
	go func() {
		all, _ := c.load(ctx, scale(t, 1000), 8*time.Millisecond)
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
