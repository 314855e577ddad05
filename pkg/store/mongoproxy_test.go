package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	traceapi "go.opentelemetry.io/otel/trace"

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
	refuse             // the server is told nothing, the client that a value is a duplicate
	cutBeforehand      // the connection breaks before the server is told
)

// proxy stands between the driver and a server of the MongoDB wire protocol (OP_MSG) and does
// harm where it is told to. It simulates what a failover does to a client.
type proxy struct {
	t        *testing.T
	upstream string
	listener net.Listener

	mu        sync.Mutex
	fates     map[string][]fate // of the next commands of a name
	meanwhile map[string]func() // what happens between the next execution of a command and its reply
	heard     map[string]bson.Raw
	conns     map[net.Conn]bool
	down      bool
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
	p := &proxy{t: t, upstream: host, listener: l, fates: map[string][]fate{}, meanwhile: map[string]func(){}, heard: map[string]bson.Raw{}, conns: map[net.Conn]bool{}}
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

// while runs f once, when the server has done the next command of a name and before the client
// hears of it.
func (p *proxy) while(command string, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meanwhile[command] = f
}

// last returns the command of a name that came last, without its documents.
func (p *proxy) last(command string) bson.Raw {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard[command]
}

// judge notes a command and decides what becomes of it.
func (p *proxy) judge(m message) (f fate, meanwhile func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, body := m.command()
	p.heard[name] = body
	if fates := p.fates[name]; len(fates) > 0 {
		f, p.fates[name] = fates[0], fates[1:]
	}
	meanwhile = p.meanwhile[name]
	delete(p.meanwhile, name)
	return f, meanwhile
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
		reply, err := p.exchange(request, server)
		if err != nil {
			return
		}
		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// exchange lets a request have its fate. An error breaks the connection.
func (p *proxy) exchange(request message, server net.Conn) (message, error) {
	fate, meanwhile := p.judge(request)
	switch fate {
	case cutBeforehand:
		return nil, net.ErrClosed
	case notPrimary:
		return request.failure(10107, "NotWritablePrimary", "not primary", "RetryableWriteError"), nil
	case refuse:
		return request.failure(11000, "DuplicateKey", `E11000 duplicate key error, dup key: { f.u_email: "`+secret+`" }`), nil
	}
	if _, err := server.Write(request); err != nil {
		return nil, err
	}
	reply, err := readMessage(server)
	if err != nil {
		return nil, err
	}
	if meanwhile != nil {
		meanwhile()
	}
	switch fate {
	case loseReply:
		return nil, net.ErrClosed
	case failConcern:
		var said bson.D
		if err := bson.Unmarshal(reply[21:], &said); err != nil {
			p.t.Error(err)
			return nil, err
		}
		return request.reply(append(said, bson.E{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: int32(64)}, {Key: "errmsg", Value: "waiting for replication timed out"}}})), nil
	}
	return reply, nil
}

// message is one message: 16 bytes of header, 4 of flags, then sections, of which the first is
// a byte 0 and the command (MongoDB wire protocol, OP_MSG).
type message []byte

const (
	messageMin = 16
	messageMax = 48_000_000 // maxMessageSizeBytes
)

func readMessage(r io.Reader) (message, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head)
	if size < messageMin || size > messageMax {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	m := make(message, size)
	copy(m, head)
	_, err := io.ReadFull(r, m[4:])
	return m, err
}

// command returns the command's document and the name of its first element, "" if it has none.
func (m message) command() (name string, body bson.Raw) {
	const opMsg, section = 2013, 21
	if len(m) < section+5 || binary.LittleEndian.Uint32(m[12:]) != opMsg || m[section-1] != 0 {
		return "", nil
	}
	size := int(binary.LittleEndian.Uint32(m[section:]))
	if size < 5 || size > len(m)-section {
		return "", nil
	}
	body = bson.Raw(m[section : section+size])
	first, err := body.IndexErr(0)
	if err != nil {
		return "", nil
	}
	return first.Key(), body
}

func (m message) failure(code int32, name, text string, labels ...string) message {
	return m.reply(bson.D{{Key: "ok", Value: 0.0}, {Key: "code", Value: code}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: text}, {Key: "errorLabels", Value: labels}})
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
	return store.NewDocs(preparedMongo(t, url), storetest.Schema, func(n note) store.Fields { return store.Fields{"tenant": "t", "u_email": n.Text} })
}

func FuzzMongoMessage(f *testing.F) {
	f.Add(append([]byte(message(make([]byte, messageMin)).failure(1, "name", "text")), 0))
	f.Add([]byte{255, 255, 255, 255, 0})
	f.Add([]byte{26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 127, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := readMessage(bytes.NewReader(raw))
		if err != nil {
			return
		}
		if !bytes.HasPrefix(raw, m) {
			t.Error("the message is not what was sent")
		}
		if name, body := m.command(); name != "" && body.Lookup(name).IsZero() {
			t.Errorf("command %q is not in its document", name)
		}
	})
}

