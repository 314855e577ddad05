package usher

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/bus"
)

// guardedBroker is a broker with the shipped users, and the directory of their passwords.
type guardedBroker struct {
	t      *testing.T
	dir    string
	server *server.Server
}

func startGuardedBroker(t *testing.T) *guardedBroker {
	t.Helper()
	b := &guardedBroker{t: t, dir: t.TempDir()}
	b.must("topology", "passwords", b.dir)
	shipped, err := os.ReadFile("../../deployments/nats/authorization.conf")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"authorization.conf": string(shipped),
		"nats.conf":          "listen: \"127.0.0.1:-1\"\njetstream {store_dir: \"" + b.dir + "\"}\ninclude authorization.conf\n",
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options, err := server.ProcessConfigFile(filepath.Join(b.dir, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	if b.server, err = server.NewServer(options); err != nil {
		t.Fatal(err)
	}
	b.server.Start()
	t.Cleanup(func() { b.server.Shutdown(); b.server.WaitForShutdown() })
	if !b.server.ReadyForConnections(20 * time.Second) {
		t.Fatal("broker did not start")
	}
	b.as(bus.TopologyUser)
	b.must("topology", "apply")
	return b
}

// must runs a command that succeeds.
func (b *guardedBroker) must(args ...string) string {
	b.t.Helper()
	said, code := says(b.t, args...)
	if code != 0 {
		b.t.Fatalf("usher %v: %d %s", args, code, said)
	}
	return said
}

// says runs a command and returns all that it said.
func says(t *testing.T, args ...string) (said string, code int) {
	t.Helper()
	var out bytes.Buffer
	code = execute(t.Context(), args, &out, &out)
	return out.String(), code
}

// as sets who connects next.
func (b *guardedBroker) as(user string) { b.t.Setenv("NATS_URL", b.address(user)) }

func (b *guardedBroker) address(user string) string {
	b.t.Helper()
	password, err := os.ReadFile(passwordFile(b.dir, user))
	if err != nil {
		b.t.Fatal(err)
	}
	return "nats://" + user + ":" + string(password) + "@" + b.server.Addr().String()
}

// reload does what an operator is told to do.
func (b *guardedBroker) reload() {
	b.t.Helper()
	for range 2 {
		if err := b.server.Reload(); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestASubscriberThatTheCommandAddsReadsUntilTheCommandRemovesIt(t *testing.T) {
	b := startGuardedBroker(t)
	gateway, err := nats.Connect(b.address("gateway"))
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	if err := gateway.Publish("reg."+cloudVault+".r1.requested.1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	b.as(bus.SubscriptionsUser)
	for range 2 { // the second time changes nothing
		b.must("subscribers", "add", cloudVault, "audit", "--dir", b.dir)
	}
	b.must("subscribers", "add", finsei, "audit", "--dir", b.dir, "--new", "--in-flight=1")
	b.reload()
	user := bus.FeedSubscriber{Tenant: cloudVault, Name: "audit"}.User()
	nc, err := nats.Connect(b.address(user), nats.CustomInboxPrefix(bus.InboxPrefix(user)))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.NewWithDomain(nc, bus.Domain)
	if err != nil {
		t.Fatal(err)
	}
	feed, err := js.Consumer(t.Context(), bus.FeedStream(cloudVault), "audit")
	if err != nil {
		t.Fatal(err)
	}
	m, err := feed.Next(jetstream.FetchMaxWait(20 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	list := strings.Fields(b.must("subscribers", "list", "--tenant", cloudVault))
	if len(list) < 10 || list[6] != cloudVault || list[7] != "audit" || list[8] != "1" || list[9] != "0" {
		t.Errorf("the list is %q", list)
	}
	b.must("subscribers", "remove", cloudVault, "audit", "--dir", b.dir)
	b.reload()
	if _, err := os.Stat(passwordFile(b.dir, user)); !os.IsNotExist(err) {
		t.Errorf("its password is still there: %v", err)
	}
	if said := b.must("subscribers", "list"); strings.Contains(said, cloudVault) || !strings.Contains(said, finsei) {
		t.Errorf("the list is then %s", said)
	}
	deadline := time.Now().Add(20 * time.Second)
	for nc.IsConnected() && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if nc.IsConnected() {
		t.Error("it is still connected")
	}
}

func TestARemovalThatLeftTheUserIsCompletedByAnother(t *testing.T) {
	b := startGuardedBroker(t)
	b.as(bus.SubscriptionsUser)
	b.must("subscribers", "add", cloudVault, "audit", "--dir", b.dir)
	b.must("subscribers", "remove", cloudVault, "audit") // without the directory
	b.must("subscribers", "remove", cloudVault, "audit", "--dir", b.dir)
	user := bus.FeedSubscriber{Tenant: cloudVault, Name: "audit"}.User()
	if _, err := os.Stat(passwordFile(b.dir, user)); !os.IsNotExist(err) {
		t.Errorf("its password is still there: %v", err)
	}
	if raw, err := os.ReadFile(filepath.Join(b.dir, "subscribers.conf")); err != nil || strings.Contains(string(raw), user) {
		t.Errorf("its user is still there: %v", err)
	}
	if said, code := says(t, "subscribers", "remove", cloudVault, "audit", "--dir", b.dir); code == 0 || !strings.Contains(said, "has no such subscriber") {
		t.Errorf("once more: %d %s", code, said)
	}
}

func TestWhatASubscriberCannotBe(t *testing.T) {
	b := startGuardedBroker(t)
	b.as(bus.SubscriptionsUser)
	b.must("subscribers", "add", cloudVault, "audit")
	for why, args := range map[string][]string{
		"1 to 32 of a-z":         {"add", cloudVault, "Audit-1"},
		"has no feed":            {"add", "nobody", "audit"},
		"reads in another way":   {"add", cloudVault, "audit", "--in-flight=7"},
		"--in-flight is not":     {"add", cloudVault, "audit", "--in-flight=0"},
		"--ack-wait is not":      {"add", cloudVault, "audit", "--ack-wait=1ms"},
		"has no such subscriber": {"remove", cloudVault, "other"},
	} {
		if said, code := says(t, append([]string{"subscribers"}, args...)...); code == 0 || !strings.Contains(said, why) {
			t.Errorf("%v: %d %s", args, code, said)
		}
	}
}

func TestFilesThatABrokerHasMountedStayTheSameFilesAndReadable(t *testing.T) {
	dir := t.TempDir()
	if said, code := says(t, "topology", "passwords", dir); code != 0 {
		t.Fatal(said)
	}
	files := []string{filepath.Join(dir, "passwords.conf"), filepath.Join(dir, "subscribers.conf")}
	var before []os.FileInfo
	for _, file := range files {
		if err := os.Chmod(file, 0o444); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, info)
	}
	if said, code := says(t, "topology", "passwords", dir); code != 0 {
		t.Fatal(said)
	}
	if err := subscribersFile(dir).change("audit", "audit: here"); err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		after, err := os.Stat(file)
		if err != nil || !os.SameFile(before[i], after) || after.Mode() != before[i].Mode() {
			t.Errorf("%s is another file now, or has mode %v: %v", file, after.Mode(), err)
		}
	}
}

func TestARewritingThatWasCutOffLosesNoSubscriber(t *testing.T) {
	dir := subscribersFile(t.TempDir())
	for _, key := range []string{"a", "b"} {
		if err := dir.change(key, key+": here"); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(string(dir), "subscribers.conf")
	if err := errors.Join(os.WriteFile(file+".new", []byte("a: here\nb: here\n"), 0o600), os.WriteFile(file, []byte("a: he"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := dir.change("c", "c: here"); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); string(content) != "a: here\nb: here\nc: here\n" {
		t.Errorf("%q, %v", content, err)
	}
}
