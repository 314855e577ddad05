// Package candescent speaks the dialect of Candescent's "Register New Customer": it decodes
// requests in JSON and XML and renders answers, which are always XML.
package candescent

import (
	"regexp"
	"slices"

	"golang.org/x/text/unicode/norm"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/identity"
	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/xmlbody"
)

// Channel is the name of the dialect in events.
const Channel = "candescent"

// channelType is the only one that this request has.
const channelType = "TPV_API"

// Audit is the name under which the vendor logs this request.
var Audit = events.Audit{Event: "RegistrationUser", ChannelType: channelType, UserProduct: "THIRD_PARTY_REGISTRATION"}

const root = "FICustomer"

// DecodeJSON reads one registration and its password. Its error is always a *jsonbody.Problem:
// text that is no JSON, a wrong type, a missing root or characters that XML cannot hold. All
// else is the validator's; of what the canonical form cannot hold, Registration.Findings tells.
func DecodeJSON(body []byte) (events.Registration, string, error) {
	var q request
	if err := jsonbody.Decode(body, &q, jsonbody.OnlyXML()); err != nil {
		return events.Registration{}, "", err
	}
	if q.Customer == nil {
		return events.Registration{}, "", &jsonbody.Problem{Field: root, Detail: "is required, wrap the request in it"}
	}
	r, password := q.Customer.registration()
	return r, password, nil
}

// DecodeXML is DecodeJSON for XML. The same content gives the same registration.
func DecodeXML(body []byte) (events.Registration, string, error) {
	var c customer
	if err := xmlbody.Decode(body, root, &c); err != nil {
		return events.Registration{}, "", err
	}
	r, password := c.registration()
	return r, password, nil
}

func (c *customer) registration() (events.Registration, string) {
	var credential channel
	if len(c.Channels.Channel) > 0 {
		credential = c.Channels.Channel[0]
	}
	r := events.Registration{
		Channel:      Channel,
		Applicant:    c.Person.canonical(),
		MemberNumber: identity.Text(c.MemberNumber),
		Username:     norm.NFC.String(credential.Credential.LoginID),
		Consents:     c.consents(),
		Findings:     c.channelFindings(),
	}
	return r, credential.Credential.Password
}

var tenDigits = regexp.MustCompile(`^[0-9]{10}$`)

func (p *person) canonical() events.Applicant {
	a := events.Applicant{
		Type:              "INDIVIDUAL",
		GivenName:         identity.Text(p.Name.First),
		MiddleName:        identity.Text(p.Name.Middle),
		FamilyName:        identity.Text(p.Name.Last),
		Email:             identity.Text(p.Contact.Email),
		CanonicalEmail:    identity.CanonicalEmail(p.Contact.Email),
		BirthDate:         identity.Text(p.BirthDate),
		MothersMaidenName: identity.Text(p.MothersMaidenName),
	}
	if ssn := identity.Text(p.SSN); ssn != "" {
		a.NationalID = &events.NationalID{Type: "US_SSN", Value: ssn}
	}
	for _, sent := range p.Contact.Phones {
		a.Contacts = append(a.Contacts, events.Contact{Type: "PHONE", Value: identity.Text(sent.Number)})
	}
	if len(a.Contacts) > 0 {
		a.Phone = e164(a.Contacts[0].Value)
	}
	for _, home := range p.Contact.Addresses {
		a.Addresses = append(a.Addresses, home.canonical())
	}
	return a
}

// e164 puts the country code of the North American Numbering Plan before ten digits.
func e164(number string) string {
	if tenDigits.MatchString(number) {
		return "+1" + number
	}
	return number
}

// canonical keeps an empty first line where only the second is sent.
func (a address) canonical() events.Address {
	lines := []string{identity.Text(a.Address1)}
	if second := identity.Text(a.Address2); second != "" {
		lines = append(lines, second)
	}
	return events.Address{
		Lines:      lines,
		City:       identity.Text(a.City),
		Region:     identity.Text(a.State),
		PostalCode: identity.Text(a.PostalCode),
		Country:    identity.Country(a.Country),
	}
}

// consents are the disclosures that are accepted, and nowhere in the request refused.
func (c *customer) consents() []events.Consent {
	accepted := c.answered(true)
	refused := c.answered(false)
	return slices.DeleteFunc(accepted, func(d events.Consent) bool { return slices.Contains(refused, d) })
}

func (c *customer) answered(accepted bool) (answers []events.Consent) {
	for _, d := range c.Disclosures.Disclosure {
		named := events.Consent{ID: identity.Text(d.ID), Version: identity.Text(d.Version)}
		if d.Accepted == accepted && !slices.Contains(answers, named) {
			answers = append(answers, named)
		}
	}
	return answers
}

// channelFindings wants one channel, of the one type.
func (c *customer) channelFindings() []events.Violation {
	const field = "channelInfos.channelInfo"
	switch channels := c.Channels.Channel; {
	case len(channels) == 0:
		return []events.Violation{{Code: events.CodeRequired, Field: field}}
	case len(channels) > 1:
		return []events.Violation{{Code: events.CodeTooMany, Field: field}}
	case identity.Text(channels[0].Type) != channelType:
		return []events.Violation{{Code: events.CodeNotAllowed, Field: field + "[0].channelType"}}
	}
	return nil
}
