package notifier

import (
	"context"
	"errors"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

const causeCreated = "created"

// onAccountCreated sends the first mail. The recipient is kept, sealed, for later mails.
func (s *service) onAccountCreated(ctx context.Context, in bus.In[events.AccountCreated]) (events.Event, error) {
	stored, err := s.mails.Get(ctx, in.Subject.Registration+"/"+causeCreated)
	if errors.Is(err, store.ErrNotFound) {
		stored, err = s.write(ctx, in)
	}
	if err != nil {
		return nil, err
	}
	return s.deliver(ctx, stored)
}

func (s *service) write(ctx context.Context, in bus.In[events.AccountCreated]) (store.Stored[letter], error) {
	var none store.Stored[letter]
	t, r := in.Subject.Tenant, in.Subject.Registration
	entry, err := s.persons.Get(ctx, t, r, in.Data.Vault)
	if err != nil {
		return none, err
	}
	a := entry.Registration.Applicant
	sealed, err := s.seal(t, r, recipient{Email: a.Email, Name: a.GivenName})
	if err != nil {
		return none, err
	}
	l := letter{
		Tenant: t, Registration: r, Cause: causeCreated, Epoch: in.Data.Epoch, Validity: in.Data.ValiditySeconds,
		State: pending, Recipient: sealed, Vault: in.Data.Vault,
	}
	stored, _, err := s.mails.InsertOrGet(ctx, l.id(), l)
	return stored, err
}
