package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
)

// publisher is where decisions and accesses are published, each once.
type publisher interface {
	// Publish stores an event of a registration or, where that is empty, a fact about the tenant.
	Publish(ctx context.Context, tenant, registration string, e events.Event) error
	StoredAt(ctx context.Context, s events.Subject) (events.Record, error)
}

// persons unseals who a case is about.
type persons interface {
	Get(ctx context.Context, tenant, registration string, sequence uint64) (vault.Entry, error)
}

// sealer keeps notes from whoever reads documents.
type sealer interface {
	Seal(name, tenant, aad string, plaintext []byte) ([]byte, error)
	Open(name, tenant, aad string, sealed []byte) ([]byte, error)
}

// queue are the cases that persons decide. Safe for concurrent use.
type queue struct {
	cases *store.Docs[review]
	disclosure
	keys  sealer
	model *readModel // tells which registrations are erased
}

func newQueue(env *app.Env, model *readModel) *queue {
	return &queue{store.NewDocs(env.Store, reviewSchema, review.fields), disclosure{env.Bus, env.Vault}, env.Keys, model}
}

// Why a case cannot be changed as asked.
var (
	errNoCase     = errors.New("the tenant has no such case")
	errClosed     = errors.New("the case is not open any more")
	errFourEyes   = errors.New("the first of two persons may not be the second")
	errAssigned   = errors.New("the case is assigned to somebody else")
	errTooMany    = errors.New("the case has as many notes as it can")
	errContention = errors.New("the case is being changed by others")
)

// get returns a case of a tenant, or errNoCase.
func (q *queue) get(ctx context.Context, tenant, id string) (review, error) {
	c, err := q.cases.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && c.Value.Tenant != tenant {
		return review{}, errNoCase
	}
	return c.Value, err
}

// changeTries is how often a change begins anew because another was faster.
const changeTries = 10

// change edits a case. It leaves one that is withdrawn empty, whatever the edit does.
func (q *queue) change(ctx context.Context, id string, edit func(*review) error) (review, error) {
	for range changeTries {
		c, err := q.cases.Get(ctx, id)
		if err != nil {
			return review{}, err
		}
		if err := edit(&c.Value); err != nil {
			return c.Value, err
		}
		c.Value.settle()
		_, err = q.cases.Update(ctx, c)
		if !errors.Is(err, store.ErrConflict) {
			return c.Value, err
		}
	}
	return review{}, errContention
}

// changeOpen edits a case of a tenant that is open.
func (q *queue) changeOpen(ctx context.Context, tenant, id string, edit func(*review) error) (review, error) {
	if _, err := q.get(ctx, tenant, id); err != nil {
		return review{}, err
	}
	return q.change(ctx, id, func(c *review) error {
		if c.State != ReviewOpen {
			return errClosed
		}
		return edit(c)
	})
}

// take assigns a case to a reviewer, unless it is another's.
func (q *queue) take(ctx context.Context, tenant, id, reviewer string) (review, error) {
	return q.changeOpen(ctx, tenant, id, func(c *review) error {
		if c.Assignee != "" && c.Assignee != reviewer {
			return errAssigned
		}
		c.Assignee = reviewer
		return nil
	})
}

// assign gives a case to somebody, or to nobody.
func (q *queue) assign(ctx context.Context, tenant, id, to string) (review, error) {
	return q.changeOpen(ctx, tenant, id, func(c *review) error { c.Assignee = to; return nil })
}

const mostNotes = 100

func noteAAD(tenant, id string) string { return tenant + "|" + id + "|note" }

// note adds words to an open case.
func (q *queue) note(ctx context.Context, tenant, id, by, text string) (review, error) {
	sealed, err := q.keys.Seal(keys.Data, tenant, noteAAD(tenant, id), []byte(text))
	if err != nil {
		return review{}, fmt.Errorf("seal note: %w", err)
	}
	return q.changeOpen(ctx, tenant, id, func(c *review) error {
		if len(c.Notes) >= mostNotes {
			return errTooMany
		}
		c.Notes = append(c.Notes, note{time.Now().UnixMilli(), by, sealed})
		return nil
	})
}

// decide publishes a reviewer's decision, once for all who try, and returns the case as the
// stream's leader has it decided then; errClosed where that is not this decision. The same
// decision sent again is no error.
func (q *queue) decide(ctx context.Context, tenant, id string, approved bool, actor, reason string) (review, error) {
	c, err := q.get(ctx, tenant, id)
	if err != nil {
		return c, err
	}
	own := events.ReviewDecided{Case: c.Case, Approved: approved, Actor: actor, Reason: reason}
	switch {
	case c.Decided != nil && c.Decided.ReviewDecided == own:
		return c, nil
	case c.State != ReviewOpen:
		return c, errClosed
	case c.Asked.FirstActor == actor:
		return c, errFourEyes
	}
	if err := q.stream.Publish(ctx, tenant, c.Registration, own); err != nil && !errors.Is(err, bus.ErrExists) {
		return c, fmt.Errorf("publish decision of a review: %w", err)
	}
	stored, err := q.stream.StoredAt(ctx, events.SubjectOf(tenant, c.Registration, own))
	if err != nil {
		return c, fmt.Errorf("read decision of a review: %w", err)
	}
	if err := q.onReviewEvent(ctx, stored); err != nil {
		return c, err
	}
	if c, err = q.get(ctx, tenant, id); err == nil && (c.Decided == nil || c.Decided.ReviewDecided != own) {
		err = errClosed
	}
	return c, err
}

// opened is a case with what is sealed of it.
type opened struct {
	review
	person *events.Applicant // nil once nobody has to decide, or when it is gone from the vault
	notes  []string
}

// open unseals a case for somebody, after it is published that he asked for it.
func (q *queue) open(ctx context.Context, tenant, id, actor string) (opened, error) {
	c, err := q.get(ctx, tenant, id)
	if err != nil {
		return opened{}, err
	}
	if err := q.log(ctx, tenant, events.PersonAccessed{Actor: actor, Purpose: "review", Registration: c.Registration, Case: c.Case}); err != nil {
		return opened{}, err
	}
	o := opened{review: c}
	for _, n := range c.Notes {
		text, err := q.keys.Open(keys.Data, tenant, noteAAD(tenant, id), n.Sealed)
		if err != nil {
			return opened{}, fmt.Errorf("open note: %w", err)
		}
		o.notes = append(o.notes, string(text))
	}
	if c.State != ReviewOpen {
		return o, nil
	}
	if o.person, err = q.person(ctx, tenant, c.Registration, c.Asked.Vault); err != nil {
		return opened{}, err
	}
	return o, nil
}

// filter selects cases of a tenant, the oldest first.
type filter struct {
	State      ReviewState // "" for all
	Assignee   *string     // "" for those of nobody
	OpenedFrom time.Time
	OpenedTo   time.Time
	After      string
	Limit      int
}

// list returns a page and the cursor of the next.
func (q *queue) list(ctx context.Context, tenant string, f filter) ([]review, string, error) {
	query := store.Query{Where: store.Fields{"tenant": tenant}, Order: "openedAt", After: f.After, Limit: f.Limit}
	if f.State != "" {
		query.Where["state"] = string(f.State)
	}
	if f.Assignee != nil {
		query.Where["assignee"] = *f.Assignee
	}
	query.Range = &store.Range{Field: "openedAt", From: f.OpenedFrom.UnixMilli(), To: f.OpenedTo.UnixMilli()}
	page, next, err := q.cases.Find(ctx, query)
	found := make([]review, len(page))
	for i, c := range page {
		found[i] = c.Value
	}
	return found, next, err
}
