package gateway

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// watcher waits for something to stand in a registration's history. It begins to listen
// before the request that it waits for is published.
type watcher struct {
	bus                  *bus.Bus
	tenant, registration string
	wake                 <-chan struct{}
	stop                 func()
	stopping             <-chan struct{} // the process is about to end: answer with what is known
}

func (g *gateway) watch(tenant, registration string) (*watcher, error) {
	wake, stop, err := g.env.Bus.Watch(tenant, registration)
	if err != nil {
		return nil, err
	}
	return &watcher{g.env.Bus, tenant, registration, wake, stop, g.stopping}, nil
}

const (
	shortestPoll = 4 * time.Millisecond
	longestPoll  = time.Second
)

// until reads the history until done says so, ctx ends, the time is up or the process stops; it returns the last
// history read, and whether done said so. A wake only tells that it is worth reading soon:
// the message may not be stored yet, or never.
func (w *watcher) until(ctx context.Context, limit time.Duration, done func([]events.Record) bool) (history []events.Record, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	poll := shortestPoll
	for {
		h, err := w.bus.History(context.WithoutCancel(ctx), w.tenant, w.registration)
		if err == nil {
			if history = h; done(history) {
				return history, true
			}
		}
		select {
		case <-ctx.Done():
			return history, false
		case <-w.stopping:
			return history, false
		case <-w.wake:
			poll = shortestPoll
		case <-time.After(poll):
			poll = min(2*poll, longestPoll)
		}
	}
}

// answerable reports whether a synchronous caller can be told what became of it.
func answerable(history []events.Record) bool {
	for _, r := range history {
		switch r.Event.(type) {
		case events.Rejected, events.AccountCreated, events.ReviewRequired, events.Failed:
			return true
		}
	}
	return false
}

// find returns the first event of a type in a history.
func find[E events.Event](history []events.Record) (E, events.Record, bool) {
	for _, r := range history {
		if e, ok := r.Event.(E); ok {
			return e, r, true
		}
	}
	var none E
	return none, events.Record{}, false
}

// preference is what a client asks for with Prefer (RFC 7240).
type preference struct {
	async   bool
	wait    time.Duration
	applied string // for Preference-Applied
}

// preferenceOf reads respond-async and wait=N; the rest of the header is ignored, as RFC 7240
// wants.
func preferenceOf(r *http.Request) preference {
	var p preference
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Prefer"), ","), ",") {
		token, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		name, value, _ := strings.Cut(token, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "respond-async":
			p.async = true
		case "wait":
			if n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`)); err == nil && n >= 0 && p.wait == 0 {
				p.wait = time.Duration(min(n, 60)) * time.Second
				p.applied = "wait=" + strconv.Itoa(n)
			}
		}
	}
	if p.async && p.wait == 0 {
		p.applied = "respond-async"
	}
	return p
}

func (p preference) header(w http.ResponseWriter) {
	if p.applied != "" {
		w.Header().Set("Preference-Applied", p.applied)
	}
}
