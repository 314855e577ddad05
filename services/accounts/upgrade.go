package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// upgradeSchema holds a document for each upgrade of the accounts that is done.
var upgradeSchema = store.Schema{Collection: "upgrades"}

type upgraded struct{}

func (upgraded) fields() store.Fields { return nil }

const (
	endsAndWork   = "accounts-1" // the upgrade that gives accounts dueAt and hash_work
	upgradeAgain  = time.Minute
	upgradeAtOnce = 500
)

// upgrade gives accounts that an earlier version stored what this one finds accounts by: when one that
// nobody activates ends, counted from now on, and what its hash costs. It looks at all accounts once in
// an installation, and returns then or when ctx ends.
func (s *service) upgrade(ctx context.Context) {
	for {
		err := s.upgradeOnce(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.log.WarnContext(ctx, "accounts of an earlier version are looked at again in a minute", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(upgradeAgain):
		}
	}
}

func (s *service) upgradeOnce(ctx context.Context) error {
	if _, err := s.upgrades.Get(ctx, endsAndWork); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for after := ""; ; {
		page, next, err := s.documents.Find(ctx, accountSchema.Collection, store.Query{Limit: upgradeAtOnce, After: after})
		if err != nil {
			return fmt.Errorf("read accounts: %w", err)
		}
		for _, d := range page {
			if err := s.upgradeAccount(ctx, d); err != nil {
				return fmt.Errorf("upgrade account %s: %w", d.ID, err)
			}
		}
		if after = next; next == "" {
			break
		}
	}
	if err := s.upgrades.Insert(ctx, endsAndWork, upgraded{}); err != nil && !errors.Is(err, store.ErrExists) {
		return fmt.Errorf("note the upgrade: %w", err)
	}
	return nil
}

// upgradeAccount writes an account again where that changes what it is found by. Whoever changes it
// meanwhile is of this version.
func (s *service) upgradeAccount(ctx context.Context, d store.Document) error {
	a := store.Stored[account]{ID: d.ID, Version: d.Version}
	if err := json.Unmarshal(d.Body, &a.Value); err != nil {
		return errors.New("it is not readable")
	}
	v := &a.Value
	if v.State == creating { // whoever completes it is of this version
		return nil
	}
	if v.State == created && v.Expiry.DueAt == 0 {
		if err := s.complement(v); err != nil {
			return err
		}
		v.Expiry.begin(s.now())
	}
	if p := parametersOf(v.Password); p.Work() > 0 {
		v.Argon2 = p
	}
	if maps.Equal(v.fields(), d.Fields) {
		return nil
	}
	_, err := s.accounts.Update(ctx, a)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// parametersOf reads those of a PHC string; zero where it has none.
func parametersOf(phc string) (p tenant.Argon2) {
	_, _ = fmt.Sscanf(phc, "$argon2id$v=19$m=%d,t=%d,p=%d", &p.MemoryKiB, &p.Time, &p.Lanes)
	return p
}
