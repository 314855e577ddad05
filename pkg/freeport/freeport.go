// Package freeport finds addresses for servers that tests and measurements start.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Ports below those that kernels give to connections (RFC 6335, section 6, and Linux from 32768), so
// that none of these takes one before it is listened on, or while its server is down.
const (
	first = 10_000
	ports = 20_000
	tries = 1000
)

var last atomic.Uint32

func init() { last.Store(rand.Uint32N(ports)) }

// Address returns HOST:PORT of the loopback interface where nobody listens now, a new one each time.
// Safe for concurrent use.
func Address() (string, error) {
	var err error
	for range tries {
		addr := fmt.Sprintf("127.0.0.1:%d", first+last.Add(1)%ports)
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
