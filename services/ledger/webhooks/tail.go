package webhooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/usherhq/usher/pkg/bus"
)

const (
	tailPage = 256
	tailKept = 512 // events
)

// event is one of the feed as receivers get it. One that cannot be written so has no body, and is
// left out.
type event struct {
	sequence uint64
	id, kind string
	body     []byte
}

// encoder writes an event of a tenant's feed as CloudEvents JSON.
type encoder func(tenant string, e bus.FeedEvent) ([]byte, error)

// tail is the end of a tenant's feed, which is read and written out once for all endpoints that have
// come as far; the others read for themselves. Safe for concurrent use.
type tail struct {
	tenant string
	feed   feed
	encode encoder
	log    *slog.Logger
	pace   time.Duration // at which it looks while nothing follows

	mu     sync.Mutex
	end    uint64 // the newest event it knows of; 0 before it knows
	events []event
}

// follow reads on until ctx ends, and calls moved when there is more.
func (t *tail) follow(ctx context.Context, moved func()) {
	for {
		n, err := t.advance(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, bus.ErrNoFeed) {
			t.log.WarnContext(ctx, "feed not read for webhooks", "tenant", t.tenant, "error", err)
		}
		if n > 0 {
			moved()
		}
		if n == tailPage {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(t.pace):
		}
	}
}

// advance reads what follows, and returns how many events that were. It begins at the end.
func (t *tail) advance(ctx context.Context) (int, error) {
	end, _ := t.reaches()
	if end == 0 {
		return t.begin(ctx)
	}
	page, err := t.feed.Feed(ctx, t.tenant, end, tailPage)
	if errors.Is(err, bus.ErrFeedMoved) {
		return t.begin(ctx)
	}
	if err != nil || len(page) == 0 {
		return 0, err
	}
	read := t.write(ctx, page)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, read...)
	t.events = append([]event(nil), t.events[max(0, len(t.events)-tailKept):]...)
	t.end = page[len(page)-1].Sequence
	return len(page), nil
}

// begin finds the end of the feed, of which it then knows nothing else.
func (t *tail) begin(ctx context.Context) (int, error) {
	end, err := t.feed.FeedEnd(ctx, t.tenant)
	if err != nil || end == 0 {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end, t.events = end, nil
	return 1, nil
}

func (t *tail) write(ctx context.Context, page []bus.FeedEvent) []event {
	events := make([]event, len(page))
	for i, e := range page {
		body, err := t.encode(t.tenant, e)
		if err != nil {
			t.log.ErrorContext(ctx, "an event is left out of webhooks: it cannot be written", "tenant", t.tenant, "sequence", e.Sequence, "error", err)
		}
		events[i] = event{e.Sequence, first(e.Header["ce-id"]), first(e.Header["ce-type"]), body}
	}
	return events
}

// reaches returns the newest event it knows of, and whether it knows any.
func (t *tail) reaches() (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end, t.end > 0
}

// after returns events that follow a place, at most limit, in order and without a gap.
func (t *tail) after(ctx context.Context, place uint64, limit int) ([]event, error) {
	if kept, ok := t.kept(place, limit); ok {
		return kept, nil
	}
	page, err := t.feed.Feed(ctx, t.tenant, place, limit)
	if err != nil {
		return nil, fmt.Errorf("read feed for a webhook: %w", err)
	}
	return t.write(ctx, page), nil
}

// kept returns what it has of that itself. Of a place beyond its end only the feed can say whether
// it was made anew.
func (t *tail) kept(place uint64, limit int) ([]event, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.end > 0 && place == t.end {
		return nil, true
	}
	if len(t.events) == 0 || place+1 < t.events[0].sequence || place > t.end {
		return nil, false
	}
	from := t.events[place+1-t.events[0].sequence:]
	return from[:min(limit, len(from))], true
}
