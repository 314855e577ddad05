package simulation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// serve answers a request to the API of JetStream.
func (b *broker) serve(m message, lag time.Duration) {
	request := strings.TrimPrefix(m.subject, "$JS.API.")
	tokens := strings.Split(request, ".")
	has := func(prefix string) bool { return strings.HasPrefix(request, prefix) }
	named := func(i int) *stream {
		if i < len(tokens) {
			return b.streams[tokens[i]]
		}
		return nil
	}
	switch {
	case has("STREAM.CREATE."), has("STREAM.UPDATE."):
		b.applyStream(m, tokens[2], has("STREAM.CREATE."))
		return
	case has("DIRECT.GET.") && named(2) != nil:
		b.getDirect(m, named(2), lag)
		return
	case has("CONSUMER.CREATE.") && named(2) != nil:
		b.applyConsumer(m, named(2))
		return
	}
	s := named(2)
	if has("STREAM.MSG.") || has("CONSUMER.MSG.") {
		s = named(3)
	}
	if s == nil {
		b.replyJSON(m, refuse(404, 10059, "stream not found"))
		return
	}
	switch {
	case has("STREAM.INFO."):
		b.streamInfo(m, s)
	case has("STREAM.MSG.GET."):
		b.getFromLeader(m, s)
	case has("STREAM.MSG.DELETE."):
		b.deleteMessage(m, s)
	case has("CONSUMER.INFO."), has("CONSUMER.MSG.NEXT."):
		c := s.consumers[tokens[len(tokens)-1]]
		switch {
		case c == nil:
			b.replyJSON(m, refuse(404, 10014, "consumer not found"))
		case has("CONSUMER.INFO."):
			b.replyJSON(m, c.info())
		default:
			c.pull(m)
		}
	}
}

func (b *broker) applyStream(m message, name string, create bool) {
	var config jetstream.StreamConfig
	if err := json.Unmarshal(m.data, &config); err != nil {
		b.replyJSON(m, refuse(400, 10025, "invalid JSON"))
		return
	}
	s := b.streams[name]
	switch {
	case s == nil && !create:
		b.replyJSON(m, refuse(404, 10059, "stream not found"))
		return
	case s == nil:
		s = newStream(config)
		b.streams[name] = s
	default:
		s.config = config
	}
	b.streamInfo(m, s)
}

func (b *broker) applyConsumer(m message, s *stream) {
	var request struct {
		Config jetstream.ConsumerConfig `json:"config"`
	}
	if err := json.Unmarshal(m.data, &request); err != nil {
		b.replyJSON(m, refuse(400, 10025, "invalid JSON"))
		return
	}
	c := s.consumers[request.Config.Durable]
	if c == nil {
		c = newConsumer(b, s, request.Config)
		s.consumers[request.Config.Durable] = c
	}
	c.configure(request.Config)
	b.replyJSON(m, c.info())
}

func (b *broker) streamInfo(m message, s *stream) {
	var request struct {
		Filter string `json:"subjects_filter"`
		Offset int    `json:"offset"`
	}
	_ = json.Unmarshal(m.data, &request)
	info := jetstream.StreamInfo{Config: s.config, State: jetstream.StreamState{
		Bytes: s.bytes, FirstSeq: 1, LastSeq: uint64(len(s.messages)), NumSubjects: uint64(len(s.last)),
	}}
	for _, m := range s.messages {
		if m != nil {
			info.State.Msgs++
		}
	}
	total := 0
	info.State.Subjects = map[string]uint64{}
	for subject := range s.last {
		if request.Filter == "" || !matches(request.Filter, subject) {
			continue
		}
		if total++; request.Offset == 0 { // one page holds all
			info.State.Subjects[subject] = 1
		}
	}
	b.replyJSON(m, struct {
		jetstream.StreamInfo
		Total int `json:"total"`
	}{info, total})
}

