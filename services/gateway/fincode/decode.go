// Package fincode speaks the dialect of Fincode's register-customer: it decodes requests, opens
// their passwords and renders answers.
package fincode

import (
	"crypto/rsa"
	"encoding/json"
	"strings"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/identity"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

// Channel is the name of the dialect in events.
const Channel = "fincode"

const company = "COMPANY"

// Settings of a tenant that change how its requests are read.
type Settings struct {
	AllowPlain bool // accept payloadEncrypted: false
	// Keys are those that open encrypted passwords. It is called for an encrypted payload only.
	Keys func() ([]*rsa.PrivateKey, error)
}

// Decode reads one registration. Its error is a *jsonbody.Problem for text that is no such
// document, or a *FieldError for passwords that cannot be opened, differ or are plain without
// leave: Malformed renders both. Or it wraps ErrKeys. What is missing or disagrees is in
// Registration.Findings.
func Decode(body []byte, t Settings) (events.Registration, string, error) {
	var q request
	if err := jsonbody.Decode(body, &q); err != nil {
		return events.Registration{}, "", err
	}
	if err := q.openPasswords(t); err != nil {
		return events.Registration{}, "", err
	}
	return q.registration(), q.Password, nil
}

// registration makes the canonical form of a request whose passwords are open.
func (q *request) registration() events.Registration {
	phone, found := q.phone()
	r := events.Registration{
		Channel: Channel,
		Applicant: events.Applicant{
			Type:           identity.Text(q.CustomerType),
			GivenName:      identity.Text(q.FirstName),
			FamilyName:     identity.Text(q.LastName),
			Email:          identity.Text(q.Email),
			CanonicalEmail: identity.CanonicalEmail(q.Email),
			Phone:          phone,
			BirthDate:      datePart(identity.Text(q.BirthDate)),
		},
		Attributes: q.attributes(),
		Findings:   append(q.missing(), found...),
		Client:     events.Client{Platform: identity.Text(q.DevicePlatform)},
	}
	if r.Applicant.Type == company {
		name, found := q.companyName()
		r.Applicant.CompanyName = name
		r.Findings = append(r.Findings, found...)
	}
	if q.Address != nil {
		r.Applicant.Addresses = []events.Address{q.Address.canonical()}
		r.Findings = append(r.Findings, q.Address.findings()...)
	}
	return r
}

// missing returns what the document requires and the request lacks.
func (q *request) missing() (found []events.Violation) {
	for _, p := range []struct{ field, value string }{
		{"devicePlatform", q.DevicePlatform}, {"appVersion", q.AppVersion}, {"appId", q.AppID}, {"customerType", q.CustomerType},
		{"firstName", q.FirstName}, {"lastName", q.LastName}, {"email", q.Email}, {"dialingCode", q.DialingCode}, {"phone", q.Phone},
		{"dob", q.BirthDate}, {"password", q.Password}, {"confirmPassword", q.ConfirmPassword},
	} {
		if isBlank(p.value) {
			found = append(found, events.Violation{Code: events.CodeRequired, Field: p.field})
		}
	}
	if q.Address == nil {
		found = append(found, events.Violation{Code: events.CodeRequired, Field: "address"})
	}
	if q.DynamicFields == nil {
		found = append(found, events.Violation{Code: events.CodeRequired, Field: "dynamicFields"})
	}
	return found
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }

// attributes keeps what the canonical form has no place for.
func (q *request) attributes() map[string]json.RawMessage {
	kept := map[string]json.RawMessage{}
	if q.AppID != "" {
		kept["appId"] = encode(identity.Text(q.AppID))
	}
	if q.AppVersion != "" {
		kept["appVersion"] = encode(identity.Text(q.AppVersion))
	}
	if q.DynamicFields != nil && len(*q.DynamicFields) > 0 {
		kept["dynamicFields"] = encode(*q.DynamicFields)
	}
	return kept
}

// companyName is the legal name of a company; "" where none is sent.
func (q *request) companyName() (string, []events.Violation) {
	if q.DynamicFields == nil {
		return "", nil
	}
	raw, sent := (*q.DynamicFields)["companyName"]
	if !sent || string(raw) == "null" {
		return "", nil
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return "", []events.Violation{{Code: events.CodeFormat, Field: "dynamicFields.companyName"}}
	}
	return identity.Text(name), nil
}

// dateTimes are the forms of ISO 8601 that clients write a date-time in; fractions of a second
// are read too.
var dateTimes = []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04"}

// datePart returns the date of a date-time as it is written, whatever its offset; anything else
// comes back as sent.
func datePart(s string) string {
	for _, form := range dateTimes {
		if _, err := time.Parse(form, s); err == nil {
			return s[:len(time.DateOnly)]
		}
	}
	return s
}
