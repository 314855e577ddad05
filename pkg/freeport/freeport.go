// Package freeport finds addresses for servers that tests and measurements start.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports below those that kernels give to connections (RFC 6335, section 6, and Linux from 32768), so
// that none of these takes one before it is listened on.
const (
	first = 10000
	ports = 20000
	tries = 1000
)

// Address returns HOST:PORT of the loopback interface where nobody listens now.
func Address() (string, error) {
	var err error
	for range tries {
		addr := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(ports))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
