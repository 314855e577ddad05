package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// expiry is when an account that nobody activates ends, and what the tenant wants of that. The rules
// are those of when the account was claimed.
type expiry struct {
	After      int  `json:"afterSeconds,omitempty"`        // from the account's completion
	Remind     int  `json:"remindBeforeSeconds,omitempty"` // 0 for no reminder
	KeepUnique bool `json:"keepUnique,omitempty"`          // what is unique stays taken

	At       int64     `json:"at,omitempty"`    // when it ends; this and the next in Unix milliseconds
	DueAt    int64     `json:"dueAt,omitempty"` // when the sweeper looks at it, 0 for never
	Reminder *reminder `json:"reminder,omitempty"`
}

// reminder is the decision about the mail before the end.
type reminder struct {
	Epoch    int  `json:"epoch"`
	Validity int  `json:"validitySeconds"`
	Told     bool `json:"told,omitempty"`
}

func expiryOf(a tenant.Activation) expiry {
	return expiry{After: int(time.Duration(a.ExpireAfter).Seconds()), Remind: int(time.Duration(a.RemindBefore).Seconds()), KeepUnique: a.KeepUnique}
}

// begin counts the time from now on.
func (e *expiry) begin(now time.Time) {
	end := now.Add(time.Duration(e.After) * time.Second)
	e.At, e.DueAt = end.UnixMilli(), end.Add(-time.Duration(e.Remind)*time.Second).UnixMilli()
}

const (
	sweepEvery = 2 * time.Second
	sweepBatch = 64
	sweepers   = 16               // accounts that are looked at at once
	aside      = 30 * time.Second // until an account is looked at again that cannot be ended yet
)

// sweep ends the accounts that are due, and reminds their owners before, until ctx ends. The account
// document is what waits: it is looked at until what became of it is told, so that a crash anywhere
// repeats a step and skips none.
func (s *service) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "accounts that are due were not swept", "error", err)
		}
	}
}

func (s *service) sweepOnce(ctx context.Context) error {
	due, _, err := s.accounts.Find(ctx, store.Query{
		Range: &store.Range{Field: "dueAt", From: 1, To: s.now().UnixMilli()}, Order: "dueAt", Limit: sweepBatch,
	})
	if err != nil {
		return fmt.Errorf("find accounts that are due: %w", err)
	}
	var group errgroup.Group
	group.SetLimit(sweepers)
	for _, a := range due {
		group.Go(func() error {
			err := s.end(ctx, a)
			if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
				return nil // activated meanwhile, or another sweeper has it
			}
			if err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "account will be looked at again", "registration", a.ID, "error", err)
				s.putAside(ctx, a.ID)
			}
			return nil
		})
	}
	return group.Wait()
}

// putAside lets the accounts that can be ended go before one that cannot.
func (s *service) putAside(ctx context.Context, id string) {
	a, err := s.accounts.Get(ctx, id)
	if err != nil || a.Value.Expiry.DueAt == 0 {
		return
	}
	a.Value.Expiry.DueAt = s.now().Add(aside).UnixMilli()
	_, _ = s.accounts.Update(ctx, a)
}

var errNotTold = errors.New("its account.created is not published yet")

// end does what is due to an account: the reminder, or its end.
func (s *service) end(ctx context.Context, a store.Stored[account]) error {
	history, err := s.stream.LeaderHistory(ctx, a.Value.Tenant, a.ID)
	if err != nil {
		return err
	}
	if !told(history) {
		return errNotTold
	}
	x := a.Value.Expiry
	reminded := x.Remind == 0 || x.Reminder != nil && x.Reminder.Told
	if a.Value.State == created && !reminded && s.now().UnixMilli() < x.At {
		return s.remind(ctx, a, history)
	}
	return s.expire(ctx, a)
}

// told reports whether the account is known to others; a stream that has forgotten the registration
// knew of it.
func told(history []events.Record) bool {
	for _, r := range history {
		if r.Subject.Step == events.StepAccount {
			return true
		}
	}
	return len(history) == 0
}

// remind asks for the mail before the end. A code that no longer works is replaced.
func (s *service) remind(ctx context.Context, a store.Stored[account], history []events.Record) error {
	v := &a.Value
	if v.Expiry.Reminder == nil {
		l := lifetimeOf(history, v.Vault, v.Activation.Epoch, time.Duration(v.Validity)*time.Second)
		if v.Activation.locked(v.MaxTries) || l.expired(s.now()) {
			v.Activation.Epoch++
		}
		left := int(time.UnixMilli(v.Expiry.At).Sub(s.now()).Seconds())
		v.Expiry.Reminder = &reminder{Epoch: v.Activation.Epoch, Validity: max(min(v.Validity, left), 1)}
		var err error
		if a, err = s.accounts.Update(ctx, a); err != nil {
			return err
		}
		v = &a.Value
	}
	end := time.UnixMilli(v.Expiry.At).UTC()
	err := s.stream.Publish(ctx, v.Tenant, a.ID, events.ReminderDue{Epoch: v.Expiry.Reminder.Epoch, ValiditySeconds: v.Expiry.Reminder.Validity, ExpiresAt: end})
	if err != nil && !errors.Is(err, bus.ErrExists) {
		return err
	}
	v.Expiry.Reminder.Told, v.Expiry.DueAt = true, v.Expiry.At
	_, err = s.accounts.Update(ctx, a)
	return err
}

// forget ends an account: its document is a tombstone from then on. What is unique stays taken by its
// hashes where the tenant wants that, until the person is erased on request.
func (a *account) forget() {
	a.State, a.MAC, a.Person, a.Password = expired, "", nil, ""
	if !a.Expiry.KeepUnique {
		a.Claims = nil
	}
}

// expire ends an account: the document forgets the person, then others are told to.
func (s *service) expire(ctx context.Context, a store.Stored[account]) (err error) {
	if a.Value.State == created {
		a.Value.forget()
		if a, err = s.accounts.Update(ctx, a); err != nil {
			return err
		}
	}
	v := &a.Value
	if v.State == expired {
		err := s.stream.Publish(ctx, v.Tenant, a.ID, events.Expired{Reason: events.NotActivated, Vault: v.Vault})
		if err != nil && !errors.Is(err, bus.ErrExists) {
			return err
		}
		if v.Vault > 0 {
			if err := s.persons.Delete(ctx, v.Tenant, a.ID, v.Vault); err != nil {
				return err
			}
		}
	}
	v.Expiry.DueAt = 0
	_, err = s.accounts.Update(ctx, a)
	return err
}
