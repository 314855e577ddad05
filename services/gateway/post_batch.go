package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/native"
)

// Limits of a batch.
const (
	batchLines  = 10_000
	batchBytes  = 64 << 20
	batchOpen   = 128              // lines under way at once
	batchMemory = 64 << 20         // bytes of lines under way in all batches of the gateway
	batchStall  = 30 * time.Second // a client that neither sends nor reads for so long is cut off
	batchTime   = time.Hour        // a slower one may send the rest in another batch
)

var (
	errStopping = errors.New("the gateway ends")
	errLate     = errors.New("the batch took too long")
)

// postBatch answers POST /v1/registrations:batch: a registration on each line, a result for
// each line in the same order, streamed while the rest is still read. A line with an id is
// stored; one with a problem is not, or, where its status is 503, may be: the same line with
// its idempotency key finds out. Empty lines are counted and not answered. Where a tenant's
// rate is limited each line takes its turn, and the batch is slower rather than refused. Of
// lines with the same key the first comes first; otherwise lines are stored in parallel.
func (g *gateway) postBatch(w http.ResponseWriter, r *http.Request) {
	c, f := g.enterBatch(r)
	if f != nil {
		nativeFail(w, f)
		return
	}
	conn := http.NewResponseController(w)
	_ = conn.EnableFullDuplex() // HTTP/1.1: results go out while the client is still sending
	w.Header().Set("Content-Type", native.MediaTypeLines)
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	b := &batch{gateway: g, request: r, version: configOf(r).Version, caller: c, client: g.client(r), body: &stallReader{r.Body, conn, ctx, g.stall}, keys: map[string]chan struct{}{}, results: make(chan chan native.Result, batchLines+1)}
	defer b.endWith(ctx, cancel, conn)()
	go b.read(ctx, newLineReader(http.MaxBytesReader(nil, io.NopCloser(b.body), batchBytes)))
	for pending := range b.results {
		var result native.Result
		select {
		case result = <-pending:
		default: // whoever waits for a slow line has all before it
			_ = conn.Flush()
			result = <-pending
		}
		_ = conn.SetWriteDeadline(time.Now().Add(g.stall))
		if _, err := w.Write(result.JSON()); err != nil {
			cancel(err)
		}
		if len(b.results) == 0 && conn.Flush() != nil {
			cancel(errors.New("the client is gone"))
		}
	}
}

func (g *gateway) enterBatch(r *http.Request) (caller, *failure) {
	c, f := g.access.enter(r, tenant.Channel)
	if f == nil {
		f = g.intakeOpen(r.Context(), c.tenant, c.tenant.Dialects.Native)
	}
	if f == nil {
		f = takes(native.MediaTypeLines, r.Header)
	}
	if f == nil && r.Header.Get("Idempotency-Key") != "" {
		f = fail(http.StatusBadRequest, "malformed", "a batch has no Idempotency-Key; give each line its own idempotencyKey")
	}
	return c, f
}

// batch is one request for many registrations.
type batch struct {
	gateway *gateway
	request *http.Request
	caller  caller
	client  events.Client
	body    *stallReader
	keys    map[string]chan struct{} // of the lines read: closed when the last with the key is done
	// results has room for all: a client may send everything before it reads the first.
	results chan chan native.Result

	mu      sync.Mutex
	version string   // of the configuration that the caller was last held against
	refused *failure // by that version
}

// endWith stops reading when ctx ends, with the process or after batchTime, until what it
// returns is called.
func (b *batch) endWith(ctx context.Context, cancel context.CancelCauseFunc, conn *http.ResponseController) (undo func()) {
	late := time.AfterFunc(batchTime, func() { cancel(errLate) })
	unblock := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	go func() {
		select {
		case <-b.gateway.stopping:
			cancel(errStopping)
		case <-ctx.Done():
		}
	}()
	return func() {
		late.Stop()
		unblock()
	}
}

