package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// hashWork is the indexed field of what a password's hash costs to guess; absent where there is no
// password, or the account is marked already.
const hashWork = "hash_work"

// lookForWeak is how often accounts are looked for whose hashes are weaker than their tenants'
// parameters have become.
const lookForWeak = 10 * time.Minute

// keepMarking marks until ctx ends. What fails is done the next time.
func (s *service) keepMarking(ctx context.Context, live *tenant.Live) {
	for {
		for _, t := range live.Current().Tenants {
			if err := s.markWeak(ctx, t); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "weak hashes not marked, tried again in 10 minutes", "tenant", t.ID, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookForWeak):
		}
	}
}

// markWeak marks every account of a tenant whose hash is weaker than the tenant's parameters:
// whoever verifies its password next is to hash it anew.
func (s *service) markWeak(ctx context.Context, t *tenant.Tenant) error {
	weaker := store.Query{
		Where: store.Fields{"tenant": t.ID},
		Range: &store.Range{Field: hashWork, From: 1, To: int64(s.hasher.parameters(t.Argon2).Work()) - 1},
		Order: hashWork, Limit: 200,
	}
	for {
		page, next, err := s.accounts.Find(ctx, weaker)
		if err != nil {
			return fmt.Errorf("find accounts: %w", err)
		}
		for _, a := range page {
			a.Value.Rehash = true
			if _, err := s.accounts.Update(ctx, a); err != nil && !errors.Is(err, store.ErrConflict) {
				return fmt.Errorf("mark account: %w", err)
			}
		}
		if next == "" {
			return nil
		}
		weaker.After = next
	}
}
