package gateway

import (
	"context"
	"net/http"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// An account without a password, because nobody could open the one of its registration, takes one
// with the activation code. What can be said of it without the person is said here, the rest by
// accounts, which knows the person and the password.

// passwordRefusals word why a password is not taken, by the code of its violation.
var passwordRefusals = map[string]*failure{
	events.PasswordRequired:      fail(http.StatusUnprocessableEntity, passwordRequired, "the account has no password yet; send one with the code, or open the link in the mail"),
	events.CodeTooShort:          fail(http.StatusUnprocessableEntity, "password-too-short", "password is too short; choose a longer one"),
	events.CodeTooLong:           fail(http.StatusUnprocessableEntity, "password-too-long", "password is too long; choose a shorter one"),
	events.CodeFormat:            fail(http.StatusUnprocessableEntity, "password-format", "password must have no spaces; choose another"),
	events.CodePasswordWeak:      fail(http.StatusUnprocessableEntity, "password-weak", "password lacks a kind of characters; mix letters, digits and special characters"),
	events.CodePasswordCommon:    fail(http.StatusUnprocessableEntity, "password-common", "password is among the most common ones; choose another"),
	events.CodePasswordResembles: fail(http.StatusUnprocessableEntity, "password-resembles", "password contains a part of the customer's name, e-mail address or user name, or the service's name; choose another"),
}

const passwordRequired = "password-required"

// choose puts the password that came with a code into the vault, where the account needs one, and
// returns its sequence.
func (g *gateway) choose(ctx context.Context, t *tenant.Tenant, id string, history []events.Record, password string) (sequence uint64, f *failure) {
	created, _, _ := find[events.AccountCreated](history)
	switch {
	case !created.PasswordRequired && password == "":
		return 0, nil
	case !created.PasswordRequired:
		return 0, fail(http.StatusBadRequest, "malformed", "password is not asked for: the account has one; send the code alone")
	case password == "":
		return 0, passwordRefusals[events.PasswordRequired]
	}
	facts := passwords.Facts(password, events.Registration{}, t, g.blocklist)
	if broken := passwords.Of(t, created.Channel).Check(facts); len(broken) > 0 {
		return 0, passwordRefusals[broken[0]]
	}
	sealed, err := g.env.Keys.SealCredential(t.ID, id, []byte(password))
	if err != nil {
		return 0, g.intake.internal(ctx, err)
	}
	if sequence, err = g.env.Vault.Put(ctx, t.ID, id, vault.Entry{Credential: sealed}); err != nil {
		return 0, g.intake.internal(ctx, err)
	}
	return sequence, nil
}

// withdraw takes a password out of the vault that the stored request, which was there before this
// one, does not name.
func (g *gateway) withdraw(ctx context.Context, tenant, id string, own events.ActivationRequested) {
	if own.Vault == 0 {
		return
	}
	stored, err := g.env.Bus.StoredAt(ctx, events.SubjectOf(tenant, id, own))
	if err == nil {
		if first, ok := stored.Event.(events.ActivationRequested); ok && first.Vault == own.Vault {
			return
		}
		err = g.env.Vault.Withdraw(ctx, own.Vault)
	}
	if err != nil {
		g.env.Log.WarnContext(ctx, "vault entry of a repeated activation not deleted", "error", err)
	}
}
