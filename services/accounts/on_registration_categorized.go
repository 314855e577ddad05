package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// onRegistrationCategorized creates the account in one document: inserting it claims what is
// unique, so that a duplicate is recognised before its password is hashed; then the hash is
// added by a guarded update.
func (s *service) onRegistrationCategorized(ctx context.Context, in bus.In[events.Categorized]) (events.Event, error) {
	stored, err := s.accounts.Get(ctx, in.Subject.Registration)
	read := s.reader(ctx, in)
	if errors.Is(err, store.ErrNotFound) {
		stored, err = s.claim(ctx, in, read)
	}
	if err != nil {
		return nil, err
	}
	if stored.Value.MAC != in.Data.MAC {
		return events.Rejected{At: events.StepAccount, Versions: in.Data.Versions, Vault: in.Data.Vault,
			Violations: []events.Violation{{Code: events.CodeIdempotencyKeyReused}}}, nil
	}
	if stored.Value.State == creating {
		if stored, err = s.complete(ctx, in, stored, read); err != nil {
			return nil, err
		}
	}
	return stored.Value.event(in.Data.Carried), nil
}

// reader returns a function that reads the sealed person, once.
func (s *service) reader(ctx context.Context, in bus.In[events.Categorized]) func() (vault.Entry, error) {
	return sync.OnceValues(func() (vault.Entry, error) {
		return s.persons.Get(ctx, in.Subject.Tenant, in.Subject.Registration, in.Data.Vault)
	})
}

// claim inserts the document: the account's, or, where another account has a unique value,
// the rejection's.
func (s *service) claim(ctx context.Context, in bus.In[events.Categorized], read func() (vault.Entry, error)) (store.Stored[account], error) {
	var none store.Stored[account]
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return none, fmt.Errorf("tenant is not in configuration %s", s.config.Version)
	}
	entry, err := read()
	if err != nil {
		return none, err
	}
	a, err := s.newAccount(t, in, entry)
	if err != nil {
		return none, err
	}
	stored, _, err := s.accounts.InsertOrGet(ctx, in.Subject.Registration, a)
	var duplicate *store.DuplicateError
	if !errors.As(err, &duplicate) {
		return stored, err
	}
	refusal := account{Tenant: t.ID, MAC: a.MAC, State: rejected, Versions: a.Versions,
		Violations: []events.Violation{{Code: duplicateCodes[duplicate.Field()]}}}
	stored, _, err = s.accounts.InsertOrGet(ctx, in.Subject.Registration, refusal)
	return stored, err
}

func (s *service) newAccount(t *tenant.Tenant, in bus.In[events.Categorized], entry vault.Entry) (account, error) {
	claims, err := s.claims(t, entry.Registration)
	if err != nil {
		return account{}, err
	}
	plain, err := json.Marshal(entry.Registration)
	if err != nil {
		return account{}, fmt.Errorf("encode person: %w", err)
	}
	person, err := s.keys.Seal(keys.Data, t.ID, t.ID+"|"+in.Subject.Registration+"|person", plain)
	if err != nil {
		return account{}, fmt.Errorf("seal person: %w", err)
	}
	return account{
		Tenant: t.ID, MAC: in.Data.MAC, State: creating, Claims: claims,
		UserID: in.Data.UserID, PersonID: in.Data.PersonID, Category: in.Data.Category, Person: person,
		Versions: events.Versions{Config: s.config.Version},
		Validity: int(time.Duration(t.Activation.CodeValidity).Seconds()), Activation: activation{Epoch: 1},
	}, nil
}

// complete hashes the password. A credential that cannot be opened is no reason to turn a
// customer down: the account then asks for a password at its activation.
func (s *service) complete(ctx context.Context, in bus.In[events.Categorized], stored store.Stored[account], read func() (vault.Entry, error)) (store.Stored[account], error) {
	entry, err := read()
	if err != nil {
		return stored, err
	}
	password, err := s.password(in.Subject, entry.Credential)
	if err != nil {
		return stored, err
	}
	stored.Value.NoPassword = password == nil
	if password != nil {
		t, known := s.config.Tenant(in.Subject.Tenant)
		if !known {
			return stored, fmt.Errorf("tenant is not in configuration %s", s.config.Version)
		}
		if stored.Value.Password, err = s.hasher.hash(ctx, password, t.Argon2); err != nil {
			return stored, err
		}
	}
	stored.Value.State = created
	updated, err := s.accounts.Update(ctx, stored)
	if errors.Is(err, store.ErrConflict) { // another replica was faster; its document counts
		return s.accounts.Get(ctx, in.Subject.Registration)
	}
	return updated, err
}

// password opens the sealed password; nil where there is none that can ever be opened. A key
// that is not here yet is an error, to be tried again.
func (s *service) password(of events.Subject, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	password, err := s.keys.OpenCredential(of.Tenant, of.Registration, sealed)
	if errors.Is(err, keys.ErrUnsealable) {
		return nil, nil
	}
	return password, err
}
