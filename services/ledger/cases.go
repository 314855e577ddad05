package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
)

// cases are the tenant-level cases: customers who may be on a list that changed. Safe for
// concurrent use.
type cases struct {
	docs *store.Docs[tenantCase]
	disclosure
	registrations *readModel
}

func newCases(env *app.Env, m *readModel) *cases {
	return &cases{store.NewDocs(env.Store, caseSchema, tenantCase.fields), disclosure{env.Bus, env.Vault}, m}
}

// erased reports whether a registration has its tombstone.
func (m *cases) erased(ctx context.Context, tenant, registration string) (bool, error) {
	if registration == "" { // only the decision has come
		return false, nil
	}
	r, _, err := m.registrations.get(ctx, tenant, registration)
	if err != nil {
		return false, fmt.Errorf("read registration of a case: %w", err)
	}
	return r.Erased, nil
}

// get returns a case of a tenant, or errNoCase.
func (m *cases) get(ctx context.Context, tenant, id string) (tenantCase, error) {
	c, err := m.docs.Get(ctx, tenant+"/"+id)
	if errors.Is(err, store.ErrNotFound) {
		return tenantCase{}, errNoCase
	}
	if err != nil {
		return tenantCase{}, fmt.Errorf("read case: %w", err)
	}
	return c.Value, nil
}

// decide publishes a reviewer's decision, once for all who try, and returns the case as the
// stream's leader has it decided then; errClosed where that is not this decision. The same decision
// sent again is no error. Where risk has meanwhile opened the case again, that opening is decided.
func (m *cases) decide(ctx context.Context, tenant, id string, cleared bool, actor, reason string) (tenantCase, error) {
	for range changeTries {
		c, err := m.get(ctx, tenant, id)
		if err != nil {
			return c, err
		}
		own := events.CaseDecided{Case: id, Version: c.Opened.NextVersion, Cleared: cleared, Actor: actor, Reason: reason}
		if c.Decided != nil && c.Decided.same(own) {
			return c, nil
		}
		if c.State != CaseOpen {
			return c, errClosed
		}
		if err := m.stream.Publish(ctx, tenant, "", own); err != nil && !errors.Is(err, bus.ErrExists) {
			return c, fmt.Errorf("publish decision of a case: %w", err)
		}
		stored, err := m.stream.StoredAt(ctx, events.SubjectOf(tenant, "", own))
		if err != nil {
			return c, fmt.Errorf("read decision of a case: %w", err)
		}
		if err := m.onCaseEvent(ctx, stored); err != nil {
			return c, err
		}
	}
	return tenantCase{}, errContention
}

// same reports whether it is the same decision, of whichever opening.
func (d caseDecided) same(other events.CaseDecided) bool {
	other.Version = d.Version
	return d.CaseDecided == other
}

// open returns a case and, while somebody has to decide, the person, after it is published that
// somebody asked for it; nil when it is gone from the vault.
func (m *cases) open(ctx context.Context, tenant, id, actor string) (tenantCase, *events.Applicant, error) {
	c, err := m.get(ctx, tenant, id)
	if err != nil {
		return c, nil, err
	}
	if err := m.log(ctx, tenant, events.PersonAccessed{Actor: actor, Purpose: "case", Registration: c.Opened.Registration}); err != nil {
		return c, nil, err
	}
	if c.State != CaseOpen {
		return c, nil, nil
	}
	p, err := m.person(ctx, tenant, vault.CaseOf(c.Opened.Registration), c.Opened.Vault)
	return c, p, err
}

// list returns a page of a tenant's cases, the oldest first, and the cursor of the next.
func (m *cases) list(ctx context.Context, tenant string, state CaseState, after string, limit int) ([]tenantCase, string, error) {
	query := store.Query{Where: store.Fields{"tenant": tenant}, Order: "openedAt", After: after, Limit: limit}
	if state != "" {
		query.Where["state"] = string(state)
	}
	page, next, err := m.docs.Find(ctx, query)
	found := make([]tenantCase, len(page))
	for i, c := range page {
		found[i] = c.Value
	}
	return found, next, err
}
