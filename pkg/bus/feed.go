package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// FeedEvent is one event of a tenant's feed, as its publisher stored it.
type FeedEvent struct {
	Sequence uint64 // its place in the feed, which has no gaps
	Header   map[string][]string
	Data     []byte
}

// ErrFeedMoved is returned for a place that the feed does not continue from: what followed it is
// older than the feed keeps, or the feed was made anew and has not come as far.
var ErrFeedMoved = errors.New("the feed does not continue from there")

// ErrNoFeed is returned for a tenant without a feed.
var ErrNoFeed = errors.New("the tenant has no feed")

// Feed returns the events of a tenant's feed that follow a place, at most limit, in order and
// without a gap; none where nothing followed yet. After place 0 it begins with the oldest event
// there is. A replica answers, which may lag.
func (b *Bus) Feed(ctx context.Context, tenant string, after uint64, limit int) ([]FeedEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	messages, err := jetstreamext.GetBatch(ctx, b.js, FeedStream(tenant), limit, jetstreamext.GetBatchSeq(after+1))
	if err != nil {
		return nil, fmt.Errorf("read feed: %w", err)
	}
	page := make([]FeedEvent, 0, limit)
	place := after
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, b.feedError(ctx, tenant, err)
		}
		if place > 0 && m.Sequence != place+1 {
			return nil, b.feedBroken(ctx, tenant, place+1)
		}
		place = m.Sequence
		page = append(page, FeedEvent{Sequence: m.Sequence, Header: m.Header, Data: m.Data})
	}
	if len(page) > 0 || after == 0 {
		return page, nil
	}
	return nil, b.feedReaches(ctx, tenant, after)
}

// FeedEnd returns the place of a feed's newest event, 0 where it has none.
func (b *Bus) FeedEnd(ctx context.Context, tenant string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, FeedStream(tenant))
	if err != nil {
		return 0, b.feedError(ctx, tenant, err)
	}
	return s.CachedInfo().State.LastSeq, nil
}

// FeedFrom returns the place after which a feed has what it got at a time or later.
func (b *Bus) FeedFrom(ctx context.Context, tenant string, at time.Time) (uint64, error) {
	end, err := b.FeedEnd(ctx, tenant)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	messages, err := jetstreamext.GetBatch(ctx, b.js, FeedStream(tenant), 1, jetstreamext.GetBatchStartTime(at))
	if err != nil {
		return 0, fmt.Errorf("read feed: %w", err)
	}
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return 0, b.feedError(ctx, tenant, err)
		}
		return m.Sequence - 1, nil
	}
	return end, nil
}

// feedReaches tells a reader that is up to date from one whose feed was made anew.
func (b *Bus) feedReaches(ctx context.Context, tenant string, place uint64) error {
	s, err := b.js.Stream(ctx, FeedStream(tenant))
	if err != nil {
		return b.feedError(ctx, tenant, err)
	}
	if s.CachedInfo().State.LastSeq < place {
		return ErrFeedMoved
	}
	return nil
}

// feedBroken tells an event that the feed has let go from one whose reply was lost.
func (b *Bus) feedBroken(ctx context.Context, tenant string, missing uint64) error {
	s, err := b.js.Stream(ctx, FeedStream(tenant))
	if err != nil {
		return b.feedError(ctx, tenant, err)
	}
	if s.CachedInfo().State.FirstSeq > missing {
		return ErrFeedMoved
	}
	return errors.New("read feed: a part of the answer was lost")
}

func (b *Bus) feedError(ctx context.Context, tenant string, cause error) error {
	if _, err := b.js.Stream(ctx, FeedStream(tenant)); errors.Is(err, jetstream.ErrStreamNotFound) {
		return ErrNoFeed
	}
	return fmt.Errorf("read feed: %w", cause)
}