func TestMongoDBConfirmsNothingItIsNotSureOf(t *testing.T) {
	mongoServer(t)
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

// The servers of these tests ignore what is asked of a replica set: the wire shows that it is.
func TestMongoDBIsAskedForAMajorityWhateverTheURLSays(t *testing.T) {
	p, url := startProxy(t)
	docs := notes(t, url+"?w=1&journal=false&readConcernLevel=local")
	if err := docs.Insert(t.Context(), "a", note{"one"}); err != nil {
		t.Fatal(err)
	}
	if s, err := docs.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	} else if _, err := docs.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := docs.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Count(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, write := range []string{"insert", "update", "delete"} {
		concern := p.last(write).Lookup("writeConcern")
		w, _ := concern.Document().Lookup("w").StringValueOK()
		if j, _ := concern.Document().Lookup("j").BooleanOK(); w != "majority" || !j {
			t.Errorf("%s is written with %v", write, concern)
		}
	}
	for _, read := range []string{"find", "aggregate"} {
		if level, _ := p.last(read).Lookup("readConcern", "level").StringValueOK(); level != "majority" {
			t.Errorf("%s reads what is %q", read, level)
		}
	}
}

func TestMongoDBConfirmsNoOpOfABatchThatNoMajorityHas(t *testing.T) {
	p, url := startProxy(t)
	b := preparedMongo(t, url)
	insert := func(ids ...string) []error {
		var ops []store.Op
		for _, id := range ids {
			ops = append(ops, store.Op{Kind: store.Insert, Document: body(id, 0)})
		}
		return b.Write(t.Context(), storetest.Schema.Collection, ops)
	}
	if err := insert("taken")[0]; err != nil {
		t.Fatal(err)
	}
	p.next("insert", failConcern)
	for i, err := range insert("taken", "free") {
		if err == nil || errors.Is(err, store.ErrExists) {
			t.Errorf("op %d was answered %v", i, err)
		}
	}
	for i, err := range insert("taken", "free") {
		if !errors.Is(err, store.ErrExists) {
			t.Errorf("op %d, written again, was answered %v", i, err)
		}
	}
}

func TestMongoDBConfirmsNothingOfALargeBatchWhosePartNoMajorityHas(t *testing.T) {
	p, url := startProxy(t)
	b := preparedMongo(t, url)
	large := []byte(`{"text":"` + strings.Repeat("x", store.MaxBody-64) + `"}`)
	ops := make([]store.Op, 8) // 64 MB, more than fits into one message
	for i := range ops {
		ops[i] = store.Op{Kind: store.Insert, Document: store.Document{ID: fmt.Sprint(i), Body: large}}
	}
	taken := body(fmt.Sprint(len(ops)-1), 0)
	if err := b.Write(t.Context(), storetest.Schema.Collection, []store.Op{{Kind: store.Insert, Document: taken}})[0]; err != nil {
		t.Fatal(err)
	}
	p.next("insert", failConcern)
	errs := b.Write(t.Context(), storetest.Schema.Collection, ops)
	if errs[0] == nil {
		t.Errorf("what no majority has was confirmed: %v", errs)
	}
	if !errors.Is(errs[len(ops)-1], store.ErrExists) {
		t.Errorf("the id that is taken: %v", errs[len(ops)-1])
	}
}

func TestMongoDBDoesNotCallAnUpdateFailedThatAnotherWriterOverwrote(t *testing.T) {
	mongoServer(t)
	for name, overwrite := range map[string]func(t *testing.T, c *mongo.Collection){
		"updated": func(t *testing.T, c *mongo.Collection) {
			change := bson.M{"$set": bson.M{"v": int64(3), "t": bson.NewObjectID()}}
			if r, err := c.UpdateOne(t.Context(), bson.M{"_id": "new", "v": 2}, change); err != nil || r.MatchedCount != 1 {
				t.Error(r, err)
			}
		},
		"deleted": func(t *testing.T, c *mongo.Collection) {
			if r, err := c.DeleteOne(t.Context(), bson.M{"_id": "new", "v": 2}); err != nil || r.DeletedCount != 1 {
				t.Error(r, err)
			}
		},
		"deleted and inserted again": func(t *testing.T, c *mongo.Collection) {
			again := bson.M{"v": int64(1), "t": bson.NewObjectID()}
			if r, err := c.ReplaceOne(t.Context(), bson.M{"_id": "new", "v": 2}, again); err != nil || r.MatchedCount != 1 {
				t.Error(r, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, url := startProxy(t)
			b, other := preparedMongo(t, url), direct(t, url)
			if err := b.Write(t.Context(), storetest.Schema.Collection, []store.Op{{Kind: store.Insert, Document: body("new", 0)}})[0]; err != nil {
				t.Fatal(err)
			}
			p.while("update", func() { overwrite(t, other) })
			errs := b.Write(t.Context(), storetest.Schema.Collection, []store.Op{
				{Kind: store.Update, Document: body("new", 1)}, {Kind: store.Update, Document: body("absent", 1)},
			})
			if errs[0] == nil || errors.Is(errs[0], store.ErrConflict) || errors.Is(errs[0], store.ErrNotFound) {
				t.Errorf("an update that took effect and was %s was told as %v", name, errs[0])
			}
			if errs[1] == nil {
				t.Error("an update of nothing was confirmed")
			}
		})
	}
}

const secret = "secret@example.com"

// recorded returns a provider of tracers and the spans that ended.
func recorded() (*trace.TracerProvider, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	return trace.NewTracerProvider(trace.WithSpanProcessor(recorder)), recorder
}

func TestMongoDBCommandsAreSpansWithoutContent(t *testing.T) {
	p, url := startProxy(t)
	preparedMongo(t, url)
	provider, recorder := recorded()
	b, err := store.Open(t.Context(), url, "test", provider)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Verify(t.Context(), storetest.Schema); err != nil {
		t.Fatal(err)
	}
	ctx, caller := provider.Tracer("test").Start(t.Context(), "caller")
	docs := store.NewDocs(b, storetest.Schema, func(n note) store.Fields { return store.Fields{"tenant": "t", "u_email": n.Text} })
	begun := len(recorder.Ended())
	op := []store.Op{{Kind: store.Insert, Document: store.Document{ID: secret, Fields: store.Fields{"status": secret}, Body: []byte(`{"text":"` + secret + `"}`)}}}
	if err := b.Write(ctx, storetest.Schema.Collection, op)[0]; err != nil {
		t.Fatal(err)
	}
	if _, _, err := docs.Find(ctx, store.Query{Where: store.Fields{"status": secret}, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	p.next("insert", refuse)
	if err := b.Write(ctx, storetest.Schema.Collection, op)[0]; err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a refused command is told as %v", err)
	}
	if err := b.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range recorder.Ended()[begun:] {
		names = append(names, s.Name())
		if s.Parent().SpanID() != caller.SpanContext().SpanID() {
			t.Errorf("%s is not under the caller's span", s.Name())
		}
		attributes := attribute.NewSet(s.Attributes()...)
		if system, _ := attributes.Value("db.system.name"); system.AsString() != "mongodb" || s.SpanKind() != traceapi.SpanKindClient {
			t.Errorf("%s is of kind %v, of system %q", s.Name(), s.SpanKind(), system.AsString())
		}
		operation, _ := attributes.Value("db.operation.name")
		collection, has := attributes.Value("db.collection.name")
		if want := strings.TrimSpace(operation.AsString() + " " + collection.AsString()); want != s.Name() || has != strings.Contains(s.Name(), " ") {
			t.Errorf("%q has attributes %v", s.Name(), s.Attributes())
		}
		if strings.Contains(fmt.Sprint(s.Name(), s.Attributes(), s.Events(), s.Status()), secret) {
			t.Errorf("%s tells content: %v %v", s.Name(), s.Attributes(), s.Status())
		}
	}
	if want := []string{"insert test_people", "find test_people", "insert test_people", "ping"}; !slices.Equal(names, want) {
		t.Errorf("spans %q, want %q", names, want)
	}
	if failed := recorder.Ended()[begun+2].Status(); failed.Code != codes.Error {
		t.Errorf("the span of a refused command has status %v", failed)
	}
}

func TestMongoDBThatHandsOverIsCalledUnreachable(t *testing.T) {
	p, url := startProxy(t)
	docs := notes(t, url)
	p.next("insert", notPrimary)
	if err := docs.Insert(t.Context(), "a", note{"one"}); err != nil && !errors.Is(err, store.ErrUnreachable) {
		t.Errorf("it is told as %v", err)
	}
}

func TestMongoDBErrorsQuoteNoValues(t *testing.T) {
	_, url := startProxy(t)
	docs := notes(t, url)
	if err := docs.Insert(t.Context(), "a", note{secret}); err != nil {
		t.Fatal(err)
	}
	err := docs.Insert(t.Context(), "b", note{secret})
	var duplicate *store.DuplicateError
	if !errors.As(err, &duplicate) || strings.Contains(err.Error(), secret) {
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
