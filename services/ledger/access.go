package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

// What is read, and by the choice of readers of the feed, why.
const (
	readRegistration = "registration"
	readMails        = "mails"
	readFeed         = "feed"
	readStream       = "stream"
	readExport       = "export"
	readAudit        = "audit"
)

// accessWindow is how long what somebody reads of the feed is gathered into one fact.
const accessWindow = time.Minute

// accesses tells who read what, as facts of the tenant. Safe for concurrent use.
type accesses struct {
	stream publisher
	log    *slog.Logger

	mu   sync.Mutex
	open map[feedReader]events.RecordAccessed // read in this window and not told yet
}

type feedReader struct{ tenant, actor, purpose string }

func newAccesses(p publisher, log *slog.Logger) *accesses {
	return &accesses{stream: p, log: log, open: map[feedReader]events.RecordAccessed{}}
}

// tell returns once an access is stored; nothing is shown before.
func (a *accesses) tell(ctx context.Context, t string, access events.RecordAccessed) error {
	access.ID = rand.Text()
	if err := a.stream.Publish(ctx, t, "", access); err != nil {
		return fmt.Errorf("publish access: %w", err)
	}
	return nil
}

// page tells of a part of the feed before it is handed out: at once where its reader has read nothing
// in this window, else at the window's end. The facts and signatures that reading leads to do not
// count, so that no reader is woken by its own reading for ever.
func (a *accesses) page(ctx context.Context, q feedQuery, page []fed) error {
	access := events.RecordAccessed{Actor: q.actor, Purpose: q.purpose}
	for _, e := range page {
		if e.kind == (events.RecordAccessed{}).Type() || e.kind == (events.Checkpoint{}).Type() {
			continue
		}
		if access.Count++; access.Count == 1 {
			access.From = e.sequence
		}
		access.To = e.sequence
	}
	if access.Count == 0 {
		return nil
	}
	r := feedReader{q.tenant, q.actor, q.purpose}
	if a.gathered(r, access) {
		return nil
	}
	err := a.tell(ctx, q.tenant, access)
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.open[r].Count == 0 { // else others were handed out meanwhile, and are told at the window's end
			delete(a.open, r)
		}
	}
	return err
}

// gathered adds to what is told at the end of the window, or begins one and reports false.
func (a *accesses) gathered(r feedReader, access events.RecordAccessed) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	before, open := a.open[r]
	switch {
	case !open:
		access = events.RecordAccessed{}
	case before.Count > 0:
		access.From, access.To = min(before.From, access.From), max(before.To, access.To)
		access.Count += before.Count
	}
	a.open[r] = access
	return open
}

// run ends a window after the other until ctx ends, and then the last one.
func (a *accesses) run(ctx context.Context, window time.Duration) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(window):
		}
		a.end(context.WithoutCancel(ctx))
	}
}

// end tells what was gathered. What cannot be told now is so in the next window.
func (a *accesses) end(ctx context.Context) {
	a.mu.Lock()
	ended := a.open
	a.open = map[feedReader]events.RecordAccessed{}
	a.mu.Unlock()
	for r, access := range ended {
		if access.Count == 0 {
			continue
		}
		if err := a.tell(ctx, r.tenant, access); err != nil {
			a.log.WarnContext(ctx, "access to the feed not told", "tenant", r.tenant, "error", err)
			a.gathered(r, events.RecordAccessed{})
			a.gathered(r, access)
		}
	}
}

// told reports that an access is stored; where it cannot be, it has answered.
func (a *api) told(w http.ResponseWriter, r *http.Request, p tenant.Principal, t string, access events.RecordAccessed) bool {
	access.Actor = p.Subject
	err := a.accesses.tell(r.Context(), t, access)
	if err != nil {
		a.failed(w, r, err)
	}
	return err == nil
}
