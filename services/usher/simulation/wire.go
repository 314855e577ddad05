package simulation

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// message is one as it goes over the wire; header is nil or the raw block that begins with
// "NATS/1.0".
type message struct {
	subject, reply string
	header, data   []byte
}

// conn is a client's connection to the broker, which speaks the part of the client protocol of
// NATS that nats.go uses (docs.nats.io/reference/reference-protocols/nats-protocol).
type conn struct {
	broker *broker
	owner  *process
	pipe   net.Conn
	subs   map[string]string // sid to subject; guarded by the broker's lock

	mu     sync.Mutex
	more   *sync.Cond
	out    [][]byte
	closed bool
}

const info = `INFO {"server_id":"SIM","version":"2.15.2","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}` + "\r\n"

// dial connects a process to the broker.
func (b *broker) dial(owner *process) net.Conn {
	ours, theirs := net.Pipe()
	c := &conn{broker: b, owner: owner, pipe: ours, subs: map[string]string{}}
	c.more = sync.NewCond(&c.mu)
	b.mu.Lock()
	b.conns[c] = true
	b.mu.Unlock()
	c.send([]byte(info))
	go c.write()
	go func() {
		_ = c.read(bufio.NewReaderSize(ours, 4<<10))
		c.close()
	}()
	return theirs
}

func (c *conn) close() {
	c.broker.leave(c)
	c.mu.Lock()
	c.closed = true
	c.more.Signal()
	c.mu.Unlock()
	_ = c.pipe.Close()
}

// send queues bytes; it never waits for the client.
func (c *conn) send(raw ...[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, raw...)
	c.more.Signal()
}

func (c *conn) write() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.closed {
			c.more.Wait()
		}
		out, closed := c.out, c.closed
		c.out = nil
		c.mu.Unlock()
		if closed {
			return
		}
		if _, err := c.pipe.Write(bytes.Join(out, nil)); err != nil {
			return
		}
	}
}

// deliver sends a message under a subscription.
func (c *conn) deliver(sid string, m message) {
	reply := m.reply
	if reply != "" {
		reply += " "
	}
	if m.header == nil {
		c.send(fmt.Appendf(nil, "MSG %s %s %s%d\r\n%s\r\n", m.subject, sid, reply, len(m.data), m.data))
		return
	}
	c.send(fmt.Appendf(nil, "HMSG %s %s %s%d %d\r\n%s%s\r\n", m.subject, sid, reply, len(m.header), len(m.header)+len(m.data), m.header, m.data))
}

func (c *conn) read(r *bufio.Reader) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if c.owner.dead.Load() {
			return net.ErrClosed
		}
		switch words[0] {
		case "PING":
			c.send([]byte("PONG\r\n"))
		case "SUB":
			c.broker.subscribe(c, words[len(words)-1], words[1])
		case "UNSUB":
			if len(words) == 2 { // one that ends after some messages is left to its client
				c.broker.subscribe(c, words[1], "")
			}
		case "PUB", "HPUB":
			m, err := payload(r, words)
			if err != nil {
				return err
			}
			c.broker.receive(c, m)
		}
	}
}

// payload reads what follows "PUB subject [reply] size" or "HPUB subject [reply] header size".
func payload(r io.Reader, words []string) (message, error) {
	sizes := 1
	if words[0] == "HPUB" {
		sizes = 2
	}
	total, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		return message{}, err
	}
	raw := make([]byte, total+2)
	if _, err := io.ReadFull(r, raw); err != nil {
		return message{}, err
	}
	m := message{subject: words[1], data: raw[:total]}
	if len(words) == 3+sizes {
		m.reply = words[2]
	}
	if sizes == 2 {
		header, err := strconv.Atoi(words[len(words)-2])
		if err != nil || header > total {
			return message{}, fmt.Errorf("header of %q: %w", words, err)
		}
		m.header, m.data = raw[:header], raw[header:total]
	}
	return m, nil
}
