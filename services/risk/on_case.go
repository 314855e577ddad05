package risk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
)

// ofCase is the name under which the vault has a customer for the review of cases. It is none of a
// registration: who is reviewed again is not in flight.
func ofCase(registration string) string { return vault.CaseOf(registration) }

// onCaseOpened waits for the case's decision. Where there is none within the policy's maxReview the
// case is opened again, with the person put into the vault anew, since that lets go of what is old;
// nobody is cleared or confirmed by waiting. The case of a former customer is closed.
func (s *service) onCaseOpened(ctx context.Context, in bus.In[events.CaseOpened]) (events.Event, error) {
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return nil, errors.New("tenant is not configured")
	}
	next := events.Subject{Tenant: t.ID, Step: events.FactCase, N: in.Data.Case + "-" + strconv.Itoa(in.Data.NextVersion)}
	if _, err := s.history.StoredAt(ctx, next); !errors.Is(err, bus.ErrAbsent) {
		return nil, err
	}
	if due := in.Stored.Add(time.Duration(t.Policy.MaxReview)); s.now().Before(due) {
		return nil, bus.Later(due)
	}
	c, err := s.customers.docs.Get(ctx, in.Data.Registration)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read customer of a case: %w", err)
	}
	if c.Value.State != active {
		if err := s.persons.Clear(ctx, t.ID, ofCase(in.Data.Registration)); err != nil {
			return nil, err
		}
		return events.CaseClosed{Case: in.Data.Case, Version: in.Data.NextVersion, Registration: in.Data.Registration}, nil
	}
	again := in.Data
	again.Version, again.NextVersion = in.Data.NextVersion, in.Data.NextVersion+1
	again.Vault, err = s.customers.expose(ctx, c, again)
	return again, err
}

// onCaseDecided closes a case: the vault lets go of the person. That a hit was seen remains in the
// case's id.
func (s *service) onCaseDecided(ctx context.Context, in bus.In[events.CaseDecided]) (events.Event, error) {
	asked := events.Subject{Tenant: in.Subject.Tenant, Step: events.FactCase, N: in.Data.Case + "-" + strconv.Itoa(in.Data.Version-1)}
	r, err := s.history.StoredAt(ctx, asked)
	if err != nil && !errors.Is(err, bus.ErrAbsent) {
		return nil, err
	}
	opened, is := r.Event.(events.CaseOpened)
	if !is {
		return nil, bus.Permanent("NO_CASE", errors.New("nobody opened this case"))
	}
	if err := s.customers.conceal(ctx, in.Subject.Tenant, opened.Registration, in.Data.Case); err != nil {
		return nil, err
	}
	return events.CaseClosed{Case: in.Data.Case, Version: in.Data.Version + 1, Registration: opened.Registration, Cleared: in.Data.Cleared}, nil
}

// expose puts a customer into the vault for whoever decides on a case, in the place of the entry
// that the case had. The document names the entry before an event does: one that an update of it
// has not come to name is taken out again.
func (c *customers) expose(ctx context.Context, s store.Stored[customer], e events.CaseOpened) (uint64, error) {
	person, err := c.open(s)
	if err != nil {
		return 0, err
	}
	t := s.Value.Tenant
	sequence, err := c.persons.PutBack(ctx, t, ofCase(s.ID), e.N(), vault.Entry{Registration: events.Registration{Applicant: person}})
	if err != nil {
		return 0, err
	}
	before := s.Value.with(e.Case, sequence)
	if before == sequence {
		return sequence, nil
	}
	if _, err := c.docs.Update(ctx, s); err != nil {
		return 0, fmt.Errorf("store the case of a customer: %w", errors.Join(err, c.abandon(ctx, s.ID, t, e.Case, sequence)))
	}
	if before > 0 {
		return sequence, c.persons.Delete(ctx, t, ofCase(s.ID), before)
	}
	return sequence, nil
}

// abandon takes an entry out of the vault, unless the case has come to name it.
func (c *customers) abandon(ctx context.Context, registration, tenant, id string, sequence uint64) error {
	now, err := c.docs.Get(ctx, registration)
	if err != nil {
		return err
	}
	if named, is := now.Value.without(id); is && named == sequence {
		return nil
	}
	return c.persons.Delete(ctx, tenant, ofCase(registration), sequence)
}

// conceal is the inverse of expose.
func (c *customers) conceal(ctx context.Context, tenant, registration, id string) error {
	s, err := c.docs.Get(ctx, registration)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read customer of a case: %w", err)
	}
	sequence, was := s.Value.without(id)
	if !was {
		return nil
	}
	if err := c.persons.Delete(ctx, tenant, ofCase(registration), sequence); err != nil {
		return err
	}
	if _, err := c.docs.Update(ctx, s); err != nil {
		return fmt.Errorf("close the case of a customer: %w", err)
	}
	return nil
}
