//go:build process

package usher

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/evidence"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/ledger"
)

// Bars for 100,000 events; a smaller part of them has the same part of the time, but at least a second.
const (
	feedReplayBar = 20 * time.Second
	feedVerifyBar = 10 * time.Second
	feedBarEvents = 100_000
)

// largeFeed is a ledger over a broker, to which the test publishes what services would.
type largeFeed struct {
	t    *testing.T
	ops  string
	js   jetstream.JetStream
	logs *lockedBuffer
}

func startLargeFeed(t *testing.T) *largeFeed {
	t.Helper()
	dir := t.TempDir()
	broker, err := StartBroker("127.0.0.1:0", filepath.Join(dir, "nats"), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	if err := keys.Generate(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	f := &largeFeed{t: t, ops: freeAddr(t), logs: &lockedBuffer{}}
	settings := map[string]string{"NATS_URL": broker.URL(), "STORE_URL": "sqlite://" + filepath.Join(dir, "store"), "USHER_KEYS": filepath.Join(dir, "keys"), "LEDGER_ADDR": f.ops}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, app.Options{Getenv: func(name string) string { return settings[name] }, Setup: true, Output: f.logs,
			Tokens: map[string]tenant.Principal{testToken: {Subject: "auditor", Tenants: []string{tenant.AllTenants}, Roles: []tenant.Role{tenant.Compliance}}}}, ledger.Service)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	f.eventually("the ledger is ready", func() bool { return ready("http://" + f.ops + "/readyz") })
	nc, err := nats.Connect(broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if f.js, err = jetstream.NewWithDomain(nc, bus.Domain, jetstream.WithPublishAsyncMaxPending(1024)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_URL", broker.URL())
	t.Setenv("USHER_TOKEN", testToken)
	return f
}

func (f *largeFeed) eventually(what string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("still not: %s\n%s", what, f.logs)
		}
	}
}

// publish stores the events of registrations from one number to another, five each and those of
// several registrations mixed.
func (f *largeFeed) publish(from, to int) {
	f.t.Helper()
	carried := events.Carried{Channel: "native", UserID: "u", PersonID: "p", Vault: 7, MAC: "m", Config: "c"}
	history := []events.Event{
		events.Requested{Carried: carried}, events.Validated{Carried: carried, Versions: events.Versions{Config: "c"}},
		events.Categorized{Carried: carried, Assessment: events.Assessment{Case: 1, Level: "LOW"}, Category: events.Category{ID: "cat"}},
		events.AccountCreated{Carried: carried, Epoch: 1, ValiditySeconds: 86400}, events.ActivationSent{Cause: "created", Epoch: 1},
	}
	const mixed = 20
	for first := from; first < to; first += mixed {
		for _, e := range history {
			for i := first; i < min(first+mixed, to); i++ {
				r := events.Record{Subject: events.SubjectOf(cloudVault, fmt.Sprint("r", i), e), Source: events.Gateway, Time: time.Now(), Event: e}
				header, data, err := r.Encode()
				if err != nil {
					f.t.Fatal(err)
				}
				if _, err := f.js.PublishMsgAsync(&nats.Msg{Subject: r.Subject.String(), Header: header, Data: data}, jetstream.WithStallWait(time.Minute)); err != nil {
					f.t.Fatal(err)
				}
			}
		}
	}
	<-f.js.PublishAsyncComplete()
}

func (f *largeFeed) last() uint64 {
	s, err := f.js.Stream(f.t.Context(), bus.FeedStream(cloudVault))
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.LastSeq
}

// histories are the events of registrations in the order in which somebody was given them.
type histories map[string][]string

func (h histories) add(id string) {
	if s, err := events.ParseSubject(id); err == nil && s.Registration != "" {
		h[s.Registration] = append(h[s.Registration], id)
	}
}

// take takes n events of registrations as a subscriber.
func (f *largeFeed) take(name string, n int, into histories) {
	f.t.Helper()
	c, err := f.js.Consumer(f.t.Context(), bus.FeedStream(cloudVault), name)
	if err != nil {
		f.t.Fatal(err)
	}
	messages, err := c.Messages()
	if err != nil {
		f.t.Fatal(err)
	}
	defer messages.Stop()
	for taken := 0; taken < n; {
		m, err := messages.Next()
		if err != nil {
			f.t.Fatal(err)
		}
		id := m.Headers().Get("ce-id")
		if into.add(id); strings.HasPrefix(id, "reg.") {
			taken++
		}
		if taken == n {
			err = m.DoubleAck(f.t.Context())
		} else {
			err = m.Ack()
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// stopwatch is a moment, and the processor time that this process had used by then.
type stopwatch struct {
	at  time.Time
	cpu time.Duration
}

func startStopwatch() stopwatch {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return stopwatch{time.Now(), time.Duration(used.Utime.Nano() + used.Stime.Nano())}
}

// within holds what has happened since to its bar. Where others use the machine, the processor time
// of reader, ledger and broker together counts, which is more than they take alone.
func (f *largeFeed) within(what string, n int, bar time.Duration, began stopwatch) {
	f.t.Helper()
	took, cpu := time.Since(began.at), startStopwatch().cpu-began.cpu
	f.t.Logf("%s: %d events in %v, %.0f/s; processor %v", what, n, took.Round(time.Millisecond), float64(n)/took.Seconds(), cpu.Round(time.Millisecond))
	if limit := max(time.Duration(float64(bar)*float64(n)/feedBarEvents), time.Second); min(took, cpu) > limit {
		f.t.Errorf("%s took %v, and of the processor %v, more than %v", what, took, cpu, limit)
	}
}

func TestALargeFeedIsReplayedProvenAndTheSameForEverybody(t *testing.T) {
	f := startLargeFeed(t)
	registrations := scale(t, feedBarEvents) / 5
	n := 5 * registrations
	for name, inFlight := range map[string]string{"offline": "1", "zero": "256"} {
		if said, code := says(t, "subscribers", "add", cloudVault, name, "--in-flight", inFlight, "--ack-wait=1s"); code != 0 {
			t.Fatal(said)
		}
	}
	// One subscriber reads a little, and is away for the rest of the run.
	offline, zero, overHTTP := histories{}, histories{}, histories{}
	began := startStopwatch()
	f.publish(0, registrations/100+20)
	early := 5*(registrations/100+20) - 3
	f.take("offline", early, offline)
	f.publish(registrations/100+20, registrations)
	f.eventually("the feed has all", func() bool { return f.last() >= uint64(n) })
	f.eventually("all of it is signed", func() bool {
		s, err := f.js.Stream(t.Context(), bus.Tenants)
		return err == nil && s.CachedInfo().State.Msgs >= uint64(n/evidence.Span)
	})
	f.eventually("the ledger has read all", func() bool {
		c, err := f.js.Consumer(t.Context(), bus.Registrations, "ledger-all")
		return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0
	})
	t.Logf("%d events are stored, read and signed after %v", n, time.Since(began.at).Round(time.Millisecond))

	began = startStopwatch()
	read := 0
	desk := feedDesk{ledgerDesk{Ops: "http://" + f.ops, access: access{Token: testToken, Tenant: cloudVault}}}
	if err := desk.follow(t.Context(), "feed", "", func(e evidence.Event) error { read++; overHTTP.add(e.Attributes["id"]); return nil }); err != nil {
		t.Fatal(err)
	}
	f.within("replay over HTTP", read, feedReplayBar, began)
	began = startStopwatch()
	f.take("zero", n, zero)
	f.within("replay over NATS", n, feedReplayBar, began)
	f.take("offline", n-early, offline)
	for name, got := range map[string]histories{"from zero": zero, "offline for the run": offline} {
		if len(got) != registrations || len(overHTTP) != registrations {
			t.Fatalf("%s has %d registrations, over HTTP %d, of %d", name, len(got), len(overHTTP), registrations)
		}
		for id, history := range got {
			if !slices.Equal(history, overHTTP[id]) {
				t.Fatalf("%s has of %s %v, over HTTP %v", name, id, history, overHTTP[id])
			}
		}
	}

	ops, of := "--ops=http://"+f.ops, "--tenant="+cloudVault
	began = startStopwatch()
	if said, code := audit(t, "verify", ops, of); code != 0 {
		t.Fatal(said)
	}
	f.within("audit verify of the feed", n, feedVerifyBar, began)
	file := filepath.Join(t.TempDir(), "feed.ndjson")
	if said, code := audit(t, "export", ops, of, "--out="+file); code != 0 {
		t.Fatal(said)
	}
	began = startStopwatch()
	if said, code := audit(t, "verify", file); code != 0 {
		t.Fatal(said)
	}
	f.within("audit verify of a file", n, feedVerifyBar, began)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	at := n / 2
	for name, changed := range map[string][][]byte{
		"is missing":                        slices.Concat(lines[:at], lines[at+1:]),
		"stands in the wrong pl":            slices.Concat(lines[:at], lines[at+1:at+2], lines[at:at+1], lines[at+2:]),
		fmt.Sprintf("(reg.%s.", cloudVault): slices.Concat(lines[:at], [][]byte{altered(lines[at])}, lines[at+1:]),
	} {
		if err := os.WriteFile(file, bytes.Join(changed, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		if said, code := audit(t, "verify", file); code != 1 || !strings.Contains(said, fmt.Sprintf("event %d", at)) || !strings.Contains(said, name) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
}
