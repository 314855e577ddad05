package accounts

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// onResendRequested decides whether another mail goes out, and with which code.
func (s *service) onResendRequested(ctx context.Context, in bus.In[events.ResendRequested]) (events.Event, error) {
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return nil, errNoTenant
	}
	stored, err := s.accounts.Get(ctx, in.Subject.Registration)
	if errors.Is(err, store.ErrNotFound) || err == nil && (stored.Value.State == rejected || stored.Value.State == erased) {
		return events.ResendRefused{K: in.Data.K, Code: events.ResendClosed}, nil
	}
	if err != nil {
		return nil, err
	}
	a := &stored.Value
	if err := s.complement(a); err != nil {
		return nil, err
	}
	rules := t.Activation
	rules.MaxTries = a.MaxTries
	if in.Source == events.Ledger { // an operator, who mends what the applicant's own requests could not
		rules.ResendsPerDay = math.MaxInt
	}
	l, err := s.lifetime(ctx, in.Subject, *a)
	if err != nil {
		return nil, err
	}
	seen := len(a.Activation.Resends)
	r := a.Activation.resendAt(in.Data.K, in.Stored, l, a.State == created, rules)
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
