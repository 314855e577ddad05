package risk

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

var customerSchema = store.Schema{Collection: "customers", Index: [][]string{{"tenant", "since"}, {"keptAt"}}}

// customer is a person whom risk remembers, under the registration's id, to screen again when
// lists change. An applicant becomes a customer with the account. Of one who is turned down,
// expires or is erased nothing remains but that, so that no late message brings the person back.
type customer struct {
	Tenant string `json:"tenant"`
	State  state  `json:"state"`
	KeptAt int64  `json:"keptAt,omitempty"` // of an applicant, Unix milliseconds
	Since  int64  `json:"since,omitempty"`  // of a customer, Unix nanoseconds
	// Sealed are the name, birth date, nationality and addresses, sealed to the tenant's data key.
	Sealed []byte `json:"sealed,omitempty"`
	Basis  string `json:"basis,omitempty"` // of the decision
	// Known are the ids of the hits that the decision rests on: whoever decided has seen them.
	Known []string   `json:"known,omitempty"`
	Cases []openCase `json:"cases,omitempty"`
}

type state string

const (
	applicant state = "APPLICANT"
	active    state = "CUSTOMER"
	former    state = "FORMER"
)

// openCase is a case that waits for its decision, and the vault's entry for whoever decides.
type openCase struct {
	ID    string `json:"id"`
	Vault uint64 `json:"vault"`
}

func (c customer) fields() store.Fields {
	switch c.State {
	case applicant:
		return store.Fields{"keptAt": c.KeptAt}
	case active:
		return store.Fields{"tenant": c.Tenant, "since": c.Since}
	}
	return nil
}

// customers keeps the persons sealed.
type customers struct {
	docs    *store.Docs[customer]
	keys    *keys.Ring
	persons persons
	now     func() time.Time
}

func aad(tenant, registration string) string { return tenant + "|" + registration + "|customer" }

// keep remembers an applicant from the decision on that can make a customer of them; first says that
// nobody was remembered before under the registration.
func (c *customers) keep(ctx context.Context, tenant, registration string, a events.Applicant, p *tenant.Screening, found screened) (first bool, err error) {
	plain, err := json.Marshal(events.Applicant{
		Type: a.Type, GivenName: a.GivenName, MiddleName: a.MiddleName, FamilyName: a.FamilyName, CompanyName: a.CompanyName,
		BirthDate: a.BirthDate, Nationality: a.Nationality, PlaceOfBirth: a.PlaceOfBirth, Addresses: a.Addresses,
	})
	if err != nil {
		return false, fmt.Errorf("encode customer: %w", err)
	}
	sealed, err := c.keys.Seal(keys.Data, tenant, aad(tenant, registration), plain)
	if err != nil {
		return false, fmt.Errorf("seal customer: %w", err)
	}
	kept := customer{Tenant: tenant, State: applicant, KeptAt: c.now().UnixMilli(), Sealed: sealed, Basis: basis(p, found.versions)}
	for _, h := range found.hits {
		kept.Known = append(kept.Known, hitID(registration, h.List, h.Entry, found.prints[h.List+"/"+h.Entry]))
	}
	err = c.docs.Insert(ctx, registration, kept)
	if errors.Is(err, store.ErrExists) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store customer: %w", err)
	}
	return true, nil
}

// open is the inverse of keep.
func (c *customers) open(s store.Stored[customer]) (a events.Applicant, err error) {
	plain, err := c.keys.Open(keys.Data, s.Value.Tenant, aad(s.Value.Tenant, s.ID), s.Value.Sealed)
	if err != nil {
		return a, fmt.Errorf("open customer: %w", err)
	}
	if json.Unmarshal(plain, &a) != nil {
		return a, errors.New("open customer: not readable")
	}
	return a, nil
}

// admit makes a customer of an applicant. Of one whom risk has not kept, because the decision is
// older than that, it knows nothing.
func (c *customers) admit(ctx context.Context, registration string) error {
	s, err := c.docs.Get(ctx, registration)
	if errors.Is(err, store.ErrNotFound) || err == nil && s.Value.State != applicant {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read applicant: %w", err)
	}
	s.Value.State, s.Value.KeptAt, s.Value.Since = active, 0, c.now().UnixNano()
	if _, err := c.docs.Update(ctx, s); err != nil {
		return fmt.Errorf("store customer: %w", err)
	}
	return nil
}

// forget leaves nothing of a person, in the vault neither: also what was put there for a case that a
// kill kept from being named.
func (c *customers) forget(ctx context.Context, tenant, registration string) error {
	gone := customer{Tenant: tenant, State: former}
	s, inserted, err := c.docs.InsertOrGet(ctx, registration, gone)
	if err != nil || inserted {
		return err
	}
	if s.Value.State != former { // before the vault, so that whoever puts something there meets it
		s.Value = gone
		if _, err := c.docs.Update(ctx, s); err != nil {
			return err
		}
	}
	return c.persons.Clear(ctx, tenant, ofCase(registration))
}

// unfinished is how long an applicant is kept who becomes no customer: as long as events of the
// registration last and then a dead letter of one could still be replayed.
func unfinished(b tenant.Broker) time.Duration {
	return time.Duration(b.MaxAge) + bus.DeadLetterAge + 24*time.Hour
}

// purge forgets applicants who were kept longer ago than that: their registration cannot go on any
// more.
func (c *customers) purge(ctx context.Context, after time.Duration) error {
	old, _, err := c.docs.Find(ctx, store.Query{
		Range: &store.Range{Field: "keptAt", From: 1, To: c.now().Add(-after).UnixMilli()}, Order: "keptAt", Limit: 200,
	})
	if err != nil {
		return fmt.Errorf("find applicants to forget: %w", err)
	}
	for _, s := range old {
		if err := c.forget(ctx, s.Value.Tenant, s.ID); err != nil {
			return fmt.Errorf("forget applicant: %w", err)
		}
	}
	return nil
}

// with sets a case's entry of the vault and returns the one it had.
func (c *customer) with(id string, vault uint64) (before uint64) {
	i := slices.IndexFunc(c.Cases, func(o openCase) bool { return o.ID == id })
	if i < 0 {
		c.Cases = append(c.Cases, openCase{ID: id, Vault: vault})
		return 0
	}
	before, c.Cases[i].Vault = c.Cases[i].Vault, vault
	return before
}

// without closes a case and returns its entry of the vault.
func (c *customer) without(id string) (vault uint64, was bool) {
	i := slices.IndexFunc(c.Cases, func(o openCase) bool { return o.ID == id })
	if i < 0 {
		return 0, false
	}
	vault = c.Cases[i].Vault
	c.Cases = slices.Delete(c.Cases, i, i+1)
	return vault, true
}

// hitID names that a registration's person may be an entry as it is now. It is the id of the case.
func hitID(registration, list, entry, print string) string {
	sum := sha256.Sum256([]byte(registration + "\x00" + list + "\x00" + entry + "\x00" + print))
	return keys.UUIDv8(sum[:])
}
