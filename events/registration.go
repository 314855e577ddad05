package events

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"unicode"
)

// Registration is what a customer told us, in one canonical form for all dialects. It is
// personal data: it travels sealed in the vault and never in an event. The password is not
// part of it.
type Registration struct {
	Channel      string                     `json:"channel"`
	Dialect      string                     `json:"dialect,omitempty"` // see Carried.Dialect
	Applicant    Applicant                  `json:"applicant"`
	Username     string                     `json:"username,omitempty"`
	MemberNumber string                     `json:"memberNumber,omitempty"`
	Roles        []string                   `json:"roles,omitempty"`
	Claim        *CategoryClaim             `json:"claim,omitempty"`
	Consents     []Consent                  `json:"consents,omitempty"`
	Attributes   map[string]json.RawMessage `json:"attributes,omitempty"`
	ExternalIDs  map[string]string          `json:"externalIds,omitempty"` // the client's own, by place
	Password     PasswordFacts              `json:"password"`
	// Findings are what the decoder saw and this form cannot hold, for the validator.
	Findings []Violation `json:"findings,omitempty"`
	// Client is about the request, not the person: it is no part of "the same content".
	Client Client `json:"client"`
}

// LogValue keeps personal data out of logs.
func (r Registration) LogValue() slog.Value { return slog.StringValue("registration:" + r.Channel) }

// String keeps personal data out of formatted text.
func (r Registration) String() string { return "registration:" + r.Channel }

// GoString keeps personal data out of formatted text.
func (r Registration) GoString() string { return r.String() }

// Applicant is the person or company to be registered. Values are as sent, trimmed and in NFC;
// countries are ISO 3166-1 alpha-2 where they could be recognised, else as sent.
type Applicant struct {
	Type              string      `json:"type"` // INDIVIDUAL or COMPANY
	GivenName         string      `json:"givenName"`
	MiddleName        string      `json:"middleName,omitempty"`
	FamilyName        string      `json:"familyName"`
	CompanyName       string      `json:"companyName,omitempty"`
	Email             string      `json:"email"`               // as sent: mail goes there
	CanonicalEmail    string      `json:"canonicalEmail"`      // for comparison and uniqueness
	Phone             string      `json:"phone,omitempty"`     // E.164 where it could be made so
	BirthDate         string      `json:"birthDate,omitempty"` // YYYY-MM-DD
	Gender            string      `json:"gender,omitempty"`
	Nationality       string      `json:"nationality,omitempty"`
	PlaceOfBirth      string      `json:"placeOfBirth,omitempty"`
	PostalCode        string      `json:"postalCode,omitempty"` // the vendor's pincode
	Addresses         []Address   `json:"addresses,omitempty"`
	Contacts          []Contact   `json:"contacts,omitempty"`
	NationalID        *NationalID `json:"nationalId,omitempty"`
	MothersMaidenName string      `json:"mothersMaidenName,omitempty"`
}

// LogValue keeps personal data out of logs.
func (a Applicant) LogValue() slog.Value { return slog.StringValue("applicant:" + a.Type) }

// String keeps personal data out of formatted text.
func (a Applicant) String() string { return "applicant:" + a.Type }

// GoString keeps personal data out of formatted text.
func (a Applicant) GoString() string { return a.String() }

// Address is a postal address.
type Address struct {
	ID         string   `json:"id,omitempty"` // the client's
	Type       string   `json:"type,omitempty"`
	Lines      []string `json:"lines,omitempty"`
	City       string   `json:"city,omitempty"`
	Region     string   `json:"region,omitempty"`
	PostalCode string   `json:"postalCode,omitempty"`
	Country    string   `json:"country,omitempty"`
	Primary    bool     `json:"primary,omitempty"`
}

// Contact is another way to reach the applicant, kept as sent.
type Contact struct {
	ID      string `json:"id,omitempty"` // the client's
	Type    string `json:"type"`
	Value   string `json:"value"`
	Primary bool   `json:"primary,omitempty"`
}

// NationalID is a number a state has given, e.g. type US_SSN.
type NationalID struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Canonical is the number for comparison and uniqueness, however it was written: its type and its
// letters and digits, in upper case; "" where it has none.
func (n NationalID) Canonical() string {
	value := lettersAndDigits(n.Value)
	if value == "" {
		return ""
	}
	return lettersAndDigits(n.Type) + "|" + value
}

func lettersAndDigits(text string) string {
	return strings.ToUpper(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text))
}

// Consent is an accepted document in its version.
type Consent struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// CategoryClaim is the category the client asks for.
type CategoryClaim struct {
	ID       string         `json:"id"`
	Place    string         `json:"place,omitempty"` // of the id in the request, for messages; no part of "the same content"
	Name     string         `json:"name,omitempty"`
	Features []FeatureClaim `json:"features,omitempty"`
}

// FeatureClaim is a feature the client asks for, with values it chose.
type FeatureClaim struct {
	ID         string      `json:"id,omitempty"`
	Code       string      `json:"code,omitempty"`
	Enabled    bool        `json:"enabled"`
	Parameters []Parameter `json:"parameters,omitempty"`
}

// PasswordFacts are all that the pipeline knows of a password besides its sealed form.
type PasswordFacts struct {
	Present   bool `json:"present"`
	Length    int  `json:"length"` // in code points, after NFKC
	Bytes     int  `json:"bytes"`  // as received
	Upper     bool `json:"upper"`
	Lower     bool `json:"lower"`
	Digit     bool `json:"digit"`
	Special   bool `json:"special"`
	Space     bool `json:"space"`
	Common    bool `json:"common"`    // on the blocklist
	Resembles bool `json:"resembles"` // contains a name, the mailbox, the user name or a word of the tenant
	// Caseless is a letter of a script without case; InUsername, that the password is part of
	// the user name, upper and lower case alike.
	Caseless   bool `json:"caseless,omitempty"`
	InUsername bool `json:"inUsername,omitempty"`
}

// Client is what the request says of its sender.
type Client struct {
	Address       string `json:"address,omitempty"`
	ForwardedFor  string `json:"forwardedFor,omitempty"`
	ForwardedFrom string `json:"forwardedFrom,omitempty"`
	UserAgent     string `json:"userAgent,omitempty"`
	Platform      string `json:"platform,omitempty"`
	DeviceID      string `json:"deviceId,omitempty"`
	RequestID     string `json:"requestId,omitempty"`  // uuid, di_tid
	OfferingID    string `json:"offeringId,omitempty"` // of the third party's product
}

// Network is what the address is counted under: itself, or its /64 in IPv6, which is what one
// customer has.
func (c Client) Network() string {
	ip, err := netip.ParseAddr(c.Address)
	if err != nil || ip.Unmap().Is4() {
		return c.Address
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return c.Address
	}
	return prefix.String()
}

// LogValue keeps personal data out of logs.
func (Client) LogValue() slog.Value { return slog.StringValue("client") }

// String keeps personal data out of formatted text.
func (Client) String() string { return "client" }
