package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// onResendRequested decides whether another mail goes out, and with which code.
func (s *service) onResendRequested(ctx context.Context, in bus.In[events.ResendRequested]) (events.Event, error) {
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return nil, fmt.Errorf("tenant is not in configuration %s", s.config.Version)
	}
	stored, err := s.accounts.Get(ctx, in.Subject.Registration)
	if errors.Is(err, store.ErrNotFound) || err == nil && stored.Value.State == rejected {
		return events.ResendRefused{K: in.Data.K, Code: events.ResendClosed}, nil
	}
	if err != nil {
		return nil, err
	}
	a := &stored.Value
	seen := len(a.Activation.Resends)
	r := a.Activation.resendAt(in.Data.K, in.Stored, time.Duration(a.Validity)*time.Second, t.Activation)
	if len(a.Activation.Resends) != seen {
		if _, err := s.accounts.Update(ctx, stored); err != nil {
			return nil, fmt.Errorf("update account: %w", err)
		}
	}
	if r.Refused != "" {
		return events.ResendRefused{K: r.K, Code: r.Refused, RetrySeconds: r.Retry}, nil
	}
	return events.CodeIssued{K: r.K, Epoch: r.Epoch, ValiditySeconds: a.Validity}, nil
}
