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
	read := s.reader(ctx, in)
	stored, err := s.claim(ctx, in, read)
	if err != nil {
		return nil, err
	}
	if stored.Value.MAC != in.Data.MAC && stored.Value.State != erased && stored.Value.State != expired {
		return events.Rejected{At: events.StepAccount, Versions: in.Data.Versions, Vault: in.Data.Vault,
			Violations: []events.Violation{{Code: events.CodeIdempotencyKeyReused}}}, nil
	}
	if stored.Value.State == creating {
		if stored, err = s.complete(ctx, in, stored, read); err != nil {
			return nil, err
		}
	}
	if n := stored.Value.Notice; n != nil {
		if err := s.notify(ctx, in.Subject.Tenant, *n); err != nil {
			return nil, fmt.Errorf("tell the owner of a duplicate: %w", err)
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
// the rejection's. A document that is there already is returned instead.
func (s *service) claim(ctx context.Context, in bus.In[events.Categorized], read func() (vault.Entry, error)) (store.Stored[account], error) {
	var (
		claimed account
		t       *tenant.Tenant
	)
	stored, err := s.accounts.Once(ctx, in.Subject.Registration, func() (_ account, err error) {
		var known bool
		if t, known = s.config.Tenant(in.Subject.Tenant); !known {
			return account{}, errNoTenant
		}
		claimed, err = s.newAccount(in, t, read)
		return claimed, err
	})
	var duplicate *store.DuplicateError
	if !errors.As(err, &duplicate) {
		return stored, err
	}
	taken, err := s.taken(ctx, claimed, duplicate.Field())
	if err != nil {
		return store.Stored[account]{}, err
	}
	notice, err := s.noticeOf(ctx, t, claimed, taken, in.Stored)
	if err != nil {
		return store.Stored[account]{}, err
	}
	stored, _, err = s.accounts.InsertOrGet(ctx, in.Subject.Registration, account{
		Tenant: claimed.Tenant, MAC: claimed.MAC, State: rejected, Versions: claimed.Versions, Notice: notice,
		Violations: []events.Violation{{Code: duplicateCodes[taken]}},
	})
	return stored, err
}

// taken is the claim to tell of where another account has one: a person who is known says more
// than a user name that is. found is the one that the store met first.
func (s *service) taken(ctx context.Context, a account, found string) (string, error) {
	for _, name := range []string{"u_nid", "u_member", "u_email"} {
		if name == found {
			break
		}
		mac, claimed := a.Claims[name]
		if !claimed {
			continue
		}
		n, err := s.accounts.Count(ctx, store.Fields{"tenant": a.Tenant, name: mac})
		if err != nil {
			return "", fmt.Errorf("look for the account that has a claim: %w", err)
		}
		if n > 0 {
			return name, nil
		}
	}
	return found, nil
}

func (s *service) newAccount(in bus.In[events.Categorized], t *tenant.Tenant, read func() (vault.Entry, error)) (account, error) {
	entry, err := read()
	if err != nil {
		return account{}, err
	}
	claims, err := s.claims(t, entry.Registration)
	if err != nil {
		return account{}, err
	}
	plain, err := json.Marshal(entry.Registration)
	if err != nil {
		return account{}, fmt.Errorf("encode person: %w", err)
	}
	person, err := s.keys.Seal(keys.Data, t.ID, personAAD(in.Subject), plain)
	if err != nil {
		return account{}, fmt.Errorf("seal person: %w", err)
	}
	return account{
		Tenant: t.ID, MAC: in.Data.MAC, Vault: in.Data.Vault, State: creating, Claims: claims,
		UserID: in.Data.UserID, PersonID: in.Data.PersonID, Category: in.Data.Category, Person: person,
		Versions: events.Versions{Config: t.ConfigVersion}, Argon2: t.Argon2,
		Validity: int(time.Duration(t.Activation.CodeValidity).Seconds()), MaxTries: t.Activation.MaxTries,
		TriesPerDay: t.Activation.TriesPerDay, Activation: activation{Epoch: 1}, Expiry: expiryOf(t.Activation),
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
	if err := s.complement(&stored.Value); err != nil {
		return stored, err
	}
	hash, parameters := "", s.hasher.parameters(stored.Value.Argon2)
	if password != nil {
		if hash, err = s.hasher.hash(ctx, password, parameters, false); err != nil {
			return stored, err
		}
	}
	// Of several replicas the first one's document counts; any other change leaves one to complete.
	for stored.Value.State == creating {
		if err := s.complement(&stored.Value); err != nil {
			return stored, err
		}
		if stored.Value.NoPassword = password == nil; password != nil {
			stored.Value.Password, stored.Value.Argon2 = hash, parameters
		}
		stored.Value.State = created
		stored.Value.Expiry.begin(s.now())
		updated, err := s.accounts.Update(ctx, stored)
		if !errors.Is(err, store.ErrConflict) {
			return updated, err
		}
		if stored, err = s.accounts.Get(ctx, in.Subject.Registration); err != nil {
			return stored, err
		}
	}
	return stored, nil
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
