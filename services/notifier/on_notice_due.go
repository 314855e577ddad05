package notifier

import (
	"context"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

const causeNotice = "notice" // and the day

// notice reports whether a letter tells the owner of an active account that somebody tried to
// register as them. It has no code, and its recipient is its own.
func (l letter) notice() bool { return strings.HasPrefix(l.Cause, causeNotice) }

// onNoticeDue sends a notice, unless its person is erased. Whom it went to is forgotten with its end.
func (s *service) onNoticeDue(ctx context.Context, in bus.In[events.NoticeDue]) (events.Event, error) {
	t, r, cause := in.Subject.Tenant, in.Subject.Registration, causeNotice+in.Data.Day
	id := r + "/" + cause
	out, err := s.handle(ctx, id, func() (store.Stored[letter], error) {
		return s.mails.Once(ctx, id, func() (letter, error) {
			if gone, err := s.entombed(ctx, r); gone || err != nil {
				return letter{Tenant: t, Registration: r, Cause: cause, State: erased}, err
			}
			entry, err := s.persons.Get(ctx, t, r, in.Data.Vault)
			if err != nil {
				return letter{}, err
			}
			sealed, err := s.seal(t, r, s.recipientOf(t, entry.Registration.Applicant))
			return letter{
				Tenant: t, Registration: r, Cause: cause, State: pending, FirstTry: s.now().UnixMilli(), Recipient: sealed, Vault: in.Data.Vault,
			}, err
		})
	})
	if out == nil && err == nil { // a notice ends sent, failed or erased
		return events.StillErased(events.Notifier, in.Data.Vault), nil
	}
	if _, failed := out.(events.ActivationFailed); failed && err == nil {
		err = s.persons.Delete(ctx, t, r, in.Data.Vault)
	}
	return out, err
}
