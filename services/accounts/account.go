package accounts

import (
	"errors"
	"fmt"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// accountSchema claims what a tenant makes unique, within the tenant. A field is present only
// where the tenant's policy makes it so.
var accountSchema = store.Schema{
	Collection: "accounts",
	Unique: [][]string{
		{"tenant", "u_email"}, {"tenant", "u_username"}, {"tenant", "u_member"}, {"tenant", "u_nid"},
	},
	Index: [][]string{{"tenant", hashWork}, {"dueAt"}},
}

// State of an account document.
type state string

const (
	creating state = "CREATING" // the unique fields are claimed, the password is not hashed yet
	created  state = "CREATED"
	active   state = "ACTIVE"
	expired  state = "EXPIRED"  // never activated: the person is forgotten
	rejected state = "REJECTED" // no account: the stored reason why
	erased   state = "ERASED"   // a tombstone: the person is to stay erased, whatever comes
)

// account is one registration's account, with its customer, person and user, under the
// registration's id.
type account struct {
	Tenant     string             `json:"tenant"`
	MAC        string             `json:"requestMac"`
	State      state              `json:"state"`
	Claims     map[string]string  `json:"claims,omitempty"` // unique field to HMAC
	UserID     string             `json:"userId"`
	PersonID   string             `json:"personId"`
	Category   events.Category    `json:"category"`
	Person     []byte             `json:"person,omitempty"`   // sealed registration
	Password   string             `json:"password,omitempty"` // PHC string
	NoPassword bool               `json:"passwordRequired,omitempty"`
	Rehash     bool               `json:"rehash,omitempty"` // the tenant's parameters rose: hash the password anew when it is verified next
	Violations []events.Violation `json:"violations,omitempty"`
	Notice     *notice            `json:"notice,omitempty"` // of one that is rejected as a duplicate
	Versions   events.Versions    `json:"versions"`
	// The tenant's rules when the account was claimed. A later configuration is for later accounts.
	Validity    int           `json:"validitySeconds"`
	Vault       uint64        `json:"vault,omitempty"` // the entry that it was made of
	MaxTries    int           `json:"maxTries,omitempty"`
	TriesPerDay int           `json:"triesPerDay,omitempty"`
	Argon2      tenant.Argon2 `json:"argon2,omitzero"` // of Password, or to hash it by
	Activation  activation    `json:"activation"`
	Expiry      expiry        `json:"expiry,omitzero"`
}

func (a account) fields() store.Fields {
	f := store.Fields{"tenant": a.Tenant}
	for name, mac := range a.Claims {
		f[name] = mac
	}
	if a.Password != "" && !a.Rehash {
		f[hashWork] = int64(a.Argon2.Work())
	}
	if a.Expiry.DueAt > 0 {
		f["dueAt"] = a.Expiry.DueAt
	}
	return f
}

// duplicateCodes tells which claim was taken.
var duplicateCodes = map[string]string{
	"u_email":    events.CodeDuplicateEmail,
	"u_username": events.CodeDuplicateUsername,
	"u_member":   events.CodeDuplicateMember,
	"u_nid":      events.CodeDuplicateNationalID,
}

var errNoTenant = errors.New("tenant is not configured")

// complement gives an account that was claimed before accounts kept all their rules the missing
// ones, as its tenant has them now.
func (s *service) complement(a *account) error {
	if a.MaxTries > 0 && a.TriesPerDay > 0 && a.Expiry.After > 0 {
		return nil
	}
	t, known := s.config.Tenant(a.Tenant)
	if !known {
		return errNoTenant
	}
	if a.MaxTries == 0 {
		a.MaxTries, a.Argon2 = t.Activation.MaxTries, t.Argon2
	}
	if a.TriesPerDay == 0 {
		a.TriesPerDay = t.Activation.TriesPerDay
	}
	if a.Expiry.After == 0 {
		a.Expiry = expiryOf(t.Activation)
	}
	return nil
}

// claims are the HMACs of what no other account of the tenant may have.
func (s *service) claims(t *tenant.Tenant, r events.Registration) (map[string]string, error) {
	values := map[string]struct{ field, value string }{
		"email":        {"u_email", r.Applicant.CanonicalEmail},
		"username":     {"u_username", strings.ToLower(r.Username)},
		"memberNumber": {"u_member", strings.ToUpper(r.MemberNumber)},
	}
	if id := r.Applicant.NationalID; id != nil {
		values["nationalId"] = struct{ field, value string }{"u_nid", id.Canonical()}
	}
	claims := map[string]string{}
	for _, name := range t.Unique {
		v, ok := values[name]
		if !ok || v.value == "" {
			continue
		}
		mac, err := s.keys.MAC(keys.Index, v.field, t.ID, []byte(v.value))
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", name, err)
		}
		claims[v.field] = fmt.Sprintf("%x", mac)
	}
	return claims, nil
}

// event tells of a finished document.
func (a account) event(c events.Carried) events.Event {
	switch a.State {
	case erased:
		return events.StillErased(events.Accounts, c.Vault)
	case rejected:
		return events.Rejected{At: events.StepAccount, Versions: a.Versions, Vault: c.Vault, Violations: a.Violations}
	case expired: // account.created is published: the stream has forgotten it, or this is its redelivery
		return events.Rejected{At: events.StepAccount, Versions: a.Versions, Vault: c.Vault, Violations: []events.Violation{{Code: events.CodeExpiredRegistration}}}
	}
	return events.AccountCreated{Carried: c, Epoch: 1, ValiditySeconds: a.Validity, PasswordRequired: a.NoPassword, Category: a.Category}
}
