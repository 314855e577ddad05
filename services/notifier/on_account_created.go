package notifier

import (
	"context"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

const causeCreated = "created"

// onAccountCreated sends the first mail. The recipient is kept, sealed, for later mails.
func (s *service) onAccountCreated(ctx context.Context, in bus.In[events.AccountCreated]) (events.Event, error) {
	id := in.Subject.Registration + "/" + causeCreated
	gone := false
	out, err := s.handle(ctx, id, func() (store.Stored[letter], error) {
		l, err := s.mails.Once(ctx, id, func() (letter, error) { return s.write(ctx, in) })
		gone = l.Value.State == erased
		return l, err
	})
	if gone && err == nil {
		return events.StillErased(events.Notifier, in.Data.Vault), nil
	}
	if sent, ok := out.(events.ActivationSent); ok {
		sent.Vault = in.Data.Vault // of this message: a registration that came once more has another
		return sent, err
	}
	return out, err
}

func (s *service) write(ctx context.Context, in bus.In[events.AccountCreated]) (letter, error) {
	t, r := in.Subject.Tenant, in.Subject.Registration
	entry, err := s.persons.Get(ctx, t, r, in.Data.Vault)
	if err != nil {
		return letter{}, err
	}
	sealed, err := s.seal(t, r, s.recipientOf(t, entry.Registration.Applicant))
	if err != nil {
		return letter{}, err
	}
	return letter{
		Tenant: t, Registration: r, Cause: causeCreated, Epoch: in.Data.Epoch, Validity: in.Data.ValiditySeconds,
		State: pending, FirstTry: s.now().UnixMilli(), Recipient: sealed, Vault: in.Data.Vault,
	}, nil
}
