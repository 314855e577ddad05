package gateway

import (
	"context"
	"net/http"
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
	shortestPoll = 4 * time.Millisecond // after a wake
	longestPoll  = 5 * time.Second      // for a wake that never comes
)

// until reads the history until done says so, ctx ends, the time is up or the process stops;
// it returns the last history read, and whether done said so. A wake only tells that it is
// worth reading soon: the message may not be stored yet, or never. Whoever is told that nothing
// is decided yet is told so by a reading of that moment.
func (w *watcher) until(ctx context.Context, limit time.Duration, done func([]events.Record) bool) (history []events.Record, ok bool) {
	end := time.NewTimer(limit)
	defer end.Stop()
	poll := longestPoll
	for last := false; ; {
		h, err := w.bus.History(ctx, w.tenant, w.registration)
		if err == nil {
			if history = h; done(history) {
				return history, true
			}
		}
		if last {
			return history, false
		}
		select {
		case <-ctx.Done():
			return history, false
		case <-end.C:
			last = true
		case <-w.stopping:
			last = true
		case <-w.wake:
			poll = shortestPoll
		case <-time.After(poll):
			poll = min(16*poll, longestPoll)
		}
	}
}

// answerable reports whether a synchronous caller can be told what became of it.
func answerable(history []events.Record) bool {
	for _, r := range history {
		switch r.Event.(type) {
		case events.Rejected, events.AccountCreated, events.ReviewRequired, events.Failed, events.ErasureRequested, events.Erased:
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

// acceptance is a stored registration and, where its caller waits, the watch on what becomes
// of it. The caller calls stop.
type acceptance struct {
	at    time.Time
	watch *watcher // nil where nobody waits
	stop  func()
}

// outcome waits until a synchronous caller can be told something, at most limit, and returns
// what the stream has then. It ends early with the client and with the process.
func (a acceptance) outcome(ctx context.Context, limit time.Duration) []events.Record {
	if a.watch == nil {
		return nil
	}
	history, _ := a.watch.until(ctx, limit, answerable)
	return history
}

// answerVendor stores a registration and answers with its outcome, or with its history until then
// where that takes longer than the tenant's time or than the client wants to wait.
func (g *gateway) answerVendor(w http.ResponseWriter, r *http.Request, s submission, refuse func(http.ResponseWriter, *failure), outcome func([]events.Record)) {
	prefer := preferenceOf(r)
	most := time.Duration(s.tenant.SyncTimeout)
	wait := min(prefer.within(most), most)
	a, f := g.submit(r.Context(), s, wait)
	if f != nil {
		refuse(w, f)
		return
	}
	defer a.stop()
	w.Header().Set("X-Registration-ID", s.id)
	prefer.header(w)
	history := a.outcome(r.Context(), wait)
	if erasing(history) {
		refuse(w, erasedUnder)
		return
	}
	outcome(history)
}
