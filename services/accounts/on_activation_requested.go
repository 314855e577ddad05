package accounts

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
)

// onActivationRequested decides about a presented code. The account remembers the request
// that activated it and those that were wrong, so a repetition gets the same answer.
func (s *service) onActivationRequested(ctx context.Context, in bus.In[events.ActivationRequested]) (events.Event, error) {
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return nil, fmt.Errorf("tenant is not in configuration %s", s.config.Version)
	}
	refuse := func(code string) (events.Event, error) {
		return events.ActivationRefused{RequestID: in.Data.RequestID, Code: code}, nil
	}
	stored, err := s.accounts.Get(ctx, in.Subject.Registration)
	if errors.Is(err, store.ErrNotFound) {
		return refuse(events.WrongCode)
	}
	if err != nil {
		return nil, err
	}
	a := &stored.Value
	if a.State != created && a.State != active {
		return refuse(events.WrongCode)
	}
	right, err := s.rightCode(in.Subject.Registration, a.Activation.Epoch, in.Data.CodeHash)
	if err != nil {
		return nil, err
	}
	wrong, by := len(a.Activation.Wrong), a.Activation.By
	code := a.Activation.present(in.Data.RequestID, right, in.Stored, time.Duration(a.Validity)*time.Second, t.Activation.MaxTries)
	if a.Activation.By != "" {
		a.State = active
	}
	if len(a.Activation.Wrong) != wrong || a.Activation.By != by {
		if _, err := s.accounts.Update(ctx, stored); err != nil {
			return nil, fmt.Errorf("update account: %w", err)
		}
	}
	if code != "" {
		return refuse(code)
	}
	return events.AccountActivated{RequestID: in.Data.RequestID}, nil
}

func (s *service) rightCode(registration string, epoch int, hash string) (bool, error) {
	code, err := s.keys.ActivationCode(registration, epoch)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare([]byte(keys.HashCode(registration, code)), []byte(hash)) == 1, nil
}
