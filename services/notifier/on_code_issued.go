package notifier

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// onCodeIssued sends another mail, to the recipient of the first.
func (s *service) onCodeIssued(ctx context.Context, in bus.In[events.CodeIssued]) (events.Event, error) {
	return s.writeAgain(ctx, letter{
		Tenant: in.Subject.Tenant, Registration: in.Subject.Registration, Cause: "code" + strconv.Itoa(in.Data.K),
		Epoch: in.Data.Epoch, Validity: in.Data.ValiditySeconds,
	})
}

// writeAgain sends a letter after the first, to its recipient.
func (s *service) writeAgain(ctx context.Context, l letter) (events.Event, error) {
	first, err := s.mails.Get(ctx, l.Registration+"/"+causeCreated)
	if err != nil {
		return nil, fmt.Errorf("read first letter: %w", err)
	}
	l.State, l.FirstTry, l.Recipient = pending, s.now().UnixMilli(), first.Value.Recipient
	l.Vault = first.Value.Vault // the first mail may have been refused
	out, err := s.handle(ctx, l.id(), func() (store.Stored[letter], error) {
		if l.Recipient == nil {
			return s.mails.Get(ctx, l.id())
		}
		stored, _, err := s.mails.InsertOrGet(ctx, l.id(), l)
		return stored, err
	})
	if l.Recipient == nil && errors.Is(err, store.ErrNotFound) {
		return nil, nil // activated or ended before this letter was written
	}
	return out, err
}
