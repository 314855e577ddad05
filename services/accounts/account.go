package accounts

import (
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
}

// State of an account document.
type state string

const (
	creating state = "CREATING" // the unique fields are claimed, the password is not hashed yet
	created  state = "CREATED"
	active   state = "ACTIVE"
	rejected state = "REJECTED" // no account: the stored reason why
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
	Violations []events.Violation `json:"violations,omitempty"`
	Versions   events.Versions    `json:"versions"`
	Validity   int                `json:"validitySeconds"`
	Activation activation         `json:"activation"`
}

func (a account) fields() store.Fields {
	f := store.Fields{"tenant": a.Tenant}
	for name, mac := range a.Claims {
		f[name] = mac
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

// claims are the HMACs of what no other account of the tenant may have.
func (s *service) claims(t *tenant.Tenant, r events.Registration) (map[string]string, error) {
	values := map[string]struct{ field, value string }{
		"email":        {"u_email", r.Applicant.CanonicalEmail},
		"username":     {"u_username", strings.ToLower(r.Username)},
		"memberNumber": {"u_member", strings.ToUpper(r.MemberNumber)},
	}
	if id := r.Applicant.NationalID; id != nil {
		values["nationalId"] = struct{ field, value string }{"u_nid", id.Type + "|" + strings.ToUpper(id.Value)}
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
	if a.State == rejected {
		return events.Rejected{At: events.StepAccount, Versions: a.Versions, Vault: c.Vault, Violations: a.Violations}
	}
	return events.AccountCreated{Carried: c, Epoch: 1, ValiditySeconds: a.Validity, PasswordRequired: a.NoPassword, Category: a.Category}
}
