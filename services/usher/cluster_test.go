//go:build process

package usher

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/usher/mailsink"
)

// These tests run the real binaries on three brokers with the configuration of
// deployments/nats: TLS, a user of its own for each service, and every write on disk before it
// is acknowledged.

// observer is a user of the tests only, who may do everything, to look from outside.
const observer = "observer"

// replicated is the project's processes on a cluster of three brokers.
type replicated struct {
	*cluster
	nodes []*node
	links []*link
	bus   *bus.Bus
	conn  *nats.Conn
}

// node is one broker.
type node struct {
	name, client, route, monitor string
	*process
	js jetstream.JetStream // the observer's, by this node only
}

// link carries what one node sends to another, and its answers, on the routes that the first
// opens. While its cable is held nothing arrives and nothing is closed: what was sent waits, as
// TCP sends it again until the cable is back.
type link struct {
	from, to int
	address  string
	cable    sync.RWMutex
}

// carry relays to an address until the listener is closed.
func (l *link) carry(listener net.Listener, address string) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", address)
		if err != nil {
			from.Close()
			continue
		}
		go l.pump(from, to)
		go l.pump(to, from)
	}
}

func (l *link) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		l.cable.RLock()
		if n > 0 && err == nil {
			_, err = to.Write(buffer[:n])
		}
		l.cable.RUnlock()
		if err != nil {
			return
		}
	}
}

func startReplicated(t *testing.T, replicas map[string]int) *replicated {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	r := &replicated{cluster: &cluster{
		t: t, dir: t.TempDir(), bin: bin, gateway: freeAddr(t), ledger: freeAddr(t), processes: map[string]*process{}, report: t.Errorf,
	}}
	t.Cleanup(r.stop)
	for _, name := range []string{"n1", "n2", "n3"} {
		r.nodes = append(r.nodes, &node{name: name, client: freeAddr(t), route: freeAddr(t), monitor: freeAddr(t)})
	}
	r.connectNodes()
	r.configure()
	for _, n := range r.nodes {
		n.process = r.addAs(n.name, "", "nats-server", "-c", filepath.Join(r.dir, n.name+".conf"))
		n.start(t)
	}
	r.eventually(60*time.Second, "the brokers are a cluster", r.healthy)
	r.observe()
	// The first stream waits for the cluster to elect who decides about streams.
	var applied error
	if !within(60*time.Second, func() bool { applied = r.runAs(bus.TopologyUser, "topology", "apply"); return applied == nil }) {
		t.Fatal(applied)
	}
	for _, s := range events.Services {
		for i := range max(replicas[string(s)], 1) {
			r.addAs(fmt.Sprintf("%s-%d", s, i+1), string(s), string(s)).start(t)
		}
	}
	r.eventually(60*time.Second, "the gateway and the ledger are ready", func() bool { return r.ready(r.gateway) && r.ready(r.ledger) })
	return r
}

// connectNodes puts a link on the way from each node to each other.
func (r *replicated) connectNodes() {
	r.t.Helper()
	for from := range r.nodes {
		for to, n := range r.nodes {
			if from == to {
				continue
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				r.t.Fatal(err)
			}
			r.t.Cleanup(func() { listener.Close() })
			l := &link{from: from, to: to, address: listener.Addr().String()}
			go l.carry(listener, n.route)
			r.links = append(r.links, l)
		}
	}
}

