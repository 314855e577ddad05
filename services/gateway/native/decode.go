// Package native speaks Usher's own HTTP dialect: it decodes registrations and renders answers.
package native

import (
	"encoding/json"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/identity"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

// Channel is the name of the dialect in events.
const Channel = "native"

// Settings of a tenant that change how its requests are read. This dialect has none.
type Settings struct{}

type request struct {
	Applicant    applicant                  `json:"applicant"`
	Credentials  credentials                `json:"credentials"`
	CategoryID   string                     `json:"categoryId"`
	Roles        []string                   `json:"roles"`
	Consents     []consent                  `json:"consents"`
	MemberNumber string                     `json:"memberNumber"`
	Attributes   map[string]json.RawMessage `json:"attributes"`
}

type applicant struct {
	Type              string      `json:"type"`
	GivenName         string      `json:"givenName"`
	FamilyName        string      `json:"familyName"`
	Email             string      `json:"email"`
	Phone             string      `json:"phone"`
	BirthDate         string      `json:"birthDate"`
	Gender            string      `json:"gender"`
	Nationality       string      `json:"nationality"`
	PlaceOfBirth      string      `json:"placeOfBirth"`
	Addresses         []address   `json:"addresses"`
	NationalID        *nationalID `json:"nationalId"`
	MothersMaidenName string      `json:"mothersMaidenName"`
}

type address struct {
	Type       string   `json:"type"`
	Lines      []string `json:"lines"`
	City       string   `json:"city"`
	Region     string   `json:"region"`
	PostalCode string   `json:"postalCode"`
	Country    string   `json:"country"`
	Primary    bool     `json:"primary"`
}

type nationalID struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type consent struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// Decode reads one registration. Its error is always a *jsonbody.Problem; what is well-formed
// is left to the validator. Unknown fields are refused.
func Decode(body []byte, _ Settings) (events.Registration, string, error) {
	var q request
	if err := jsonbody.Decode(body, &q, jsonbody.RefuseUnknown()); err != nil {
		return events.Registration{}, "", err
	}
	r, password := q.registration()
	return r, password, nil
}

// DecodeLine reads one line of a batch: a registration and, where it has one, its own
// idempotency key.
func DecodeLine(line []byte, _ Settings) (r events.Registration, password, idempotencyKey string, err error) {
	var q struct {
		request
		IdempotencyKey string `json:"idempotencyKey"`
	}
	if err := jsonbody.Decode(line, &q, jsonbody.RefuseUnknown()); err != nil {
		return events.Registration{}, "", "", err
	}
	r, password = q.registration()
	return r, password, q.IdempotencyKey, nil
}

func (q request) registration() (events.Registration, string) {
	r := events.Registration{
		Channel:      Channel,
		Applicant:    q.Applicant.canonical(),
		Username:     identity.Text(q.Credentials.Username),
		MemberNumber: identity.Text(q.MemberNumber),
		Roles:        q.Roles,
		Attributes:   q.Attributes,
	}
	if q.CategoryID != "" {
		r.Claim = &events.CategoryClaim{ID: q.CategoryID}
	}
	for _, c := range q.Consents {
		r.Consents = append(r.Consents, events.Consent(c))
	}
	return r, q.Credentials.Password
}

func (a applicant) canonical() events.Applicant {
	c := events.Applicant{
		Type:              a.Type,
		GivenName:         identity.Text(a.GivenName),
		FamilyName:        identity.Text(a.FamilyName),
		Email:             identity.Text(a.Email),
		CanonicalEmail:    identity.CanonicalEmail(a.Email),
		Phone:             identity.Text(a.Phone),
		BirthDate:         identity.Text(a.BirthDate),
		Gender:            identity.Text(a.Gender),
		Nationality:       identity.Country(a.Nationality),
		PlaceOfBirth:      identity.Text(a.PlaceOfBirth),
		MothersMaidenName: identity.Text(a.MothersMaidenName),
	}
	if c.Type == "" {
		c.Type = "INDIVIDUAL"
	}
	if a.NationalID != nil {
		c.NationalID = &events.NationalID{Type: identity.Text(a.NationalID.Type), Value: identity.Text(a.NationalID.Value)}
	}
	for _, home := range a.Addresses {
		c.Addresses = append(c.Addresses, home.canonical())
	}
	return c
}

func (a address) canonical() events.Address {
	c := events.Address{
		Type:       identity.Text(a.Type),
		City:       identity.Text(a.City),
		Region:     identity.Text(a.Region),
		PostalCode: identity.Text(a.PostalCode),
		Country:    identity.Country(a.Country),
		Primary:    a.Primary,
	}
	for _, line := range a.Lines {
		c.Lines = append(c.Lines, identity.Text(line))
	}
	return c
}
