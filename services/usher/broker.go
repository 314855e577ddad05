package usher

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/usherhq/usher/pkg/bus"
)

// Broker is a real NATS server with JetStream inside this process.
type Broker struct{ server *server.Server }

// StartBroker listens on addr and keeps its streams under dir; what was there before a stop or
// a kill is there again. With sync every write is on disk before it is acknowledged.
func StartBroker(addr, dir string, sync bool) (*Broker, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("broker address: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("broker address: port is not a number")
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make broker directory: %w", err)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "usher", Host: host, Port: port, JetStream: true, StoreDir: dir,
		JetStreamMaxStore: 1 << 40, JetStreamMaxMemory: 1 << 28, SyncAlways: sync,
		JetStreamDomain: bus.Domain, NoSigs: true, NoLog: true, MaxPayload: 1 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("set up broker: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(60 * time.Second) {
		s.Shutdown()
		return nil, errors.New("broker did not start; is its port in use?")
	}
	return &Broker{s}, nil
}

// URL is where clients connect.
func (b *Broker) URL() string { return b.server.ClientURL() }

// Stop ends the broker in order.
func (b *Broker) Stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}