// configure writes what an operator would: certificates, passwords, the shipped configuration
// with this machine's addresses, tenants and keys.
func (r *replicated) configure() {
	r.t.Helper()
	var err error
	if r.sink, err = mailsink.Start(filepath.Join(r.dir, "mail")); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.sink.Close() })
	certificates := exec.Command("../../deployments/nats/certificates.sh", filepath.Join(r.dir, "tls"), "n1", "n2", "n3")
	if out, err := certificates.CombinedOutput(); err != nil {
		r.t.Fatalf("certificates: %v\n%s", err, out)
	}
	r.mustRun("usher", "topology", "passwords", r.dir)
	r.write(observer+".password", "secret")
	hashes, err := os.ReadFile(filepath.Join(r.dir, "passwords.conf"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("passwords.conf", fmt.Sprintf("%s%s: secret\n", hashes, bus.PasswordVariable(observer)))
	r.write("authorization.conf", bus.Authorization(append(bus.Users(), bus.User{Name: observer, Publish: []string{">"}, Subscribe: []string{">"}})))
	shipped, err := os.ReadFile("../../deployments/nats/nats.conf")
	if err != nil {
		r.t.Fatal(err)
	}
	for i, n := range r.nodes {
		r.write(n.name+".conf", r.nodeConfig(string(shipped), i, n))
	}
	demo, err := os.ReadFile("../../pkg/tenant/demo.yaml")
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("tenants.yaml", configuration(strings.Replace(string(demo), "broker:\n", "broker:\n  replicas: 3\n", 1)))
	if err := keys.Generate(filepath.Join(r.dir, "keys")); err != nil {
		r.t.Fatal(err)
	}
	r.env = append(os.Environ(), "STORE_URL="+documents(r.dir), "NATS_CA="+filepath.Join(r.dir, "tls", "ca.crt"),
		"USHER_CONFIG="+filepath.Join(r.dir, "tenants.yaml"), "USHER_KEYS="+filepath.Join(r.dir, "keys"),
		"GATEWAY_ADDR="+r.gateway, "LEDGER_ADDR="+r.ledger, "SMTP_URL=smtp://"+r.sink.Addr(), "PUBLIC_URL=http://"+r.gateway,
		"ACCOUNTS_INSECURE_HASH=true", "ACCOUNTS_ARGON2=m=8,t=1,p=1")
}

// nodeConfig is the shipped configuration with a node's addresses. The others learn an address
// of it where nobody listens, so that its links are the only way.
func (r *replicated) nodeConfig(shipped string, i int, n *node) string {
	r.t.Helper()
	pairs := []string{
		`$NATS_NAME`, n.name, `"0.0.0.0:4222"`, n.client, `"127.0.0.1:8222"`, n.monitor,
		`listen: "0.0.0.0:6222"`, "listen: " + n.route + "\n  advertise: \"127.0.0.1:9\"",
		`/etc/nats/tls`, filepath.Join(r.dir, "tls", n.name), `"/data"`, fmt.Sprintf("%q", filepath.Join(r.dir, "streams", n.name)),
	}
	for _, l := range r.links {
		if l.from == i {
			pairs = append(pairs, fmt.Sprintf("nats-route://n%d:6222", l.to+1), "nats-route://"+l.address)
		}
	}
	pairs = append(pairs, fmt.Sprintf("nats-route://n%d:6222", i+1), "nats-route://"+n.route)
	for p := 0; p < len(pairs); p += 2 {
		if !strings.Contains(shipped, pairs[p]) {
			r.t.Fatalf("deployments/nats/nats.conf has no %s", pairs[p])
		}
	}
	return strings.NewReplacer(pairs...).Replace(shipped)
}

// urlAs is where a user finds the brokers.
func (r *replicated) urlAs(user string, nodes ...*node) string {
	password, err := os.ReadFile(filepath.Join(r.dir, user+".password"))
	if err != nil {
		r.t.Fatal(err)
	}
	var urls []string
	for _, n := range nodes {
		urls = append(urls, fmt.Sprintf("tls://%s:%s@%s", user, password, n.client))
	}
	return strings.Join(urls, ",")
}

// addAs adds a process that is a user of the brokers, or none.
func (r *replicated) addAs(name, user, binary string, args ...string) *process {
	r.t.Helper()
	r.add(name, binary, args...)
	p := r.processes[name]
	if user != "" {
		url := r.urlAs(user, r.nodes...)
		p.command = func() *exec.Cmd {
			command := exec.Command(filepath.Join(r.bin, binary), args...)
			command.Env = append(slices.Clone(r.env), "NATS_URL="+url)
			return command
		}
	}
	return p
}

// runAs runs a command of the operator's tool.
func (r *replicated) runAs(user string, args ...string) error {
	command := exec.Command(filepath.Join(r.bin, "usher"), args...)
	command.Env = append(slices.Clone(r.env), "NATS_URL="+r.urlAs(user, r.nodes...))
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("usher %v: %w\n%s", args, err, out)
	}
	return nil
}

