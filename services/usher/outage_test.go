//go:build process

package usher

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// lifeline is a way to a server that can be cut.
type lifeline struct {
	listener net.Listener
	mu       sync.Mutex
	down     bool
	conns    map[net.Conn]bool
}

func newLifeline(t *testing.T, server string) *lifeline {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &lifeline{listener: l, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { k.carry(client, server) })
		}
	})
	t.Cleanup(func() { l.Close(); k.cut(true); serving.Wait() })
	return k
}

func (k *lifeline) carry(client net.Conn, server string) {
	defer client.Close()
	k.mu.Lock()
	down := k.down
	k.conns[client] = true
	k.mu.Unlock()
	defer func() { k.mu.Lock(); delete(k.conns, client); k.mu.Unlock() }()
	if down {
		return
	}
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer upstream.Close()
	go func() { _, _ = io.Copy(upstream, client); upstream.Close() }()
	_, _ = io.Copy(client, upstream)
}

// cut breaks all connections; while it is down, new ones break too.
func (k *lifeline) cut(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = down
	for c := range k.conns {
		c.Close()
	}
}

func TestWithoutItsStoreIntakeGoesOnAndAllCompletesLater(t *testing.T) {
	server := os.Getenv("USHER_TEST_MONGODB")
	if server == "" {
		t.Skip("NOT RUN: an outage of the store. USHER_TEST_MONGODB names no server; `make mongodb` provides one")
	}
	k := newLifeline(t, strings.TrimPrefix(server, "mongodb://"))
	t.Setenv("USHER_TEST_MONGODB", "mongodb://"+k.listener.Addr().String())
	c := startCluster(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	outage := time.Duration(scale(t, 120)) * time.Second
	const n = 300
	loaded := make(chan []accepted, 1)
	go func() {
		all, _ := c.load(ctx, n, outage*4/3/n)
		loaded <- all
	}()
	pause(ctx, outage/6)
	k.cut(true)
	pause(ctx, outage)
	accepted, _, err := c.register(ctx, "during the outage", "during.the.outage@example.com")
	if err != nil {
		t.Errorf("intake during the outage: %v", err)
	}
	k.cut(false)
	all := append(<-loaded, accepted)
	if len(all) != n+1 {
		t.Errorf("%d of %d were accepted", len(all), n+1)
	}
	c.audit(all, 90*time.Second)
}
