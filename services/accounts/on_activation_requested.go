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
// that activated it and those that did not, so a repetition gets the same answer.
func (s *service) onActivationRequested(ctx context.Context, in bus.In[events.ActivationRequested]) (events.Event, error) {
	refuse := func(t try) (events.Event, error) {
		refused := t.event()
		refused.Vault = in.Data.Vault
		return refused, nil
	}
	unknown := try{Request: in.Data.RequestID, Refused: events.WrongCode}
	stored, err := s.accounts.Get(ctx, in.Subject.Registration)
	if errors.Is(err, store.ErrNotFound) {
		return refuse(unknown)
	}
	if err != nil {
		return nil, err
	}
	a := &stored.Value
	if t := a.Activation.seen(in.Data.RequestID); t != nil {
		return refuse(*t)
	}
	switch a.State {
	case expired:
		return refuse(try{Request: in.Data.RequestID, Refused: events.CodeExpiredRegistration})
	case creating, rejected:
		return refuse(unknown)
	}
	right, err := s.rightCode(in.Subject.Registration, a.Activation.Epoch, in.Data.CodeHash)
	if err != nil {
		return nil, err
	}
	if err := s.complement(a); err != nil {
		return nil, err
	}
	l, err := s.lifetime(ctx, in.Subject, *a)
	if err != nil {
		return nil, err
	}
	tries, by := len(a.Activation.Tries), a.Activation.By
	refused := a.Activation.present(in.Data.RequestID, right, in.Stored, l, a.MaxTries, a.TriesPerDay)
	if a.Activation.By != by && a.NoPassword {
		complaint, err := s.choose(ctx, in, a)
		if err != nil {
			return nil, err
		}
		if complaint != "" {
			return refuse(try{Request: in.Data.RequestID, Refused: complaint})
		}
	}
	if a.Activation.By != "" {
		a.State, a.Expiry.DueAt = active, 0
	}
	if len(a.Activation.Tries) != tries || a.Activation.By != by {
		if _, err := s.accounts.Update(ctx, stored); err != nil {
			return nil, fmt.Errorf("update account: %w", err)
		}
	}
	if refused != nil {
		return refuse(*refused)
	}
	return events.AccountActivated{RequestID: in.Data.RequestID, Vault: in.Data.Vault}, nil
}

// lifetime reads when the account's present code was sent.
func (s *service) lifetime(ctx context.Context, of events.Subject, a account) (lifetime, error) {
	validity := time.Duration(a.Validity) * time.Second
	history, err := s.stream.History(ctx, of.Tenant, of.Registration)
	if l := lifetimeOf(history, a.Vault, a.Activation.Epoch, validity); err != nil || !l.forgotten {
		return l, err
	}
	history, err = s.stream.LeaderHistory(ctx, of.Tenant, of.Registration)
	return lifetimeOf(history, a.Vault, a.Activation.Epoch, validity), err
}

func (s *service) rightCode(registration string, epoch int, hash string) (bool, error) {
	code, err := s.keys.ActivationCode(registration, epoch)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare([]byte(keys.HashCode(registration, code)), []byte(hash)) == 1, nil
}