// read stores the registrations of the lines, at most batchOpen at once, and gives the results
// in the order of the lines. It ends with the body, with ctx or at a limit.
func (b *batch) read(ctx context.Context, lines *lineReader) {
	defer close(b.results)
	open := make(chan struct{}, batchOpen)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return
		}
		n := lines.n
		if err == nil {
			err = b.turn(ctx, int64(len(line)))
		}
		result := make(chan native.Result, 1)
		b.results <- result
		if err != nil {
			result <- refusedLine(n, endOf(ctx, err))
			b.drain(err)
			return
		}
		open <- struct{}{}
		store := b.decode(ctx, n, line)
		go func() {
			result <- b.guard(ctx, n, store)
			b.gateway.lines.Release(int64(len(line)))
			<-open
		}()
	}
}

// guard runs a part of a line's work. A panic there ends the line, not the process.
func (b *batch) guard(ctx context.Context, n int, work func() native.Result) (result native.Result) {
	defer func() {
		if p := recover(); p != nil {
			b.gateway.env.Log.ErrorContext(ctx, "line of a batch panicked", "stack", string(debug.Stack()))
			result = refusedLine(n, unavailable(sendAgain))
		}
	}()
	return work()
}

// turn waits until a line of so many bytes may be stored.
func (b *batch) turn(ctx context.Context, bytes int64) error {
	if err := b.gateway.access.limits.await(ctx, func() *tenant.Tenant { return b.now().tenant }); err != nil {
		return err
	}
	return b.gateway.lines.Acquire(ctx, bytes)
}

// enter holds the caller against the configuration in force: a batch can take an hour, and each of
// its lines is a registration of its own.
func (b *batch) enter() (caller, *failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if current := b.gateway.env.Config.Current().Version; current != b.version {
		b.version, b.refused = current, b.authenticate()
	}
	return b.now(), b.refused
}

func (b *batch) authenticate() *failure {
	p, f := b.gateway.access.authenticate(b.request)
	if f == nil && (!p.Has(tenant.Channel) || !p.Allows(b.caller.tenant.ID)) {
		f = fail(http.StatusForbidden, "forbidden", "the token does not allow this tenant any more")
	}
	return f
}

// now is the caller with the tenant as it is configured now. A tenant that is gone takes no more.
func (b *batch) now() caller {
	c := b.caller
	if t, known := b.gateway.env.Config.Tenant(c.tenant.ID); known {
		c.tenant = t
		return c
	}
	gone := *c.tenant
	gone.Disabled = true
	c.tenant = &gone
	return c
}

// drain reads on for a while where a limit ended the batch: a client that sends everything first
// would otherwise lose its connection before it reads the results.
func (b *batch) drain(err error) {
	var tooLarge *http.MaxBytesError
	if errors.Is(err, errTooMany) || errors.As(err, &tooLarge) {
		_, _ = io.CopyN(io.Discard, b.body, batchBytes)
	}
}

// decode reads a line and returns what is left to do for it, which may wait.
func (b *batch) decode(ctx context.Context, n int, line []byte) (store func() native.Result) {
	refused := b.guard(ctx, n, func() native.Result {
		registration, password, key, err := native.DecodeLine(line, native.Settings{})
		switch {
		case err != nil:
			p := native.Malformed(err)
			return native.Result{Line: n, Problem: &p}
		case len(key) > longestKey:
			return refusedLine(n, fail(http.StatusBadRequest, "malformed", "idempotencyKey must be at most 255 characters long"))
		}
		registration.Client = b.client
		before, done := b.follow(key)
		store = func() native.Result {
			defer close(done)
			<-before
			return b.store(ctx, n, registration, password, key)
		}
		return native.Result{}
	})
	if store == nil {
		return func() native.Result { return refused }
	}
	return store
}

var nothingBefore = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// follow returns what is closed when the line before with the same key is done, and what to
// close when this one is.
func (b *batch) follow(key string) (before, done chan struct{}) {
	before, done = nothingBefore, make(chan struct{})
	if key == "" {
		return before, done
	}
	if earlier, ok := b.keys[key]; ok {
		before = earlier
	}
	b.keys[key] = done
	return before, done
}

