package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

const (
	mostStreams = 64 // open streams of one tenant; one of the feed costs a read of it every streamPause
	streamPause = 250 * time.Millisecond
	streamBeat  = 15 * time.Second // a comment tells a quiet connection from a dead one
	streamStall = 30 * time.Second // a client that does not read is cut off
	streamPage  = 100
)

// streams counts the open streams of one kind of each tenant. Safe for concurrent use.
type streams struct {
	mu   sync.Mutex
	open map[string]int
}

// enter reports whether one more is allowed; then leave must be called.
func (s *streams) enter(t string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]int{}
	}
	if s.open[t] >= mostStreams {
		return false
	}
	s.open[t]++
	return true
}

func (s *streams) leave(t string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[t]--; s.open[t] == 0 {
		delete(s.open, t)
	}
}

// streamEvents answers GET /v1/events/stream as server-sent events, from the oldest, from after
// a cursor, or from after Last-Event-ID, which wins: a client that reconnects has it.
func (a *api) streamEvents(w http.ResponseWriter, r *http.Request) {
	q, ok := a.enterFeed(w, r)
	if !ok {
		return
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		after, err := cursor(last).sequence(q.tenant)
		if err != nil {
			problem(w, http.StatusBadRequest, "malformed", "header Last-Event-ID is not the id of an event of this stream")
			return
		}
		q.after = after
	}
	if !a.streams.enter(q.tenant) {
		w.Header().Set("Retry-After", "10")
		problem(w, http.StatusTooManyRequests, "too-many-streams", fmt.Sprintf("the tenant has %d open streams; close one", mostStreams))
		return
	}
	defer a.streams.leave(q.tenant)
	q.limit, q.purpose = streamPage, readStream
	page, after, err := a.read(r.Context(), q)
	if err != nil {
		a.feedFailed(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	s := &stream{w: w, control: http.NewResponseController(w)}
	for s.send(page) == nil && a.pause(r, q.tenant, s, after == q.after) {
		q.after = after
		if page, after, err = a.read(r.Context(), q); err != nil {
			a.streamFailed(r, err)
			return
		}
	}
}

// pause waits where there was nothing to read, and reports whether the stream goes on. Every
// beat it asks whether the token still allows it. A service that stops ends its streams.
func (a *api) pause(r *http.Request, t string, s *stream, idle bool) bool {
	quiet := time.Duration(0)
	if idle {
		quiet = streamPause
	}
	select {
	case <-r.Context().Done():
		return false
	case <-a.ending:
		return false
	case <-time.After(quiet):
	}
	return time.Since(s.beaten) < a.beat || a.stillAllowed(r, t) && s.beat() == nil
}

// stillAllowed asks again what enterFeed asked: a token may be revoked while its stream is open.
func (a *api) stillAllowed(r *http.Request, t string) bool {
	p, err := a.authenticate(r)
	_, known := a.env.Config.Tenant(t)
	return err == nil && known && p.Allows(t) && p.Has(tenant.Compliance)
}

// streamFailed ends a stream: the client reconnects, and is answered why.
func (a *api) streamFailed(r *http.Request, err error) {
	if r.Context().Err() == nil && !errors.Is(err, bus.ErrFeedMoved) && !errors.Is(err, context.Canceled) {
		a.env.Log.WarnContext(r.Context(), "event stream ended", "error", err)
	}
}

// stream writes server-sent events (WHATWG HTML, section 9.2).
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	beaten  time.Time
}

func (s *stream) send(page []fed) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(streamStall))
	for _, e := range page {
		if _, err := fmt.Fprintf(s.w, "id: %s\nevent: %s\ndata: %s\n\n", e.cursor, e.kind, e.body); err != nil {
			return err
		}
	}
	if s.beaten.IsZero() {
		return s.beat()
	}
	if len(page) == 0 {
		return nil
	}
	return s.control.Flush()
}

func (s *stream) beat() error {
	s.beaten = time.Now()
	_ = s.control.SetWriteDeadline(time.Now().Add(streamStall))
	if _, err := fmt.Fprint(s.w, ": beat\n\n"); err != nil {
		return err
	}
	return s.control.Flush()
}
