package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/usherhq/usher/events"
)

// factsAtOnce is how many facts one request brings.
const factsAtOnce = 256

// FactsSince returns a tenant's facts of a kind that were stored since a time, oldest first. What
// only a newer version can read is left out. A replica answers, which may lag.
func (b *Bus) FactsSince(ctx context.Context, tenant string, kind events.Step, since time.Time) ([]events.Record, error) {
	from := jetstreamext.GetBatchStartTime(since)
	var facts []events.Record
	for {
		page, err := b.someFacts(ctx, "tenant."+tenant+"."+string(kind)+".*", from)
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			if r, ok := decodeStored(m); ok {
				facts = append(facts, r)
			}
		}
		if len(page) < factsAtOnce {
			return facts, nil
		}
		from = jetstreamext.GetBatchSeq(page[len(page)-1].Sequence + 1)
	}
}

func (b *Bus) someFacts(ctx context.Context, subjects string, from jetstreamext.GetBatchOpt) (page []*jetstream.RawStreamMsg, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	messages, err := jetstreamext.GetBatch(ctx, b.js, Tenants, factsAtOnce, jetstreamext.GetBatchSubject(subjects), from)
	if err != nil {
		return nil, fmt.Errorf("read facts: %w", err)
	}
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read facts: %w", err)
		}
		page = append(page, m)
	}
	return page, nil
}
