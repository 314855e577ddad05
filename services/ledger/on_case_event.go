package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

// onCaseEvent returns once an event of a tenant-level case is in its document; other events are
// passed over. The events of a case may come in any order, and again.
func (m *cases) onCaseEvent(ctx context.Context, r events.Record) error {
	switch e := r.Event.(type) {
	case events.CaseOpened:
		return m.learn(ctx, r, e.Case, func(c *tenantCase) {
			if e.Version > c.Opened.Version {
				c.Opened = e
			}
		})
	case events.CaseDecided:
		return m.learn(ctx, r, e.Case, func(c *tenantCase) { c.Decided = &caseDecided{r.Stored.UnixMilli(), e} })
	case events.CaseClosed:
		return m.learn(ctx, r, e.Case, func(c *tenantCase) { c.Closed, c.Opened.Registration = true, e.Registration })
	}
	return nil
}

// learn adds to a case what an event tells, unless its registration is erased.
func (m *cases) learn(ctx context.Context, r events.Record, id string, add func(*tenantCase)) error {
	at := r.Stored.UnixMilli()
	c, err := m.change(ctx, r.Subject.Tenant, id, func(c *tenantCase) {
		if c.OpenedAt == 0 || at < c.OpenedAt {
			c.OpenedAt = at
		}
		add(c)
	})
	if err != nil {
		return err
	}
	erased, err := m.erased(ctx, r.Subject.Tenant, c.Opened.Registration)
	if err != nil || !erased || c.Erased {
		return err
	}
	_, err = m.change(ctx, r.Subject.Tenant, id, func(c *tenantCase) { c.Erased = true })
	return err
}

// change edits a case, which may be new, again where another was faster.
func (m *cases) change(ctx context.Context, tenant, id string, edit func(*tenantCase)) (tenantCase, error) {
	key := tenant + "/" + id
	for range changeTries {
		s, err := m.docs.Get(ctx, key)
		fresh := errors.Is(err, store.ErrNotFound)
		if err != nil && !fresh {
			return tenantCase{}, fmt.Errorf("read case: %w", err)
		}
		if fresh {
			s.Value = tenantCase{Tenant: tenant, Opened: events.CaseOpened{Case: id}}
		}
		edit(&s.Value)
		s.Value.settle()
		if fresh {
			err = m.docs.Insert(ctx, key, s.Value)
		} else {
			_, err = m.docs.Update(ctx, s)
		}
		switch {
		case err == nil:
			return s.Value, nil
		case !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrConflict):
			return tenantCase{}, fmt.Errorf("store case: %w", err)
		}
	}
	return tenantCase{}, errContention
}

// withdraw forgets what the cases of a registration tell of it.
func (m *cases) withdraw(ctx context.Context, registration string) error {
	for after := ""; ; {
		page, next, err := m.docs.Find(ctx, store.Query{Where: store.Fields{"registration": registration}, After: after, Limit: longestPage})
		if err != nil {
			return fmt.Errorf("find cases of a registration: %w", err)
		}
		for _, c := range page {
			if _, err := m.change(ctx, c.Value.Tenant, c.Value.Opened.Case, func(c *tenantCase) { c.Erased = true }); err != nil {
				return err
			}
		}
		if after = next; after == "" {
			return nil
		}
	}
}
