// Package finhub speaks the dialect of FinHub's individual registration: it decodes requests
// and renders answers. The vendor documents one person in several places of a request; the
// nested place, individualCustomer.person, is the one that is read, the others must agree.
package finhub

import (
	"encoding/json"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/identity"
	"github.com/usherhq/usher/services/gateway/jsonbody"
)

// Channel is the name of the dialect in events.
const Channel = "finhub"

// Settings of a tenant that change how its requests are read.
type Settings struct {
	// FlatBody fills the person from the top level where individualCustomer or its person is
	// absent.
	FlatBody bool
}

// Messages that answer alone.
const (
	passwordMismatch = "Password and matching password do not match"
	isRequired       = "is required"
)

// Decode reads one registration. Its error is always a *jsonbody.Problem, to be rendered by
// Malformed: text that is no JSON, a wrong type, a missing individualCustomer or passwords that
// differ. Missing fields and places that disagree are in Registration.Findings.
func Decode(body []byte, t Settings) (events.Registration, string, error) {
	var q request
	if err := jsonbody.Decode(body, &q); err != nil {
		return events.Registration{}, "", err
	}
	if q.IndividualCustomer == nil && !t.FlatBody {
		return events.Registration{}, "", &jsonbody.Problem{Field: "individualCustomer", Detail: isRequired}
	}
	if q.Password != "" && q.MatchingPassword != "" && q.Password != q.MatchingPassword {
		return events.Registration{}, "", &jsonbody.Problem{Detail: passwordMismatch}
	}
	found := q.complete(t)
	r, p := q.registration()
	if p != nil {
		return events.Registration{}, "", p
	}
	r.Findings = found
	return r, q.Password, nil
}

// complete returns what is missing or disagrees, then gives q an individual and a person,
// filled from the top level where they lack a value.
func (q *request) complete(t Settings) []events.Violation {
	found := q.missing()
	if q.IndividualCustomer == nil {
		q.IndividualCustomer = &individual{}
	}
	c := q.IndividualCustomer
	switch {
	case c.Person != nil:
		found = append(found, c.Person.missing()...)
	case !t.FlatBody:
		found = append(found, events.Violation{Code: events.CodeRequired, Field: personPath[:len(personPath)-1]})
	}
	if c.Person == nil {
		c.Person = &person{}
	}
	found = append(found, q.disagreements()...)
	c.Person.fill(q)
	return found
}

func (p *person) fill(q *request) {
	for _, v := range []struct {
		nested *string
		top    string
	}{
		{&p.FirstName, q.FirstName}, {&p.LastName, q.LastName}, {&p.Email, q.Email},
		{&p.DateOfBirth, q.DateOfBirth}, {&p.Gender, q.Gender}, {&p.Nationality, q.Nationality},
		{&p.PlaceOfBirth, q.PlaceOfBirth}, {&p.Pincode, q.Pincode},
	} {
		if isBlank(*v.nested) {
			*v.nested = v.top
		}
	}
}

// registration makes the canonical form of a complete request.
func (q *request) registration() (events.Registration, *jsonbody.Problem) {
	claim, p := q.claim()
	if p != nil {
		return events.Registration{}, p
	}
	c := q.IndividualCustomer
	r := events.Registration{
		Channel:     Channel,
		Applicant:   c.Person.canonical(q.Phone),
		Username:    identity.Text(c.User.Username),
		Roles:       q.RoleIDs,
		Claim:       claim,
		ExternalIDs: q.externalIDs(),
	}
	if name := identity.Text(c.CustomerName); name != "" {
		r.Attributes = map[string]json.RawMessage{"customerName": encode(name)}
	}
	return r, nil
}

func (p *person) canonical(phone string) events.Applicant {
	a := events.Applicant{
		Type:           "INDIVIDUAL",
		GivenName:      identity.Text(p.FirstName),
		FamilyName:     identity.Text(p.LastName),
		Email:          identity.Text(p.Email),
		CanonicalEmail: identity.CanonicalEmail(p.Email),
		Phone:          identity.Text(phone),
		BirthDate:      identity.Text(p.DateOfBirth),
		Gender:         identity.Text(p.Gender),
		Nationality:    identity.Country(p.Nationality),
		PlaceOfBirth:   identity.Text(p.PlaceOfBirth),
		PostalCode:     identity.Text(p.Pincode),
	}
	for _, home := range p.Addresses {
		a.Addresses = append(a.Addresses, home.canonical())
	}
	for _, c := range p.Contacts {
		a.Contacts = append(a.Contacts, events.Contact{ID: c.ID, Type: c.Type, Value: identity.Text(c.Value), Primary: c.IsPrimary})
	}
	return a
}

func (a address) canonical() events.Address {
	c := events.Address{
		ID:         a.ID,
		Type:       identity.Text(a.Type),
		City:       identity.Text(a.City),
		Region:     identity.Text(a.State),
		PostalCode: identity.Text(a.PostalCode),
		Country:    identity.Country(a.Country),
		Primary:    a.IsPrimary,
	}
	if street := identity.Text(a.Street); street != "" {
		c.Lines = []string{street}
	}
	return c
}

// Places of the client's own ids in Registration.ExternalIDs. A tenant named in a body is
// recorded and never selects.
const (
	clientPersonID = "individualCustomer.person.id"
	clientUserID   = "individualCustomer.user.id"
)

func (q *request) externalIDs() map[string]string {
	c := q.IndividualCustomer
	ids := map[string]string{
		"tenantId":                         q.TenantID,
		"individualCustomer.tenantId":      c.TenantID,
		"individualCustomer.user.tenantId": c.User.TenantID,
		clientPersonID:                     c.Person.ID,
		clientUserID:                       c.User.ID,
	}
	for place, id := range ids {
		if id == "" {
			delete(ids, place)
		}
	}
	return ids
}