func (b *batch) store(ctx context.Context, n int, registration events.Registration, password, key string) native.Result {
	g := b.gateway
	ctx, span := g.env.Telemetry.Tracer.Tracer("gateway").Start(ctx, "line of POST /v1/registrations:batch", trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)))
	defer span.End()
	c, f := b.enter()
	if f == nil {
		f = g.intakeOpen(ctx, c.tenant, c.tenant.Dialects.Native)
	}
	var s submission
	if f == nil {
		s, f = g.submission(ctx, c, registration, password, key)
	}
	if f == nil {
		_, f = g.intake.accept(ctx, s)
	}
	switch {
	case f == nil:
		return native.Stored(n, s.id)
	case f.kind == "unavailable":
		return refusedLine(n, unavailable(sendAgain))
	}
	return refusedLine(n, f)
}

const sendAgain = "the registration may not be stored; send the line again with the same idempotencyKey"

func refusedLine(n int, f *failure) native.Result {
	p := native.NewProblem(f.status, f.kind, f.detail)
	p.RetryAfter = f.retrySeconds()
	return native.Result{Line: n, Problem: &p}
}

// endOf tells why this line and those after it are not stored.
func endOf(ctx context.Context, err error) *failure {
	var tooLarge *http.MaxBytesError
	cause := context.Cause(ctx)
	switch {
	case errors.Is(err, errTooMany):
		return fail(http.StatusRequestEntityTooLarge, "too-large", "a batch has at most 10,000 lines; send this line and the rest in another")
	case errors.As(err, &tooLarge):
		return fail(http.StatusRequestEntityTooLarge, "too-large", "a batch has at most 64 MiB; send this line and the rest in another")
	case errors.Is(cause, errStopping):
		return unavailable("the gateway ends; send this line and the rest again")
	case errors.Is(cause, errLate), errors.Is(err, os.ErrDeadlineExceeded):
		return fail(http.StatusRequestTimeout, "timeout", "the batch did not come in time; send this line and the rest in another")
	}
	return fail(http.StatusBadRequest, "malformed", "the body could not be read further; send this line and the rest again")
}

// lineReader gives the lines of a batch that are not empty.
type lineReader struct {
	in *bufio.Reader
	n  int // number of the line that next gave last or failed at, from 1
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{in: bufio.NewReaderSize(r, 64<<10)} }

var errTooMany = errors.New("too many lines")

// next returns a line without its end. A line that is too long is cut, so that its decoder
// refuses it. After an error that is not io.EOF nothing more can be read.
func (l *lineReader) next() ([]byte, error) {
	for {
		line, err := l.read()
		l.n++
		switch {
		case err != nil && len(line) == 0:
			return nil, err
		case l.n > batchLines:
			return nil, errTooMany
		case len(line) > jsonbody.MaxBytes:
			return line, nil
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

// read returns the bytes up to the end of the line, and of a line that is too long one byte
// more than fits.
func (l *lineReader) read() (line []byte, err error) {
	for {
		part, err := l.in.ReadSlice('\n')
		if room := jsonbody.MaxBytes + 1 - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			return line, err
		}
	}
}

// stallReader gives every read its own deadline: a long batch may take its time, a stalled one
// may not. While the client sends, it need not read. At the end of the body the server takes
// the deadline for reading away itself.
type stallReader struct {
	io.Reader
	conn  *http.ResponseController
	ctx   context.Context // ends the reading
	stall time.Duration
}

func (s *stallReader) Read(p []byte) (int, error) {
	stalled := time.Now().Add(s.stall)
	_ = s.conn.SetReadDeadline(stalled)
	_ = s.conn.SetWriteDeadline(stalled)
	if err := s.ctx.Err(); err != nil { // after the deadline, which ctx's end sets too
		return 0, err
	}
	return s.Reader.Read(p)
}
