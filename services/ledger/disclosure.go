package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/vault"
)

// disclosure is how reviewers are shown persons. Safe for concurrent use.
type disclosure struct {
	stream  publisher
	persons persons
}

// log returns once it is published that somebody asked for a person, who is not shown before.
func (d disclosure) log(ctx context.Context, tenant string, access events.PersonAccessed) error {
	access.ID = rand.Text()
	if err := d.stream.Publish(ctx, tenant, "", access); err != nil {
		return fmt.Errorf("publish access to a person: %w", err)
	}
	return nil
}

// person unseals an applicant by the name that the vault has it under; nil where it is gone.
func (d disclosure) person(ctx context.Context, tenant, name string, sequence uint64) (*events.Applicant, error) {
	entry, err := d.persons.Get(ctx, tenant, name, sequence)
	if errors.Is(err, vault.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unseal person: %w", err)
	}
	p := entry.Registration.Applicant
	p.MothersMaidenName = "" // a secret of the person, no part of who it is
	return &p, nil
}