// position is the body of the requests that name a message.
type position struct {
	Seq   uint64   `json:"seq"`
	Last  string   `json:"last_by_subj"`
	Next  string   `json:"next_by_subj"` // the first from Seq on
	Multi []string `json:"multi_last"`
}

// find returns the message that a position names as of a time, or nil.
func (s *stream) find(p position, before time.Time) *stored {
	if p.Last != "" {
		return s.lastOf(p.Last, before)
	}
	for ; p.Next != "" && p.Seq <= uint64(len(s.messages)); p.Seq++ {
		if m := s.at(p.Seq); m != nil && matches(p.Next, m.subject) {
			break
		}
	}
	if m := s.at(p.Seq); m != nil && m.at.Before(before) {
		return m
	}
	return nil
}

// future is later than everything that is stored.
func future() time.Time { return time.Now().Add(time.Nanosecond) }

func (b *broker) getFromLeader(m message, s *stream) {
	var p position
	_ = json.Unmarshal(m.data, &p)
	found := s.find(p, future())
	if found == nil {
		b.replyJSON(m, refuse(404, 10037, "no message found"))
		return
	}
	b.replyJSON(m, map[string]any{"message": map[string]any{
		"subject": found.subject, "seq": found.sequence, "hdrs": found.header, "data": found.data, "time": found.at,
	}})
}

// getDirect answers from some replica.
func (b *broker) getDirect(m message, s *stream, lag time.Duration) {
	var p position
	_ = json.Unmarshal(m.data, &p)
	before := future().Add(-lag)
	if len(p.Multi) > 0 {
		b.getLast(m, s, p.Multi, before)
		return
	}
	found := s.find(p, before)
	if found == nil {
		b.reply(m, "NATS/1.0 404 Message Not Found\r\n\r\n", nil)
		return
	}
	b.reply(m, s.directHeader(found), found.data)
}

func (s *stream) directHeader(m *stored, more ...string) string {
	header := strings.TrimSuffix(string(m.header), "\r\n")
	if header == "" {
		header = "NATS/1.0\r\n"
	}
	return header + fmt.Sprintf("Nats-Stream: %s\r\nNats-Subject: %s\r\nNats-Sequence: %d\r\nNats-Time-Stamp: %s\r\n",
		s.config.Name, m.subject, m.sequence, m.at.UTC().Format(time.RFC3339Nano)) + strings.Join(more, "") + "\r\n"
}

// getLast sends the last message of every subject that matches, oldest first.
func (b *broker) getLast(m message, s *stream, patterns []string, before time.Time) {
	found := map[string]*stored{}
	for _, e := range s.messages {
		if e != nil && e.at.Before(before) && slices.ContainsFunc(patterns, func(p string) bool { return matches(p, e.subject) }) {
			found[e.subject] = e
		}
	}
	if len(found) == 0 {
		b.reply(m, "NATS/1.0 404 No Results\r\n\r\n", nil)
		return
	}
	ordered := make([]*stored, 0, len(found))
	for _, e := range found {
		ordered = append(ordered, e)
	}
	slices.SortFunc(ordered, func(a, b *stored) int { return int(a.sequence) - int(b.sequence) })
	last := uint64(0)
	for i, e := range ordered {
		b.reply(m, s.directHeader(e, "Nats-Num-Pending: "+strconv.Itoa(len(ordered)-i-1)+"\r\n", "Nats-Last-Sequence: "+strconv.FormatUint(last, 10)+"\r\n"), e.data)
		last = e.sequence
	}
	b.reply(m, fmt.Sprintf("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: %d\r\nNats-UpTo-Sequence: %d\r\n\r\n", last, len(s.messages)), nil)
}

func (b *broker) deleteMessage(m message, s *stream) {
	var p position
	_ = json.Unmarshal(m.data, &p)
	if !s.remove(p.Seq) {
		b.replyJSON(m, refuse(400, 10043, "sequence not found"))
		return
	}
	b.faults.say("deleted %s %d", s.config.Name, p.Seq)
	b.replyJSON(m, map[string]any{"success": true})
}
