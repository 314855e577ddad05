package simulation

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/vault"
)

// broker is JetStream as far as the services use it: streams with limits retention, the
// expected last sequence of a subject, durable pull consumers, and the API to read them. Nothing
// that it confirmed is ever lost; all else the faults may do.
type broker struct {
	faults *faults

	mu      sync.Mutex
	conns   map[*conn]bool
	streams map[string]*stream
	silent  time.Time // until then every request is lost, or done and not answered
	// damaged are registrations whose passwords are not stored as they were sent.
	damaged map[string]bool
}

// stream keeps every message that is not deleted.
type stream struct {
	config    jetstream.StreamConfig
	messages  []*stored // by sequence, from 1; nil where deleted
	last      map[string]uint64
	bytes     uint64
	consumers map[string]*consumer
}

type stored struct {
	message
	sequence uint64
	at       time.Time
}

func newBroker(f *faults) *broker {
	return &broker{faults: f, conns: map[*conn]bool{}, streams: map[string]*stream{}, damaged: map[string]bool{}}
}

// blank returns a broker with the same streams and consumers and nothing in them.
func (b *broker) blank(f *faults) *broker {
	clone := newBroker(f)
	for name, s := range b.streams {
		copied := newStream(s.config)
		for name, c := range s.consumers {
			copied.consumers[name] = &consumer{broker: clone, stream: copied, config: c.config, encoded: c.encoded, next: 1, pending: map[uint64]*unacked{}}
		}
		clone.streams[name] = copied
	}
	return clone
}

func newStream(config jetstream.StreamConfig) *stream {
	return &stream{config: config, last: map[string]uint64{}, consumers: map[string]*consumer{}}
}

func (b *broker) subscribe(c *conn, sid, subject string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if subject == "" {
		delete(c.subs, sid)
		return
	}
	c.subs[sid] = subject
}

// leave ends a connection: what waits for its pull requests goes to others.
func (b *broker) leave(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	for _, s := range b.streams {
		for _, consumer := range s.consumers {
			consumer.forget(c)
		}
	}
}

// close ends all connections and timers.
func (b *broker) close() {
	b.mu.Lock()
	conns := maps.Clone(b.conns)
	for _, s := range b.streams {
		for _, c := range s.consumers {
			c.stop()
		}
	}
	b.mu.Unlock()
	for c := range conns {
		c.close()
	}
}

// silence makes the broker answer nobody for a while, as one without a leader.
func (b *broker) silence(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silent = time.Now().Add(d)
}

// receive takes a message from a client, and lets the faults decide what becomes of it.
func (b *broker) receive(c *conn, m message) {
	v, delay := b.faults.decide(c.owner.name, b.purpose(m), oddsOf(m))
	b.mu.Lock()
	if v == proceed && time.Now().Before(b.silent) {
		if v = lost; b.faults.number(m.subject)%2 == 0 {
			v = unanswered
		}
	}
	b.mu.Unlock()
	switch v {
	case lost:
	case late:
		time.AfterFunc(delay, func() { b.handle(m, true, 0) })
	case lagging:
		b.handle(m, true, time.Second)
	case unanswered:
		b.handle(m, false, 0)
	case crashBefore:
		c.owner.crash()
	case crashAfter:
		b.handle(m, false, 0)
		c.owner.crash()
	default:
		b.handle(m, true, 0)
	}
}

// purpose is what a message is for, without what differs from run to run.
func (b *broker) purpose(m message) string {
	if strings.HasPrefix(m.subject, "$JS.ACK.") {
		t := strings.Split(m.subject, ".")
		kind, _, _ := strings.Cut(string(m.data), " ")
		return "acknowledge " + kind + " " + t[3] + " " + b.subjectAt(t[2], t[5])
	}
	if strings.HasPrefix(m.subject, "$JS.API.DIRECT.GET.") || strings.HasPrefix(m.subject, "$JS.API.STREAM.MSG.") {
		return m.subject + " " + string(m.data)
	}
	return m.subject
}

func oddsOf(m message) odds {
	switch {
	case strings.HasPrefix(m.subject, "$JS.ACK."):
		return oddsOfAck
	case strings.HasPrefix(m.subject, "$JS.API.DIRECT.GET."):
		return oddsOfRead
	case strings.HasPrefix(m.subject, "$JS.API.STREAM.MSG."):
		return oddsOfRequest
	case strings.HasPrefix(m.subject, "$JS.API."):
		return oddsOfUpkeep
	}
	return oddsOfRequest
}

func (b *broker) subjectAt(stream, sequence string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.streams[stream].at(number(sequence)); m != nil {
		return m.subject
	}
	return "deleted"
}

// handle does what a message asks for. lag is how far the replica is behind that answers reads.
func (b *broker) handle(m message, answer bool, lag time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !answer {
		m.reply = ""
	}
	switch {
	case strings.HasPrefix(m.subject, "$JS.ACK."):
		b.acknowledge(m)
	case strings.HasPrefix(m.subject, "$JS.API."):
		b.serve(m, lag)
	default:
		b.publish(m)
	}
}

// route hands a message to every subscription of its subject.
func (b *broker) route(m message) (reached bool) {
	for c := range b.conns {
		for sid, subject := range c.subs {
			if matches(subject, m.subject) {
				c.deliver(sid, m)
				reached = true
			}
		}
	}
	return reached
}

