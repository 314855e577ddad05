package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

// reviewID is the id of the case whose decision has a version.
func reviewID(registration string, version int) string {
	return registration + "-" + strconv.Itoa(version)
}

// onReviewEvent returns once the queue has what an event tells of a case; other events are passed
// over. The events of a case may come in any order, and again.
func (q *queue) onReviewEvent(ctx context.Context, r events.Record) error {
	switch e := r.Event.(type) {
	case events.ReviewRequired:
		return q.learn(ctx, r, e.NextCase, func(c *review) { c.Asked = &asked{r.Stored.UnixMilli(), e} })
	case events.ReviewDecided:
		return q.learn(ctx, r, e.Case, func(c *review) { c.Decided = &decided{r.Stored.UnixMilli(), e} })
	}
	return nil
}

// learn adds to a case what an event tells. One whose registration is erased is withdrawn at once:
// the erasure puts its tombstone before it looks for cases, and here the case is put before the
// tombstone is looked for, so that one of the two meets the other.
func (q *queue) learn(ctx context.Context, r events.Record, version int, add func(*review)) error {
	id := reviewID(r.Subject.Registration, version)
	c := review{Tenant: r.Subject.Tenant, Registration: r.Subject.Registration, Case: version}
	add(&c)
	c.settle()
	err := q.cases.Insert(ctx, id, c)
	if errors.Is(err, store.ErrExists) {
		_, err = q.change(ctx, id, func(c *review) error { add(c); return nil })
	}
	if err != nil {
		return fmt.Errorf("keep case of a review: %w", err)
	}
	told, _, err := q.model.get(ctx, r.Subject.Tenant, r.Subject.Registration)
	if err != nil {
		return fmt.Errorf("read registration of a review: %w", err)
	}
	if told.Erased {
		return q.withdraw(ctx, r.Subject.Registration)
	}
	return nil
}

// withdraw ends the cases of a registration and forgets for good what they tell of the person.
func (q *queue) withdraw(ctx context.Context, registration string) error {
	cases, _, err := q.cases.Find(ctx, store.Query{Where: store.Fields{"registration": registration}, Limit: 1000})
	if err != nil {
		return fmt.Errorf("find cases of a registration: %w", err)
	}
	for _, c := range cases {
		if _, err := q.change(ctx, c.ID, func(c *review) error { c.Erased = true; return nil }); err != nil {
			return fmt.Errorf("withdraw case of a review: %w", err)
		}
	}
	if err := q.model.documents.Purge(ctx); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	return nil
}
