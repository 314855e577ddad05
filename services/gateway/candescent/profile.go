package candescent

import (
	"encoding/xml"
	"strings"

	"github.com/usherhq/usher/events"
)

// View is what an answer about one customer is made of.
type View struct {
	CustomerID    string // "" while there is no account
	InstitutionID string
	Registration  events.Registration
}

// profile leaves out the SSN, the mother's maiden name and the password: no answer has them.
type profile struct {
	XMLName      xml.Name        `xml:"FICustomer"`
	ID           *guid           `xml:"id"`
	FIID         string          `xml:"fiId"`
	MemberNumber string          `xml:"memberNumber"`
	Person       shownPerson     `xml:"person"`
	Channel      shownChannel    `xml:"channelInfos>channelInfo"`
	Disclosures  []shownDocument `xml:"disclosures>disclosure"`
}

type guid struct {
	Value string `xml:"value"`
	Type  string `xml:"type"`
}

type shownPerson struct {
	First     string         `xml:"personName>firstName"`
	Middle    string         `xml:"personName>middleName"`
	Last      string         `xml:"personName>lastName"`
	Email     string         `xml:"contactInfo>emailAddress"`
	Addresses []shownAddress `xml:"contactInfo>postalAddress"`
	Phones    []shownPhone   `xml:"contactInfo>phoneNumber"`
	BirthDate string         `xml:"birthDate"`
}

type shownAddress struct {
	Address1   string `xml:"address1"`
	Address2   string `xml:"address2,omitempty"`
	City       string `xml:"city"`
	State      string `xml:"state"`
	PostalCode string `xml:"postalCode"`
	Country    string `xml:"country"`
}

type shownPhone struct {
	Number string `xml:"number"`
}

type shownChannel struct {
	Type    string `xml:"channelType"`
	LoginID string `xml:"credential>loginId"`
}

type shownDocument struct {
	ID       string `xml:"id"`
	Version  string `xml:"version"`
	Accepted bool   `xml:"accepted"`
}

// Customer renders the profile: with the id that the customer was given, or, where the outcome
// is still open, without one.
func Customer(v View) []byte {
	a := v.Registration.Applicant
	p := profile{
		FIID:         v.InstitutionID,
		MemberNumber: v.Registration.MemberNumber,
		Person: shownPerson{
			First: a.GivenName, Middle: a.MiddleName, Last: a.FamilyName, Email: a.Email, BirthDate: a.BirthDate,
		},
		Channel: shownChannel{Type: channelType, LoginID: v.Registration.Username},
	}
	if v.CustomerID != "" {
		p.ID = &guid{Value: v.CustomerID, Type: "GUID"}
	}
	for _, home := range a.Addresses {
		p.Person.Addresses = append(p.Person.Addresses, shown(home))
	}
	for _, c := range a.Contacts {
		p.Person.Phones = append(p.Person.Phones, shownPhone{c.Value})
	}
	for _, c := range v.Registration.Consents {
		p.Disclosures = append(p.Disclosures, shownDocument{c.ID, c.Version, true})
	}
	return encode(p)
}

func shown(a events.Address) shownAddress {
	s := shownAddress{City: a.City, State: a.Region, PostalCode: a.PostalCode, Country: a.Country}
	for i, line := range a.Lines {
		switch i {
		case 0:
			s.Address1 = line
		case 1:
			s.Address2 = line
		}
	}
	return s
}

// encode cannot fail: the types it is given hold nothing that XML lacks. Characters that XML
// cannot hold, which the decoders let nobody send, would come out as U+FFFD.
func encode(v any) []byte {
	body, err := xml.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append([]byte(xml.Header), plainQuotes.Replace(string(body))...)
}

// plainQuotes undoes what only attributes need (XML 1.0 section 2.4), and no answer has any.
var plainQuotes = strings.NewReplacer("&#39;", "'", "&#34;", `"`)
