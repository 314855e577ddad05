package store_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
)

// fate is what a proxy does with one command.
type fate int

const (
	pass          fate = iota
	loseReply          // the server does it, the client never hears of it
	failConcern        // the server does it, but says that no majority has it
	notPrimary         // the server is told nothing, the client that it asks the wrong one
	cutBeforehand      // the connection breaks before the server is told
)

// proxy stands between the driver and a server of the MongoDB wire protocol (OP_MSG) and does
// harm where it is told to. It simulates what a failover does to a client.
type proxy struct {
	t        *testing.T
	upstream string
	listener net.Listener

	mu    sync.Mutex
	fates map[string][]fate // of the next commands of a name
	conns map[net.Conn]bool
	down  bool
}

// startProxy returns the proxy and the URL of an empty database behind it.
func startProxy(t *testing.T) (*proxy, string) {
	t.Helper()
	url := mongoDatabase(t)
	host, database, _ := strings.Cut(strings.TrimPrefix(url, "mongodb://"), "/")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, upstream: host, listener: l, fates: map[string][]fate{}, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); p.cut(true); serving.Wait() })
	return p, "mongodb://" + l.Addr().String() + "/" + database
}

// next decides what becomes of the next commands of a name.
func (p *proxy) next(command string, fates ...fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fates[command] = fates
}

func (p *proxy) fateOf(command string) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.fates[command]) == 0 {
		return pass
	}
	f := p.fates[command][0]
	p.fates[command] = p.fates[command][1:]
	return f
}

