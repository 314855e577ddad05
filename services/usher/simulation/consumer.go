package simulation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// consumer is a durable pull consumer with explicit acknowledgement. The broker's lock guards it.
type consumer struct {
	broker    *broker
	stream    *stream
	config    jetstream.ConsumerConfig
	encoded   []byte // config as JSON
	next      uint64 // of the stream, not looked at yet
	delivered uint64
	pending   map[uint64]*unacked
	again     []uint64 // pending ones that are due once more
	waiting   []*pull
}

// unacked is a message that was delivered and not acknowledged.
type unacked struct {
	times uint64
	timer *time.Timer
}

// pull is a request for messages.
type pull struct {
	inbox      string
	left       int
	timers     []*time.Timer
	conn       *conn
	sid        string
	expiration time.Time
}

func newConsumer(b *broker, s *stream, config jetstream.ConsumerConfig) *consumer {
	c := &consumer{broker: b, stream: s, next: 1, pending: map[uint64]*unacked{}}
	c.configure(config)
	return c
}

func (c *consumer) configure(config jetstream.ConsumerConfig) {
	c.config = config
	c.encoded, _ = json.Marshal(config)
}

// pullRequest is the body of CONSUMER.MSG.NEXT.
type pullRequest struct {
	Expires   time.Duration `json:"expires"`
	Batch     int           `json:"batch"`
	NoWait    bool          `json:"no_wait"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
}

// pull takes a request for messages, until it is satisfied, expires, or its client leaves.
func (c *consumer) pull(m message) {
	var request pullRequest
	if json.Unmarshal(m.data, &request) != nil {
		return
	}
	p := &pull{inbox: m.reply, left: max(request.Batch, 1), expiration: time.Now().Add(request.Expires)}
	for conn := range c.broker.conns {
		for sid, subject := range conn.subs {
			if matches(subject, m.reply) {
				p.conn, p.sid = conn, sid
			}
		}
	}
	if p.conn == nil {
		return
	}
	c.waiting = append(c.waiting, p)
	p.timers = append(p.timers, c.broker.after(request.Expires, func() { c.expire(p) }))
	if request.Heartbeat > 0 {
		c.beat(p, request.Heartbeat)
	}
	c.serve()
	if request.NoWait {
		c.end(p)
	}
}

// after is time.AfterFunc under the broker's lock.
func (b *broker) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		f()
	})
}

func (c *consumer) beat(p *pull, every time.Duration) {
	if !slices.Contains(c.waiting, p) || !time.Now().Add(every).Before(p.expiration) {
		return
	}
	p.timers = append(p.timers, c.broker.after(every, func() {
		if slices.Contains(c.waiting, p) {
			p.conn.deliver(p.sid, message{subject: p.inbox, header: []byte("NATS/1.0 100 Idle Heartbeat\r\n\r\n")})
			c.beat(p, every)
		}
	}))
}

func (c *consumer) expire(p *pull) {
	if slices.Contains(c.waiting, p) {
		c.end(p)
		p.conn.deliver(p.sid, message{subject: p.inbox,
			header: fmt.Appendf(nil, "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: %d\r\nNats-Pending-Bytes: 0\r\n\r\n", p.left)})
	}
}

func (c *consumer) end(p *pull) {
	for _, t := range p.timers {
		t.Stop()
	}
	c.waiting = slices.DeleteFunc(c.waiting, func(w *pull) bool { return w == p })
}

func (c *consumer) forget(left *conn) {
	for _, p := range slices.Clone(c.waiting) {
		if p.conn == left {
			c.end(p)
		}
	}
}

func (c *consumer) stop() {
	for _, p := range slices.Clone(c.waiting) {
		c.end(p)
	}
	for _, u := range c.pending {
		u.timer.Stop()
	}
}

// serve delivers as long as there is a request, a message, and room in flight.
func (c *consumer) serve() {
	for len(c.waiting) > 0 {
		m := c.due()
		if m == nil {
			return
		}
		p := c.waiting[0]
		if p.left--; p.left == 0 {
			c.end(p)
		}
		c.deliver(m, p)
	}
}

// due returns the next message to deliver, or nil: first those that come again.
func (c *consumer) due() *stored {
	for len(c.again) > 0 {
		sequence := c.again[0]
		c.again = c.again[1:]
		if m := c.stream.at(sequence); m != nil && c.pending[sequence] != nil {
			return m
		}
		delete(c.pending, sequence)
	}
	for ; len(c.pending) < c.config.MaxAckPending && c.next <= uint64(len(c.stream.messages)); c.next++ {
		if m := c.stream.at(c.next); m != nil && matches(c.config.FilterSubject, m.subject) {
			c.next++
			return m
		}
	}
	return nil
}

func (c *consumer) deliver(m *stored, p *pull) {
	u := c.pending[m.sequence]
	if u == nil {
		u = &unacked{}
		c.pending[m.sequence] = u
	}
	u.times++
	c.delivered++
	if u.times > 1 {
		c.broker.faults.count("redelivered")
	}
	c.wait(m.sequence, c.config.AckWait)
	left := c.numPending()
	w := message{subject: m.subject, header: m.header, data: m.data, reply: fmt.Sprintf("$JS.ACK.%s.%s.%d.%d.%d.%d.%d",
		c.stream.config.Name, c.config.Durable, u.times, m.sequence, c.delivered, m.at.UnixNano(), left)}
	v, delay := c.broker.faults.decide(c.config.Durable, "deliver "+m.subject, oddsOfDelivery)
	switch v {
	case lost:
	case late:
		c.broker.after(delay, func() {
			if c.broker.conns[p.conn] {
				p.conn.deliver(p.sid, w)
			}
		})
	case crashAfter:
		p.conn.deliver(p.sid, w)
		p.conn.owner.crash()
	case repeated:
		p.conn.deliver(p.sid, w)
		c.wait(m.sequence, delay)
	default:
		p.conn.deliver(p.sid, w)
	}
}

// wait makes a message that is still pending due again after d.
func (c *consumer) wait(sequence uint64, d time.Duration) {
	u := c.pending[sequence]
	if u.timer != nil {
		u.timer.Stop()
	}
	u.timer = c.broker.after(d, func() {
		if c.pending[sequence] == u && !slices.Contains(c.again, sequence) {
			c.again = append(c.again, sequence)
			c.serve()
		}
	})
}

// acknowledge takes $JS.ACK.<stream>.<consumer>.<times>.<sequence>.….
func (b *broker) acknowledge(m message) {
	t := strings.Split(m.subject, ".")
	if len(t) != 9 || b.streams[t[2]] == nil || b.streams[t[2]].consumers[t[3]] == nil {
		return
	}
	c, sequence := b.streams[t[2]].consumers[t[3]], number(t[5])
	u := c.pending[sequence]
	if u == nil {
		return
	}
	kind, argument, _ := strings.Cut(string(m.data), " ")
	switch kind {
	case "+WPI":
		c.wait(sequence, c.config.AckWait)
		return
	case "-NAK":
		var how struct {
			Delay time.Duration `json:"delay"`
		}
		_ = json.Unmarshal([]byte(argument), &how)
		c.wait(sequence, how.Delay)
		return
	}
	u.timer.Stop()
	delete(c.pending, sequence)
	c.again = slices.DeleteFunc(c.again, func(s uint64) bool { return s == sequence })
	b.reply(m, "", nil)
	c.serve()
}

func (c *consumer) numPending() (n uint64) {
	for _, m := range c.stream.messages[min(c.next-1, uint64(len(c.stream.messages))):] {
		if m != nil && matches(c.config.FilterSubject, m.subject) {
			n++
		}
	}
	return n
}

// consumerInfo is jetstream.ConsumerInfo with a configuration that was encoded before: services
// ask for it all the time.
type consumerInfo struct {
	*jetstream.ConsumerInfo
	Config json.RawMessage `json:"config"`
}

func (c *consumer) info() consumerInfo {
	return consumerInfo{&jetstream.ConsumerInfo{
		Stream: c.stream.config.Name, Name: c.config.Durable,
		Delivered:  jetstream.SequenceInfo{Consumer: c.delivered, Stream: c.next - 1},
		NumPending: c.numPending(), NumAckPending: len(c.pending), NumWaiting: len(c.waiting),
	}, c.encoded}
}
