package notifier

import (
	"context"
	"fmt"
	"strconv"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// onCodeIssued sends another mail, to the recipient of the first.
func (s *service) onCodeIssued(ctx context.Context, in bus.In[events.CodeIssued]) (events.Event, error) {
	first, err := s.mails.Get(ctx, in.Subject.Registration+"/"+causeCreated)
	if err != nil {
		return nil, fmt.Errorf("read first letter: %w", err)
	}
	if first.Value.Recipient == nil {
		return nil, nil // activated meanwhile
	}
	l := letter{
		Tenant: in.Subject.Tenant, Registration: in.Subject.Registration, Cause: "code" + strconv.Itoa(in.Data.K),
		Epoch: in.Data.Epoch, Validity: in.Data.ValiditySeconds, State: pending, Recipient: first.Value.Recipient,
		Vault: first.Value.Vault, // the first mail may have been refused
	}
	stored, _, err := s.mails.InsertOrGet(ctx, l.id(), l)
	if err != nil {
		return nil, err
	}
	return s.deliver(ctx, stored)
}
