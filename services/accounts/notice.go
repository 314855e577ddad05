package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// notice is the decision to tell the owner of an account that somebody tried to register as them.
type notice struct {
	Owner string `json:"owner"` // registration id of the account
	Day   string `json:"day"`   // yyyymmdd in UTC, by the stream's clock
}

// noticeOf decides about a duplicate. Who takes a user name that is not free need not know its owner,
// and who has not activated has not shown that the address is theirs: neither gives a notice.
func (s *service) noticeOf(ctx context.Context, t *tenant.Tenant, claimed account, taken string, at time.Time) (*notice, error) {
	if !t.Mail.DuplicateNotice || taken == "u_username" {
		return nil, nil
	}
	owners, _, err := s.accounts.Find(ctx, store.Query{Where: store.Fields{"tenant": claimed.Tenant, taken: claimed.Claims[taken]}, Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("find the owner of a claim: %w", err)
	}
	if len(owners) == 0 || owners[0].Value.State != active {
		return nil, nil
	}
	return &notice{Owner: owners[0].ID, Day: at.UTC().Format("20060102")}, nil
}

// notify puts the owner into the vault and asks for the mail. The event's place admits one a day,
// whoever tried to register how often. An owner whose person does not open is not told: a notice is a
// courtesy, for which no other customer waits.
func (s *service) notify(ctx context.Context, tenant string, n notice) error {
	due := events.NoticeDue{Day: n.Day}
	subject := events.SubjectOf(tenant, n.Owner, due)
	_, err := s.stream.StoredAt(ctx, subject)
	if !errors.Is(err, bus.ErrAbsent) {
		return err // it is there already, or the broker is not
	}
	owner, err := s.owner(ctx, n.Owner)
	if errors.Is(err, keys.ErrUnknownKey) || errors.Is(err, keys.ErrUnsealable) {
		s.log.WarnContext(ctx, "the owner of a duplicate is not told", "registration", n.Owner, "error", err)
		return nil
	}
	if err != nil || owner == nil {
		return err
	}
	if due.Vault, err = s.persons.PutBack(ctx, tenant, n.Owner, n.Day, *owner); err != nil {
		return err
	}
	err = s.stream.Publish(ctx, tenant, n.Owner, due)
	if !errors.Is(err, bus.ErrExists) {
		return err
	}
	stored, err := s.stream.StoredAt(ctx, subject)
	if err != nil {
		return err
	}
	if won, ok := stored.Event.(events.NoticeDue); ok && won.Vault == due.Vault {
		return nil
	}
	return s.persons.Delete(ctx, tenant, n.Owner, due.Vault)
}

// owner returns what a mail needs of an account's person; nil where the account is not active any
// more.
func (s *service) owner(ctx context.Context, id string) (*vault.Entry, error) {
	stored, err := s.accounts.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (stored.Value.State != active || stored.Value.Person == nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := stored.Value.Tenant
	plain, err := s.keys.Open(keys.Data, t, t+"|"+id+"|person", stored.Value.Person)
	if err != nil {
		return nil, fmt.Errorf("open person: %w", err)
	}
	var r events.Registration
	if err := json.Unmarshal(plain, &r); err != nil {
		return nil, fmt.Errorf("sealed person is not readable: %w", keys.ErrUnsealable)
	}
	return &vault.Entry{Registration: events.Registration{
		Channel: r.Channel, Applicant: events.Applicant{Type: r.Applicant.Type, Email: r.Applicant.Email, Phone: r.Applicant.Phone, GivenName: r.Applicant.GivenName},
	}}, nil
}