// cut breaks all connections; while down, new ones break too.
func (p *proxy) cut(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	down := p.down
	p.conns[client] = true
	p.mu.Unlock()
	defer func() { p.mu.Lock(); delete(p.conns, client); p.mu.Unlock() }()
	for !down {
		request, err := readMessage(client)
		if err != nil {
			return
		}
		fate := p.fateOf(request.command())
		if fate == cutBeforehand {
			return
		}
		var reply message
		if fate == notPrimary {
			reply = request.reply(bson.D{{Key: "ok", Value: 0.0}, {Key: "code", Value: int32(10107)}, {Key: "codeName", Value: "NotWritablePrimary"}, {Key: "errmsg", Value: "not primary"}})
		} else {
			if _, err := server.Write(request); err != nil {
				return
			}
			if reply, err = readMessage(server); err != nil {
				return
			}
		}
		if fate == loseReply {
			return
		}
		if fate == failConcern {
			var said bson.D
			if err := bson.Unmarshal(reply[21:], &said); err != nil {
				p.t.Error(err)
				return
			}
			reply = request.reply(append(said, bson.E{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: int32(64)}, {Key: "errmsg", Value: "waiting for replication timed out"}}}))
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// message is one message: 16 bytes of header, 4 of flags, then sections, of which the first is
// a byte 0 and the command (MongoDB wire protocol, OP_MSG).
type message []byte

func readMessage(r io.Reader) (message, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	m := make(message, binary.LittleEndian.Uint32(head))
	copy(m, head)
	_, err := io.ReadFull(r, m[4:])
	return m, err
}

// command is the name of the first element of the command's document.
func (m message) command() string {
	const opMsg = 2013
	if len(m) < 27 || binary.LittleEndian.Uint32(m[12:]) != opMsg {
		return ""
	}
	name, _, _ := strings.Cut(string(m[26:]), "\x00")
	return name
}

func (m message) reply(body bson.D) message {
	raw, err := bson.Marshal(body)
	if err != nil {
		panic(err)
	}
	r := make(message, 21, 21+len(raw))
	binary.LittleEndian.PutUint32(r, uint32(21+len(raw)))
	copy(r[8:12], m[4:8]) // responseTo
	copy(r[12:16], m[12:16])
	return append(r, raw...)
}

type note struct {
	Text string `json:"text"`
}

func notes(t *testing.T, url string) *store.Docs[note] {
	t.Helper()
	b, err := store.Open(t.Context(), url, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := b.Ensure(t.Context(), storetest.Schema); err != nil {
		t.Fatal(err)
	}
	return store.NewDocs(b, storetest.Schema, func(n note) store.Fields { return store.Fields{"tenant": "t", "u_email": n.Text} })
}

func TestMongoDBConfirmsNothingItIsNotSureOf(t *testing.T) {
	for name, test := range map[string]struct {
		command string
		fate    fate
		stored  bool // although it was not confirmed
	}{
		"an insert whose reply is lost":            {"insert", loseReply, true},
		"an insert that no majority has":           {"insert", failConcern, true},
		"an insert that is sent to no primary":     {"insert", notPrimary, false},
		"an insert whose connection breaks before": {"insert", cutBeforehand, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, url := startProxy(t)
			docs := notes(t, url)
			p.next(test.command, test.fate)
			err := docs.Insert(t.Context(), "a", note{"one"})
			var duplicate *store.DuplicateError
			if err == nil || errors.Is(err, store.ErrExists) || errors.As(err, &duplicate) {
				t.Fatalf("it was answered %v", err)
			}
			s, inserted, err := docs.InsertOrGet(t.Context(), "a", note{"two"})
			want := map[bool]string{true: "one", false: "two"}[test.stored]
			if err != nil || inserted == test.stored || s.Value.Text != want {
				t.Errorf("written again: inserted %v, %q, %v", inserted, s.Value.Text, err)
			}
			if n, err := docs.Count(t.Context(), nil); n != 1 || err != nil {
				t.Errorf("%d documents, %v", n, err)
			}
		})
	}
	for name, fate := range map[string]fate{"an update whose reply is lost": loseReply, "an update that no majority has": failConcern} {
		t.Run(name, func(t *testing.T) {
			p, url := startProxy(t)
			docs := notes(t, url)
			if err := docs.Insert(t.Context(), "a", note{"one"}); err != nil {
				t.Fatal(err)
			}
			s, err := docs.Get(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			p.next("update", fate)
			s.Value.Text = "two"
			if _, err := docs.Update(t.Context(), s); err == nil || errors.Is(err, store.ErrConflict) {
				t.Fatalf("it was answered %v", err)
			}
			if _, err := docs.Update(t.Context(), s); !errors.Is(err, store.ErrConflict) {
				t.Errorf("the same update again: %v", err)
			}
			if now, err := docs.Get(t.Context(), "a"); err != nil || now.Value.Text != "two" || now.Version != 2 {
				t.Errorf("stored %+v, %v", now, err)
			}
		})
	}
}

func TestMongoDBWorksAgainByItselfAfterItWasAway(t *testing.T) {
	p, url := startProxy(t)
	docs := notes(t, url)
	p.cut(true)
	if err := docs.Insert(t.Context(), "a", note{"one"}); err == nil {
		t.Fatal("an insert without a server succeeded")
	}
	p.cut(false)
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, _, err := docs.InsertOrGet(t.Context(), "a", note{"one"})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not: %v", err)
		}
	}
}

func TestMongoDBErrorsQuoteNoValues(t *testing.T) {
	_, url := startProxy(t)
	docs := notes(t, url)
	if err := docs.Insert(t.Context(), "a", note{"secret@example.com"}); err != nil {
		t.Fatal(err)
	}
	err := docs.Insert(t.Context(), "b", note{"secret@example.com"})
	var duplicate *store.DuplicateError
	if !errors.As(err, &duplicate) || strings.Contains(err.Error(), "secret") {
		t.Errorf("a duplicate is told as %v", err)
	}
	b, err := store.Open(t.Context(), "mongodb://user:hunter2@127.0.0.1:1/x", "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Ping(t.Context()); !errors.Is(err, store.ErrUnreachable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a server that is not there is told as %v", err)
	}
}