// observe connects the test to all nodes and to each.
func (r *replicated) observe() {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	connect := func(nodes ...*node) *nats.Conn {
		nc, err := bus.Connect(r.urlAs(observer, nodes...), observer, log, nats.RootCAs(filepath.Join(r.dir, "tls", "ca.crt")), nats.IgnoreDiscoveredServers())
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(nc.Close)
		r.eventually(30*time.Second, "the test is connected", nc.IsConnected)
		return nc
	}
	var err error
	for _, n := range r.nodes {
		if n.js, err = jetstream.New(connect(n)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.conn = connect(r.nodes...)
	if r.bus, err = bus.New(bus.Config{Service: events.Ledger, Conn: r.conn, Log: log, Tracer: tracenoop.NewTracerProvider(), Meter: noop.NewMeterProvider()}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *replicated) stop() {
	for _, p := range r.processes {
		if p.running != nil {
			p.signal(syscall.SIGKILL)
		}
	}
	for name := range r.processes {
		if raw, _ := os.ReadFile(filepath.Join(r.dir, name+".log")); r.t.Failed() {
			r.t.Logf("end of the log of %s:\n%s", name, raw[max(0, len(raw)-1500):])
		}
	}
}

// healthy reports whether every broker has caught up with its streams and consumers.
func (r *replicated) healthy() bool {
	return !slices.ContainsFunc(r.nodes, func(n *node) bool {
		response, err := http.Get("http://" + n.monitor + "/healthz")
		if err != nil {
			return true
		}
		response.Body.Close()
		return response.StatusCode != http.StatusOK
	})
}

// leader asks the nodes but one who leads the stream of registrations; nil where none of them
// knows one.
func (r *replicated) leader(except *node) *node {
	for _, n := range r.nodes {
		if n == except {
			continue
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
		s, err := n.js.Stream(ctx, bus.Registrations)
		cancel()
		if err != nil || s.CachedInfo().Cluster == nil {
			continue
		}
		if i := slices.IndexFunc(r.nodes, func(n *node) bool { return n.name == s.CachedInfo().Cluster.Leader }); i >= 0 {
			return r.nodes[i]
		}
	}
	return nil
}

// dethrone waits until the brokers have another leader than the one that a fault hit.
func (r *replicated) dethrone(old *node) {
	r.t.Helper()
	r.eventually(60*time.Second, "there is another leader than "+old.name, func() bool {
		now := r.leader(old)
		return now != nil && now != old
	})
}

// tell sends a signal that does not end the process.
func (p *process) tell(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.running.Process.Signal(s)
}

// cut holds the cables between a node and the others. join gives them back.
func (r *replicated) cut(n *node) (join func()) {
	i := slices.Index(r.nodes, n)
	var cut []*link
	for _, l := range r.links {
		if l.from == i || l.to == i {
			l.cable.Lock()
			cut = append(cut, l)
		}
	}
	return func() {
		for _, l := range cut {
			l.cable.Unlock()
		}
	}
}

// fault is something that goes wrong; inject returns once it is mended, with the time of that
// and what happened.
type fault struct {
	name   string
	inject func(r *replicated) (mended time.Time, what string)
}

// A leader is held down until the others have elected another, so that no fault passes unnoticed.
var faults = []fault{
	{"the leader is killed", func(r *replicated) (time.Time, string) {
		old := r.mustLead()
		old.signal(syscall.SIGKILL)
		r.dethrone(old)
		r.linger()
		old.start(r.t)
		return time.Now(), old.name
	}},
	{"a service is killed", killService},
	{"the leader stands still", func(r *replicated) (time.Time, string) {
		old := r.mustLead()
		old.tell(syscall.SIGSTOP)
		defer old.tell(syscall.SIGCONT)
		r.dethrone(old)
		r.linger()
		return time.Now(), old.name
	}},
	{"the leader is cut off", func(r *replicated) (time.Time, string) {
		old := r.mustLead()
		join := r.cut(old)
		defer join()
		r.dethrone(old)
		r.linger()
		return time.Now(), old.name
	}},
	{"the brokers restart one after another", func(r *replicated) (time.Time, string) {
		for _, n := range r.nodes {
			n.signal(syscall.SIGTERM)
			n.start(r.t)
			r.eventually(60*time.Second, "the brokers are healthy after a restart of "+n.name, r.healthy)
		}
		return time.Now(), "n1, n2, n3"
	}},
}

func (r *replicated) mustLead() (leader *node) {
	r.t.Helper()
	r.eventually(60*time.Second, "there is a leader", func() bool { leader = r.leader(nil); return leader != nil })
	return leader
}

// linger lets a fault last.
func (r *replicated) linger() { pause(r.t.Context(), time.Duration(rand.Int64N(int64(3*time.Second)))) }

func killService(r *replicated) (time.Time, string) {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(r.processes)), func(name string) bool {
		return slices.ContainsFunc(r.nodes, func(n *node) bool { return n.name == name })
	})
	p := r.processes[names[rand.IntN(len(names))]]
	p.signal(syscall.SIGKILL)
	r.linger()
	p.start(r.t)
	return time.Now(), p.name
}

// recoveryLimit is the promise: how long after a fault is mended until a registration goes all the way.
const recoveryLimit = 30 * time.Second

func TestThreeBrokersLoseAndDoubleNothingWhateverFails(t *testing.T) {
	r := startReplicated(t, map[string]int{"validator": 2, "accounts": 2})
	want, rounds := scale(t, 5000), scale(t, 10)
	in := r.intake(want)
	r.eventually(60*time.Second, "registrations are accepted", func() bool { return in.accepted.Load() > 0 })
	var (
		probes  []accepted
		slowest time.Duration
		during  int64
	)
	for i := range rounds * len(faults) {
		f := faults[i%len(faults)]
		before := in.accepted.Load()
		mended, what := f.inject(r)
		meanwhile := in.accepted.Load() - before
		during += meanwhile
		a, ok := r.probe(r.bus, i, 4*recoveryLimit)
		took := time.Since(mended)
		slowest = max(slowest, took)
		if !ok || took > recoveryLimit {
			t.Errorf("%s (%s): a registration went all the way %v: %v after it was mended", f.name, what, ok, took)
		}
		probes = append(probes, a)
		r.eventually(2*time.Minute, "the brokers are healthy again", r.healthy)
		t.Logf("%d of %d: %s (%s): %d accepted meanwhile, recovered in %v; %d accepted in all",
			i+1, rounds*len(faults), f.name, what, meanwhile, took.Round(10*time.Millisecond), in.accepted.Load())
	}
	all := append(in.stop(), probes...)
	t.Logf("%d accepted, %d of them during faults, %d client retries, slowest recovery %v", len(all), during, in.retries.Load(), slowest.Round(10*time.Millisecond))
	if len(all) < want || during == 0 || in.retries.Load() == 0 {
		t.Fatalf("the run proves nothing: %d of %d accepted, %d of them during faults, %d retries", len(all), want, during, in.retries.Load())
	}
	r.auditReplicated(all)
}

// auditReplicated checks the promise, and that the brokers agree and refused nobody anything.
func (r *replicated) auditReplicated(all []accepted) {
	r.t.Helper()
	histories := r.complete(r.bus, all, 2*time.Minute)
	r.verify(all, histories)
	r.verifySubjects(r.conn)
	r.verifyMails(all, histories)
	r.verifyQueues(r.conn)
	r.describeQueues()
	r.verifyActivation(all, histories)
	r.verifyReplicas()
	r.verifyPermissions()
}

// describeQueues logs what the brokers say of each consumer that is not empty.
func (r *replicated) describeQueues() {
	r.t.Helper()
	for _, c := range bus.Consumers() {
		for _, n := range r.nodes {
			found, err := n.js.Consumer(r.t.Context(), c.Stream, c.Name)
			if err != nil {
				r.t.Logf("%s, asked at %s: %v", c.Name, n.name, err)
				continue
			}
			if i := found.CachedInfo(); i.NumPending+uint64(i.NumAckPending) > 0 {
				r.t.Logf("%s, asked at %s: %d to deliver, %d unacknowledged, %d redelivered, %d pulls wait, delivered %+v, acknowledged %+v, led by %s",
					c.Name, n.name, i.NumPending, i.NumAckPending, i.NumRedelivered, i.NumWaiting, i.Delivered, i.AckFloor, i.Cluster.Leader)
			}
		}
	}
}

// verifyReplicas checks that all brokers hold the same of each stream, and none lacks anything. One that
// was killed can come back with an entry of the vault of which it had applied the deletion and not kept
// it: at most one broker may have more of that stream.
func (r *replicated) verifyReplicas() {
	r.t.Helper()
	var held []map[string]contents
	same := within(2*time.Minute, func() bool {
		held = nil
		for _, n := range r.nodes {
			streams, err := n.streams()
			if err != nil {
				return false
			}
			held = append(held, streams)
		}
		return agree(held)
	})
	if !same {
		r.report("the brokers differ: %v", held)
	}
}

// contents is what a broker holds of a stream.
type contents struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	LastSeq  uint64 `json:"last_seq"`
}

func agree(held []map[string]contents) bool {
	for name := range held[0] {
		var all []contents
		for _, of := range held {
			all = append(all, of[name])
		}
		slices.SortFunc(all, func(a, b contents) int { return cmp.Compare(a.Messages, b.Messages) })
		if name == vault.Stream && all[2].LastSeq == all[0].LastSeq {
			all = all[:2]
		}
		if len(slices.Compact(all)) > 1 {
			return false
		}
	}
	return len(held[0]) == len(held[1]) && len(held[0]) == len(held[2])
}

func TestBrokersAgreeUnlessOneLacksSomething(t *testing.T) {
	of := func(messages, last uint64) contents { return contents{messages, 100 * messages, last} }
	for name, c := range map[string]struct {
		stream string
		held   []contents
		want   bool
	}{
		"all hold the same":                        {bus.Registrations, []contents{of(5, 9), of(5, 9), of(5, 9)}, true},
		"one lacks an event":                       {bus.Registrations, []contents{of(5, 9), of(4, 9), of(5, 9)}, false},
		"one has an event more":                    {bus.Registrations, []contents{of(5, 9), of(6, 9), of(5, 9)}, false},
		"one has a deleted entry of the vault":     {vault.Stream, []contents{of(5, 9), of(6, 9), of(5, 9)}, true},
		"one lacks an entry of the vault":          {vault.Stream, []contents{of(5, 9), of(4, 9), of(5, 9)}, false},
		"one has not seen the vault's last entry":  {vault.Stream, []contents{of(5, 9), of(5, 8), of(5, 9)}, false},
		"two have each a deleted one of the vault": {vault.Stream, []contents{of(5, 9), of(6, 9), of(7, 9)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var held []map[string]contents
			for _, h := range c.held {
				held = append(held, map[string]contents{c.stream: h})
			}
			if got := agree(held); got != c.want {
				t.Errorf("agree is %v", got)
			}
		})
	}
}

// streams tells what a broker holds of the streams that the services write to.
func (n *node) streams() (map[string]contents, error) {
	response, err := http.Get("http://" + n.monitor + "/jsz?streams=true")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Accounts []struct {
			Streams []struct {
				Name  string   `json:"name"`
				State contents `json:"state"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	held := map[string]contents{}
	for _, a := range answer.Accounts {
		for _, s := range a.Streams {
			held[s.Name] = s.State
		}
	}
	if len(held) < 5 {
		return nil, fmt.Errorf("%s holds only %v", n.name, held)
	}
	return held, nil
}

// verifyPermissions checks that no broker refused a user anything.
func (r *replicated) verifyPermissions() {
	r.t.Helper()
	for _, n := range r.nodes {
		raw, err := os.ReadFile(filepath.Join(r.dir, n.name+".log"))
		if err != nil {
			r.t.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			if bytes.Contains(line, []byte("Violation")) || bytes.Contains(line, []byte("authentication error")) {
				r.report("%s refused: %s", n.name, line)
			}
		}
	}
}

func TestEachServiceNeedsNoMoreThanItsOwnUserMay(t *testing.T) {
	r := startReplicated(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all []accepted
	for i := range 40 {
		email := fmt.Sprintf("Permitted.%d@example.com", i/2) // every second is a duplicate
		a, _, err := r.cluster.register(ctx, fmt.Sprintf("permitted-%d", i), email)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	r.auditReplicated(all)
	if err := r.runAs(bus.OperatorUser, "deadletters", "list"); err != nil {
		t.Error(err)
	}
	if err := r.runAs(bus.OperatorUser, "topology", "apply"); err == nil {
		t.Error("the operator's user can change streams")
	}
	response, err := nats.Connect("nats://"+r.nodes[0].client, nats.RootCAs(filepath.Join(r.dir, "tls", "ca.crt")))
	if err == nil {
		response.Close()
		t.Error("one without a password is let in")
	}
}
