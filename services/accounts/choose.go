package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/vault"
)

// choose gives an account that has no password the one that came with a right code, or returns
// why it does not: nothing came that can be opened, or the tenant's policy forbids it. The caller
// stores the account, password and activation in one update; until then nothing has happened, and
// a repetition finds the entry still in the vault.
func (s *service) choose(ctx context.Context, in bus.In[events.ActivationRequested], a *account) (refused string, err error) {
	t, known := s.config.Tenant(a.Tenant)
	if !known {
		return "", errNoTenant
	}
	password, err := s.chosen(ctx, in)
	if err != nil {
		return "", err
	}
	if len(password) == 0 {
		return events.PasswordRequired, nil
	}
	person, err := s.person(in.Subject, *a)
	if err != nil {
		return "", err
	}
	facts := passwords.Facts(string(password), person, t, s.blocklist)
	if broken := passwords.Of(t, person.Channel).Check(facts); len(broken) > 0 {
		return broken[0], nil
	}
	a.Argon2 = s.hasher.parameters(t.Argon2)
	if a.Password, err = s.hasher.hash(ctx, password, a.Argon2, true); err != nil {
		return "", err
	}
	a.NoPassword = false
	return "", nil
}

// chosen opens the password that a presented code names, or returns nil where there is none: an
// entry that is gone or damaged is asked for again.
func (s *service) chosen(ctx context.Context, in bus.In[events.ActivationRequested]) ([]byte, error) {
	if in.Data.Vault == 0 {
		return nil, nil
	}
	entry, err := s.persons.Get(ctx, in.Subject.Tenant, in.Subject.Registration, in.Data.Vault)
	switch {
	case errors.Is(err, vault.ErrMissing), errors.Is(err, keys.ErrUnsealable):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return s.password(in.Subject, entry.Credential)
}

// person opens the account's own sealed copy.
func (s *service) person(of events.Subject, a account) (r events.Registration, err error) {
	plain, err := s.keys.Open(keys.Data, a.Tenant, personAAD(of), a.Person)
	if err != nil {
		return r, fmt.Errorf("open person: %w", err)
	}
	if err := json.Unmarshal(plain, &r); err != nil {
		return r, errors.New("sealed person is not readable")
	}
	return r, nil
}

func personAAD(of events.Subject) string { return of.Tenant + "|" + of.Registration + "|person" }