func (b *broker) reply(to message, header string, data []byte) {
	if to.reply == "" {
		return
	}
	m := message{subject: to.reply, data: data}
	if header != "" {
		m.header = []byte(header)
	}
	b.route(m)
}

func (b *broker) replyJSON(to message, answer any) {
	raw, err := json.Marshal(answer)
	if err != nil {
		raw = fmt.Appendf(nil, `{"error":{"code":500,"description":%q}}`, err.Error())
	}
	b.reply(to, "", raw)
}

// problem is an error of the API of JetStream.
type problem struct {
	Code    int    `json:"code"`
	ErrCode int    `json:"err_code"`
	Text    string `json:"description"`
}

func refuse(code, errCode int, text string) map[string]any {
	return map[string]any{"error": problem{code, errCode, text}}
}

const expectedHeader = "Nats-Expected-Last-Subject-Sequence"

// publish stores a message in the stream of its subject and tells the sequence, unless another
// one than expected is the last of the subject.
func (b *broker) publish(m message) {
	reached := b.route(message{subject: m.subject, header: m.header, data: m.data})
	s := b.streamOf(m.subject)
	if s == nil {
		if !reached {
			b.reply(m, "NATS/1.0 503\r\n\r\n", nil)
		}
		return
	}
	name := s.config.Name
	if expected := headerOf(m).Get(expectedHeader); expected != "" && number(expected) != s.last[m.subject] {
		b.faults.count("10071")
		answer := refuse(400, 10071, fmt.Sprintf("wrong last sequence: %d", s.last[m.subject]))
		answer["stream"], answer["seq"] = name, 0
		b.replyJSON(m, answer)
		return
	}
	if name == vault.Stream && b.damages(m.subject) {
		m.data = m.data[:len(m.data)-1]
	}
	sequence := s.add(m)
	b.faults.say("stored %s %d %s %s", name, sequence, m.subject, headerOf(m).Get("ce-type"))
	b.replyJSON(m, map[string]any{"stream": name, "seq": sequence})
	for _, c := range s.consumers {
		c.serve()
	}
}

// damages reports whether an entry of the vault is of a registration whose password nobody shall be
// able to open: not one that is chosen when the account exists.
func (b *broker) damages(subject string) bool {
	t := strings.Split(subject, ".")
	return b.damaged[t[2]] && b.streams[bus.Registrations].last["reg."+t[1]+"."+t[2]+".account.1"] == 0
}

func (b *broker) streamOf(subject string) *stream {
	for _, s := range b.streams {
		for _, pattern := range s.config.Subjects {
			if matches(pattern, subject) {
				return s
			}
		}
	}
	return nil
}

func (s *stream) add(m message) uint64 {
	sequence := uint64(len(s.messages)) + 1
	s.messages = append(s.messages, &stored{message: m, sequence: sequence, at: time.Now()})
	s.last[m.subject] = sequence
	s.bytes += uint64(len(m.header) + len(m.data))
	return sequence
}

// at returns the message of a sequence, or nil.
func (s *stream) at(sequence uint64) *stored {
	if s == nil || sequence == 0 || sequence > uint64(len(s.messages)) {
		return nil
	}
	return s.messages[sequence-1]
}

func (s *stream) remove(sequence uint64) bool {
	m := s.at(sequence)
	if m == nil {
		return false
	}
	s.messages[sequence-1] = nil
	s.bytes -= uint64(len(m.header) + len(m.data))
	if s.last[m.subject] == sequence {
		delete(s.last, m.subject)
		if before := s.lastOf(m.subject, time.Time{}); before != nil {
			s.last[m.subject] = before.sequence
		}
	}
	return true
}

// lastOf returns the last message of a subject that was stored before a time, or nil. The zero
// time sets no bound.
func (s *stream) lastOf(subject string, before time.Time) *stored {
	for i := len(s.messages) - 1; i >= 0; i-- {
		if m := s.messages[i]; m != nil && m.subject == subject && (before.IsZero() || m.at.Before(before)) {
			return m
		}
	}
	return nil
}

// headerOf parses a raw header; values that cannot be parsed are absent.
func headerOf(m message) nats.Header {
	if m.header == nil {
		return nil
	}
	h, err := nats.DecodeHeadersMsg(m.header)
	if err != nil {
		return nil
	}
	return h
}

// matches reports whether a subject is one of a pattern, of which * stands for a token and > for
// all that follow.
func matches(pattern, subject string) bool {
	at := 0
	for i := 0; i < len(pattern); i++ {
		begun := at
		switch {
		case pattern[i] == '>':
			return at < len(subject)
		case pattern[i] == '*':
			for at < len(subject) && subject[at] != '.' {
				at++
			}
			if at == begun {
				return false
			}
		case at == len(subject) || subject[at] != pattern[i]:
			return false
		default:
			at++
		}
	}
	return at == len(subject)
}

func number(text string) uint64 {
	var n uint64
	for _, digit := range []byte(text) {
		if digit < '0' || digit > '9' {
			return 0
		}
		n = 10*n + uint64(digit-'0')
	}
	return n
}
