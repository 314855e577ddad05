package bus

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/freeport"
)

// The test binary is also a broker, in a process of its own so that it can be killed: "broker
// PORT DIR" runs it.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "broker" {
		runBroker(os.Args[2], os.Args[3])
	}
	os.Exit(m.Run())
}

func runBroker(port, dir string) {
	n, err := strconv.Atoi(port)
	if err != nil {
		os.Exit(2)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: dir, NoSigs: true})
	if err != nil {
		os.Exit(2)
	}
	s.Start()
	select {}
}

func pidFile(dir string) string { return filepath.Join(dir, "pid") }

func killBroker(dir string) error {
	raw, err := os.ReadFile(pidFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(raw))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

func restartBroker(port, dir string) error {
	if err := killBroker(dir); err != nil {
		return err
	}
	for dialable(port) {
		<-time.After(10 * time.Millisecond)
	}
	broker := exec.Command(os.Args[0], "broker", port, dir)
	broker.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := broker.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(pidFile(dir), []byte(strconv.Itoa(broker.Process.Pid)), 0o600); err != nil {
		return err
	}
	for range 500 {
		if dialable(port) {
			return nil
		}
		<-time.After(20 * time.Millisecond)
	}
	return errors.New("broker did not start")
}

func dialable(port string) bool {
	c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// newPubSub starts a broker that restart kills and starts again. Subscribers of a group share
// the messages.
func newPubSub(t *testing.T) (inGroup tests.ConsumerGroupPubSubConstructor, restart func() error) {
	t.Helper()
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	if err := restartBroker(port, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = killBroker(dir) })

	nc, err := Connect("nats://127.0.0.1:"+port, "conformance", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "TEST", Subjects: []string{"conformance.*"}}); err != nil {
		t.Fatal(err)
	}
	inGroup = func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		bind := func(ctx context.Context, topic string) (jetstream.Consumer, int, error) {
			c, err := js.CreateOrUpdateConsumer(ctx, "TEST", jetstream.ConsumerConfig{
				Durable: group + strings.ReplaceAll(topic, ".", "_"), FilterSubject: topic,
				AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: 100,
			})
			return c, 100, err
		}
		return NewPublisher(js), &initialized{NewSubscriber(bind, quiet), bind}
	}
	return inGroup, func() error { return restartBroker(port, dir) }
}

// TestPublisherAndSubscriberConform runs watermill's suite for every Pub/Sub, but for its
// TestReconnect, whose bookkeeping races (watermill 1.5.1): the test below takes its place.
func TestPublisherAndSubscriberConform(t *testing.T) {
	inGroup, _ := newPubSub(t)
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:    true,
		Persistent:        true,
		GenerateTopicFunc: func(c tests.TestContext) string { return "conformance." + string(c.TestID) },
	}, func(t *testing.T) (message.Publisher, message.Subscriber) { return inGroup(t, "default_") }, inGroup)
}

func TestWhatWasPublishedIsDeliveredThoughTheBrokerIsKilled(t *testing.T) {
	const count, publishers, topic = 6000, 100, "conformance.kills"
	inGroup, restart := newPubSub(t)
	publisher, subscriber := inGroup(t, "kills_")
	if err := subscriber.(message.SubscribeInitializer).SubscribeInitialize(topic); err != nil {
		t.Fatal(err)
	}
	messages, err := subscriber.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var next, done atomic.Int64
	var publishing sync.WaitGroup
	for range publishers {
		publishing.Go(func() {
			for n := next.Add(1); n <= count; n = next.Add(1) {
				for publisher.Publish(topic, message.NewMessage(strconv.FormatInt(n, 10), []byte("x"))) != nil {
					<-time.After(50 * time.Millisecond) // unknown whether it is stored: again
				}
				done.Add(1)
			}
		})
	}
	for _, kill := range []int64{count / 3, count / 2} {
		for done.Load() < kill {
			<-time.After(time.Millisecond)
		}
		if err := restart(); err != nil {
			t.Fatal(err)
		}
	}
	delivered := map[string]bool{}
	for deadline := time.After(2 * time.Minute); len(delivered) < count; {
		select {
		case m := <-messages:
			delivered[m.UUID] = true
			m.Ack()
		case <-deadline:
			t.Fatalf("%d of %d are delivered, %d published", len(delivered), count, done.Load())
		}
	}
	publishing.Wait()
	for n := range count {
		if !delivered[strconv.Itoa(n+1)] {
			t.Errorf("message %d is not delivered", n+1)
		}
	}
	if err := subscriber.Close(); err != nil {
		t.Error(err)
	}
}

// initialized makes the consumer of a topic when the suite asks for it; in the product only
// Topology.Apply makes consumers.
type initialized struct {
	*Subscriber
	create Bind
}

func (s *initialized) SubscribeInitialize(topic string) error {
	_, _, err := s.create(context.Background(), topic)
	return err
}
