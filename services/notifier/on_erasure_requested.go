package notifier

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// onErasureRequested puts a tombstone in the place of every letter, first in that of the first,
// or of none: whoever writes another looks at the first afterwards. A letter that is on its way to
// its server is waited for, so that what a developer's server keeps of it is found. Another tenant's
// letters are left alone, and not answered for: that erasure never ends.
func (s *service) onErasureRequested(ctx context.Context, in bus.In[events.ErasureRequested]) (events.Event, error) {
	return s.erase(ctx, in.Subject, events.ErasedBy(events.Notifier))
}

func (s *service) erase(ctx context.Context, of events.Subject, answer events.Erased) (events.Event, error) {
	tombstone := letter{Tenant: of.Tenant, Registration: of.Registration, Cause: causeCreated, State: erased}
	own, err := s.entomb(ctx, tombstone)
	if err != nil || !own {
		return nil, err
	}
	letters, err := s.lettersOf(ctx, of.Registration)
	if err != nil {
		return nil, err
	}
	for _, l := range letters {
		tombstone.Cause = l.Value.Cause
		if _, err := s.entomb(ctx, tombstone); err != nil {
			return nil, err
		}
	}
	if s.captures != nil {
		if err := s.captures.Forget(ctx, of.Registration); err != nil {
			return nil, fmt.Errorf("erase captured mails: %w", err)
		}
	}
	if err := s.documents.Purge(ctx); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	return answer, nil
}

// entombed reports whether the person of a registration is erased, by its first letter.
func (s *service) entombed(ctx context.Context, registration string) (bool, error) {
	first, err := s.mails.Get(ctx, registration+"/"+causeCreated)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, fmt.Errorf("read first letter: %w", err)
	}
	return err == nil && first.Value.State == erased, nil
}

// entomb reports whether the tombstone is in its place, rather than a letter of another tenant.
func (s *service) entomb(ctx context.Context, tombstone letter) (own bool, err error) {
	done, _, err := s.desk.take(tombstone.id())
	if err != nil {
		return false, err
	}
	defer done(false)
	own, err = s.mails.PutIf(ctx, tombstone.id(), tombstone, func(there letter) bool { return there.Tenant == tombstone.Tenant || there.State == erased })
	if err != nil {
		return false, fmt.Errorf("erase letter: %w", err)
	}
	return own, nil
}
