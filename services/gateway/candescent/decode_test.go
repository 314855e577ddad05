package candescent

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/sample"
)

const (
	inJSON = "complete.request.json"
	inXML  = "complete.request.xml"
)

// decoded is all that a decoder returns.
type decoded struct {
	Registration events.Registration
	Password     string
}

func fromJSON(t *testing.T, body string) decoded {
	t.Helper()
	r, password, err := DecodeJSON([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return decoded{r, password}
}

func fromXML(t *testing.T, body string) decoded {
	t.Helper()
	r, password, err := DecodeXML([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return decoded{r, password}
}

func TestTheRequestBecomesOneRegistration(t *testing.T) {
	want := decoded{events.Registration{
		Channel: "candescent", Username: "test.user1", MemberNumber: "468531842",
		Applicant: events.Applicant{
			Type: "INDIVIDUAL", GivenName: "Test", FamilyName: "User", Email: "test.user@example.com", CanonicalEmail: "test.user@example.com",
			Phone: "+14065550100", BirthDate: "2000-01-01", MothersMaidenName: "Smith",
			Addresses:  []events.Address{{Lines: []string{"100 Main Street"}, City: "Miles City", Region: "MT", PostalCode: "59301", Country: "US"}},
			Contacts:   []events.Contact{{Type: "PHONE", Value: "4065550100"}},
			NationalID: &events.NationalID{Type: "US_SSN", Value: "123456789"},
		},
		Consents: []events.Consent{{ID: "online-banking-agreement", Version: "1"}},
	}, "Walnut-42"}
	for notation, got := range map[string]decoded{"JSON": fromJSON(t, sample.Read(t, inJSON)), "XML": fromXML(t, sample.Read(t, inXML))} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", notation, diff)
		}
	}
}

func TestJSONAndXMLOfTheSameContentAreTheSameRegistration(t *testing.T) {
	for name, c := range map[string]struct{ json, xml []string }{
		"a middle name":      {[]string{`"middleName":""`, `"middleName":"Q. \u00e9"`}, []string{"<middleName/>", "<middleName>Q. &#xe9;</middleName>"}},
		"without one":        {[]string{`"middleName":"",`, ""}, []string{"<middleName/>", ""}},
		"characters to mask": {[]string{`"User"`, `"O<U>s&er'\""`}, []string{">User<", ">O&lt;U&gt;s&amp;er&apos;&quot;<"}},
		"a CDATA section":    {[]string{`Walnut-42`, `<&>42`}, []string{"Walnut-42", "<![CDATA[<&>42]]>"}},
		"no addresses":       {[]string{`"country":"US"}]`, `"country":"US"}]`, `"postalAddress":[{"address1":"100 Main Street","city":"Miles City","state":"MT","postalCode":"59301","country":"US"}],`, ""}, []string{"<postalAddress>", "<unknown>", "</postalAddress>", "</unknown>"}},
		"two phone numbers":  {[]string{`[{"number":"4065550100"}]`, `[{"number":"4065550100"},{"number":"1"}]`}, []string{"</phoneNumber>", "</phoneNumber><phoneNumber><number>1</number></phoneNumber>"}},
		"a second line":      {[]string{`"city"`, `"address2":"Flat 2","city"`}, []string{"<city>", "<address2>Flat 2</address2><city>"}},
		"a country by name":  {[]string{`"US"`, `"United States"`}, []string{">US<", ">usa<"}},
		"a refusal":          {[]string{`"accepted":true`, `"accepted":false`}, []string{">true<", "> 0 <"}},
		"another channel":    {[]string{`TPV_API`, `WEB`}, []string{"TPV_API", "WEB"}},
		"no channel":         {[]string{`[{"channelType":"TPV_API","credential":{"loginId":"test.user1","password":"Walnut-42"}}]`, `[]`}, []string{"<channelInfo>", "<other>", "</channelInfo>", "</other>"}},
		"nothing":            {[]string{sample.Read(t, inJSON), `{"FICustomer":{}}`}, []string{sample.Read(t, inXML), "<FICustomer/>"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(fromJSON(t, sample.Edit(t, inJSON, c.json...)), fromXML(t, sample.Edit(t, inXML, c.xml...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheFormOfXMLDoesNotMatter(t *testing.T) {
	want := fromXML(t, sample.Read(t, inXML))
	for name, body := range map[string]string{
		"no declaration":              sample.Edit(t, inXML, `<?xml version="1.0" encoding="UTF-8"?>`, ""),
		"a byte order mark":           "\ufeff" + sample.Read(t, inXML),
		"a default namespace":         sample.Edit(t, inXML, "<FICustomer>", `<FICustomer xmlns="urn:vendor" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b">`),
		"a prefix":                    sample.Edit(t, inXML, "<FICustomer>", `<v:FICustomer xmlns:v="urn:vendor">`, "</FICustomer>", "</v:FICustomer>"),
		"comments":                    sample.Edit(t, inXML, "<ssn>1234", "<!-- <ssn>1</ssn> --><ssn>12<!-- -->34", "</FICustomer>", "</FICustomer><!-- end -->"),
		"no white space":              strings.NewReplacer("\n", "", "  ", "").Replace(sample.Read(t, inXML)),
		"Windows line ends":           strings.ReplaceAll(sample.Read(t, inXML), "\n", "\r\n"),
		"space around values":         sample.Edit(t, inXML, "<city>Miles City</city>", "<city>\n Miles City\n</city>"),
		"another order":               sample.Edit(t, inXML, "<memberNumber>468531842</memberNumber>", "", "</person>", "</person><memberNumber>468531842</memberNumber>"),
		"unknown elements, even some": sample.Edit(t, inXML, "<person>", "<person><new>1<a/><new>2</new></new><new/>"),
		"attributes":                  sample.Edit(t, inXML, "<ssn>", `<ssn masked="no" ssn='1'>`),
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, fromXML(t, body)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestADisclosureThatIsAlsoRefusedIsNotAccepted(t *testing.T) {
	const again = `,{"id":"online-banking-agreement","version":"1","accepted":false}]`
	if got := fromJSON(t, sample.Edit(t, inJSON, `"accepted":true}]`, `"accepted":true}`+again)).Registration.Consents; len(got) != 0 {
		t.Errorf("consents %v", got)
	}
}

func TestWhatCannotBeReadIsRefusedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct {
		decode     func([]byte) (events.Registration, string, error)
		body, want string
	}{
		"JSON without the root":            {DecodeJSON, `{"memberNumber":"1"}`, "FICustomer is required"},
		"JSON that is no JSON":             {DecodeJSON, `<FICustomer/>`, "not JSON"},
		"JSON with a member twice":         {DecodeJSON, sample.Edit(t, inJSON, `"ssn"`, `"ssn":"1","ssn"`), "FICustomer.person.ssn must be sent once"},
		"JSON with a number for a text":    {DecodeJSON, sample.Edit(t, inJSON, `"468531842"`, `468531842`), "FICustomer.memberNumber must be a string"},
		"JSON with what XML cannot hold":   {DecodeJSON, sample.Edit(t, inJSON, `"User"`, `"Us\u0001er"`), "FICustomer.person.personName.lastName must not hold control characters"},
		"JSON with a noncharacter":         {DecodeJSON, sample.Edit(t, inJSON, `"User"`, `"Us\uffffer"`), "lastName must not hold control characters"},
		"XML that is no XML":               {DecodeXML, `{"FICustomer":{}}`, "begin with an XML element"},
		"XML with another root":            {DecodeXML, `<customer/>`, "root element FICustomer"},
		"an empty body":                    {DecodeXML, ``, "empty"},
		"an element twice":                 {DecodeXML, sample.Edit(t, inXML, "<ssn>", "<ssn>987654321</ssn><ssn>"), "person.ssn must be sent once"},
		"an element of two namespaces":     {DecodeXML, sample.Edit(t, inXML, "<ssn>", `<ssn xmlns="urn:b">1</ssn><ssn>`), "person.ssn must be sent once"},
		"an element that is not closed":    {DecodeXML, sample.Edit(t, inXML, "</ssn>", "</sn>"), "not well-formed"},
		"a body that breaks off":           {DecodeXML, sample.Edit(t, inXML, "</FICustomer>", ""), "not well-formed"},
		"two roots":                        {DecodeXML, sample.Read(t, inXML) + "<FICustomer/>", "end after its root"},
		"text after the root":              {DecodeXML, sample.Read(t, inXML) + "x", "end after its root"},
		"elements where text belongs":      {DecodeXML, sample.Edit(t, inXML, "123456789", "<a/>"), "person.ssn must be text"},
		"text where elements belong":       {DecodeXML, sample.Edit(t, inXML, "<contactInfo>", "<contactInfo>x"), "person.contactInfo must hold elements"},
		"neither true nor false":           {DecodeXML, sample.Edit(t, inXML, ">true<", ">yes<"), "disclosures.disclosure[0].accepted must be true or false"},
		"an entity of its own":             {DecodeXML, sample.Edit(t, inXML, "123456789", "&ssn;"), "not well-formed"},
		"a control character":              {DecodeXML, sample.Edit(t, inXML, "123456789", "1\x01"), "not well-formed"},
		"a control character by reference": {DecodeXML, sample.Edit(t, inXML, "123456789", "&#1;"), "not well-formed"},
		"a processing instruction":         {DecodeXML, sample.Edit(t, inXML, "<person>", "<?php x?><person>"), "processing instructions"},
		"a second declaration":             {DecodeXML, sample.Edit(t, inXML, "<person>", `<?xml version="1.0"?><person>`), "processing instructions"},
		"a document type":                  {DecodeXML, sample.Edit(t, inXML, "<FICustomer>", "<!DOCTYPE FICustomer><FICustomer>"), "document type"},
		"an expanding entity":              {DecodeXML, sample.Edit(t, inXML, "<FICustomer>", `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><FICustomer>`, "Miles City", "&b;"), "document type"},
		"an external entity":               {DecodeXML, sample.Edit(t, inXML, "<FICustomer>", `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><FICustomer>`, "Miles City", "&a;"), "document type"},
		"a document type inside":           {DecodeXML, sample.Edit(t, inXML, "<person>", "<!DOCTYPE x><person>"), "document type"},
		"another encoding":                 {DecodeXML, sample.Edit(t, inXML, "UTF-8", "ISO-8859-1"), "must be UTF-8"},
		"bytes of another encoding":        {DecodeXML, sample.Edit(t, inXML, "Miles", "M\xe9les"), "must be valid UTF-8"},
		"UTF-16":                           {DecodeXML, "\xff\xfe<\x00F\x00I\x00", "must be valid UTF-8"},
		"version 1.1":                      {DecodeXML, sample.Edit(t, inXML, `version="1.0"`, `version="1.1"`), "not well-formed"},
		"100,000 levels":                   {DecodeXML, strings.Repeat("<a>", 100_000), "root element"},
		"too many levels":                  {DecodeXML, "<FICustomer>" + strings.Repeat("<a>", 100_000), "nested deeper than 32"},
		"too many phone numbers":           {DecodeXML, "<FICustomer><person><contactInfo>" + strings.Repeat("<phoneNumber/>", 1001), "person.contactInfo.phoneNumber is one too many"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := c.decode([]byte(c.body))
			var p *jsonbody.Problem
			if !errors.As(err, &p) || !strings.Contains(p.Error(), c.want) || p.TooLarge {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			for _, secret := range []string{"123456789", "Walnut", "Smith"} {
				if strings.Contains(p.Error(), secret) {
					t.Errorf("the problem quotes the request: %v", p)
				}
			}
		})
	}
}

func TestTooLargeABodyIsToldApart(t *testing.T) {
	for _, decode := range []func([]byte) (events.Registration, string, error){DecodeJSON, DecodeXML} {
		_, _, err := decode([]byte(strings.Repeat(" ", jsonbody.MaxBytes+1)))
		var p *jsonbody.Problem
		if !errors.As(err, &p) || !p.TooLarge {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzDecodeXML(f *testing.F) {
	f.Add(sample.Read(f, inXML))
	for _, s := range []string{"<FICustomer/>", "<FICustomer><person/><person/></FICustomer>", "<!DOCTYPE a>", "<a:FICustomer xmlns:a=''>&#x41;<![CDATA[x]]></a:FICustomer>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, _, err := DecodeXML([]byte(body))
		var p *jsonbody.Problem
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("error %T", err)
		}
		if err == nil {
			readable(t, r)
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add(sample.Read(f, inJSON))
	for _, s := range []string{`{"FICustomer":{}}`, `{"FICustomer":{"memberNumber":"\u000b"}}`, `{"FICustomer":null}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, _, err := DecodeJSON([]byte(body))
		var p *jsonbody.Problem
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("error %T", err)
		}
		if err == nil {
			readable(t, r)
		}
	})
}

// readable checks that the answer about a registration says what the request said.
func readable(t *testing.T, r events.Registration) {
	t.Helper()
	again, _, err := DecodeXML(Customer(View{CustomerID: "1", Registration: r}))
	if err != nil {
		t.Fatal(err)
	}
	if again.Applicant.GivenName != r.Applicant.GivenName || again.MemberNumber != r.MemberNumber || again.Username != r.Username {
		t.Errorf("%q, %q, %q came back as %q, %q, %q", r.Applicant.GivenName, r.MemberNumber, r.Username,
			again.Applicant.GivenName, again.MemberNumber, again.Username)
	}
}
