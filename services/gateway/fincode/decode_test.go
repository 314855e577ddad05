package fincode

import (
	"crypto"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/sample"
)

// edit replaces texts of the printed plain request.
func edit(t testing.TB, oldNew ...string) []byte {
	t.Helper()
	return []byte(sample.Edit(t, "plain.request.json", oldNew...))
}

func decode(t testing.TB, body []byte) events.Registration {
	t.Helper()
	r, _, err := Decode(body, Settings{AllowPlain: true})
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return r
}

func TestThePrintedRequestsBecomeRegistrationsWithoutFindings(t *testing.T) {
	k := newKey(t)
	sealed := encrypt(t, k, crypto.SHA256, "SecurePass123!")
	settings := with(k)
	settings.AllowPlain = true
	client := func(device string) events.Client { return events.Client{Platform: device} }
	kept := func(app string) map[string]json.RawMessage {
		return map[string]json.RawMessage{"appId": json.RawMessage(`"` + app + `"`), "appVersion": json.RawMessage(`"1"`)}
	}
	for file, want := range map[string]events.Registration{
		"plain.request.json": {Applicant: events.Applicant{Type: "INDIVIDUAL", GivenName: "John", FamilyName: "Doe", Email: "john.doe+test@example.com",
			CanonicalEmail: "john.doe+test@example.com", Phone: "+4497329374813", BirthDate: "1990-05-15", Addresses: []events.Address{
				{Lines: []string{"123 High Street"}, PostalCode: "SW1A 1AA", Country: "GB", Primary: true}}},
			Attributes: kept("com.app.remit_junction"), Client: client("Android")},
		"encrypted.request.json": {Applicant: events.Applicant{Type: "INDIVIDUAL", GivenName: "Excel", FamilyName: "Nwachukwu", Email: "excel.nwachukwu+2@fincode.co.uk",
			CanonicalEmail: "excel.nwachukwu+2@fincode.co.uk", Phone: "+4498457363733", BirthDate: "1989-12-16", Addresses: []events.Address{
				{Lines: []string{"San Janet Street"}, PostalCode: "SWA 1AA", Country: "GB", Primary: true}}},
			Attributes: kept("com.fincode.remitjunction"), Client: client("IOS")},
		"program.request.json": {Applicant: events.Applicant{Type: "INDIVIDUAL", GivenName: "Excel", FamilyName: "Nwachukwu", Email: "excel.nwachukwu+3@fincode.co.uk",
			CanonicalEmail: "excel.nwachukwu+3@fincode.co.uk", Phone: "+2348035550147", BirthDate: "1989-12-16", Addresses: []events.Address{
				{Lines: []string{"12 Marina Road"}, City: "Lagos", PostalCode: "101241", Country: "NG", Primary: true}}},
			Attributes: kept("com.fincode.remitjunction"), Client: client("WEB")},
	} {
		t.Run(file, func(t *testing.T) {
			got, password, err := Decode([]byte(strings.ReplaceAll(sample.Read(t, file), printedCiphertext, sealed)), settings)
			if err != nil || password != "SecurePass123!" {
				t.Fatalf("decode: %v", err)
			}
			want.Channel = "fincode"
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindingsAreLeftToTheValidator(t *testing.T) {
	found := func(code string, fields ...string) (all []events.Violation) {
		for _, f := range fields {
			all = append(all, events.Violation{Code: code, Field: f})
		}
		return all
	}
	const anAddress = `{
      "address1": "123 High Street",
      "address2": "",
      "countryCommonName": "United Kingdom",
      "postcode": "SW1A 1AA",
      "countryIso3": "GBR"
    }`
	for name, c := range map[string]struct {
		edits []string
		want  []events.Violation
	}{
		"no first name":                             {[]string{`"firstName"`, `"givenName"`}, found("REQUIRED", "firstName")},
		"a device platform of spaces":               {[]string{`"Android"`, `"  "`}, found("REQUIRED", "devicePlatform")},
		"no password":                               {[]string{`"password"`, `"passwort"`}, found("REQUIRED", "password")},
		"no confirmation":                           {[]string{`"confirmPassword"`, `"confirm"`}, found("REQUIRED", "confirmPassword")},
		"no dynamic fields":                         {[]string{`"dynamicFields": {}`, `"dynamicFields": null`}, found("REQUIRED", "dynamicFields")},
		"no address":                                {[]string{anAddress, `null`}, found("REQUIRED", "address")},
		"an address with nothing in it":             {[]string{anAddress, `{}`}, found("REQUIRED", "address.address1", "address.countryIso3")},
		"an address of a city alone":                {[]string{anAddress, `{"city":"Lagos"}`}, found("REQUIRED", "address.street", "address.country")},
		"an address without a postcode":             {[]string{anAddress, `{"street":"1 Main Street","country":"AE"}`}, nil},
		"an address by its country's name":          {[]string{anAddress, `{"address1":"1 Main Street","countryCommonName":"Ghana"}`}, nil},
		"an address of both shapes that agree":      {[]string{anAddress, `{"address1":"1 Main Street","street":"1 Main Street","country":"GB","countryIso3":"GBR"}`}, nil},
		"a country's name that nobody knows":        {[]string{`United Kingdom`, `Great Britain and more`}, nil},
		"two countries":                             {[]string{`United Kingdom`, `France`}, found("DISAGREES", "address.countryCommonName|address.countryIso3")},
		"two countries in two shapes":               {[]string{`"postcode"`, `"country": "FR", "postcode"`}, found("DISAGREES", "address.countryIso3|address.country")},
		"a phone with the code of the dialing code": {[]string{`"973 293 74813"`, `"+44 973 293 74813"`}, nil},
		"a phone with another code":                 {[]string{`"973 293 74813"`, `"+33 612345678"`}, found("DISAGREES", "dialingCode|phone")},
		"a dialing code without its plus":           {[]string{`"+44"`, `"44"`}, found("FORMAT", "dialingCode")},
		"a dialing code in letters":                 {[]string{`"+44"`, `"GB"`}, found("FORMAT", "dialingCode")},
		"no dialing code":                           {[]string{`"+44"`, `""`}, found("REQUIRED", "dialingCode")},
		"a company":                                 {[]string{`INDIVIDUAL`, `COMPANY`}, nil},
		"a company whose name is a number":          {[]string{`INDIVIDUAL`, `COMPANY`, `"dynamicFields": {}`, `"dynamicFields": {"companyName": 3}`}, found("FORMAT", "dynamicFields.companyName")},
		"a person with such a field":                {[]string{`"dynamicFields": {}`, `"dynamicFields": {"companyName": 3}`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := decode(t, edit(t, c.edits...))
			if diff := cmp.Diff(c.want, r.Findings); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPhonesAreJoinedAndStripped(t *testing.T) {
	for phone, want := range map[string]string{
		"973 293 74813": "+4497329374813", "(0973) 293-748.13": "+44097329374813", "+44 7123/456789": "+447123456789",
		"+44\u00a07123\u2011456789": "+447123456789", "7123x456789": "+447123x456789",
	} {
		if got := decode(t, edit(t, "973 293 74813", phone)).Applicant.Phone; got != want {
			t.Errorf("%q: got %q, want %q", phone, got, want)
		}
	}
	if got := decode(t, edit(t, `"+44"`, `"+1-684"`)).Applicant.Phone; got != "+168497329374813" {
		t.Errorf("a dialing code with an area: %q", got)
	}
}

func TestABirthDateIsTheDatePartAsWritten(t *testing.T) {
	for sent, want := range map[string]string{
		"1990-05-15": "1990-05-15", "1990-05-15T00:00:00+01:00": "1990-05-15", "1990-05-15T23:59:59.999Z": "1990-05-15", "1990-05-15T00:00:00+0100": "1990-05-15",
		"1990-05-15T00:00:00": "1990-05-15", "1990-05-15T00:00": "1990-05-15", " 1990-05-15T00:00Z ": "1990-05-15",
		"15.05.1990": "15.05.1990", "1990-05-15 00:00:00": "1990-05-15 00:00:00", "1990-05-15T25:00:00Z": "1990-05-15T25:00:00Z", "1990-02-30T00:00:00Z": "1990-02-30T00:00:00Z",
		"1990-05-15Tomorrow": "1990-05-15Tomorrow",
	} {
		if got := decode(t, edit(t, "1990-05-15T00:00:00+01:00", sent)).Applicant.BirthDate; got != want {
			t.Errorf("%q: got %q, want %q", sent, got, want)
		}
	}
}

func TestDynamicFieldsAreKeptAndACompanyIsNamedByThem(t *testing.T) {
	fields := `{"companyName": " Müller & Söhne 24 GmbH ", "nested": {"a": [1, null, "<b>"]}}`
	r := decode(t, edit(t, "INDIVIDUAL", "COMPANY", `"dynamicFields": {}`, `"dynamicFields": `+fields))
	if r.Applicant.Type != "COMPANY" || r.Applicant.CompanyName != "Müller & Söhne 24 GmbH" || len(r.Findings) > 0 {
		t.Errorf("a company was read as %q %q, findings %v", r.Applicant.Type, r.Applicant.CompanyName, r.Findings)
	}
	var want, got any
	if err := errors.Join(json.Unmarshal([]byte(fields), &want), json.Unmarshal(r.Attributes["dynamicFields"], &got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p := decode(t, edit(t, `"dynamicFields": {}`, `"dynamicFields": `+fields)); p.Applicant.CompanyName != "" {
		t.Error("a person was given a company's name")
	}
}

func TestWhatCannotBeReadAnswersAlone(t *testing.T) {
	for name, c := range map[string]struct {
		body    []byte
		field   string
		message string
	}{
		"an empty body":                {[]byte(" "), "", "the body is empty, send one JSON object"},
		"a list":                       {[]byte("[]"), "", "the body must be an object"},
		"a name that is a number":      {edit(t, `"John"`, `7`), "firstName", "firstName must be a string"},
		"a version that is a number":   {edit(t, `"1"`, `1`), "appVersion", "appVersion must be a string"},
		"a flag that is a string":      {edit(t, `false`, `"false"`), "payloadEncrypted", "payloadEncrypted must be true or false"},
		"an address that is a string":  {[]byte(`{"address":"x"}`), "address", "address must be an object"},
		"dynamic fields as a list":     {edit(t, `"dynamicFields": {}`, `"dynamicFields": []`), "dynamicFields", "dynamicFields must be an object"},
		"an e-mail that is sent twice": {edit(t, `"lastName"`, `"email": "a@example.com", "lastName"`), "email", "email must be sent once, it is there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Decode(c.body, Settings{AllowPlain: true})
			var p *jsonbody.Problem
			if !errors.As(err, &p) || p.Error() != c.message || p.Field != c.field {
				t.Errorf("got %v, want %s", err, c.message)
			}
		})
	}
	_, _, err := Decode(edit(t, `"payloadEncrypted"`, `"encrypted"`), Settings{AllowPlain: true})
	if got := refusal(t, err); !strings.Contains(got, `"field":"payloadEncrypted","code":"REQUIRED"`) {
		t.Errorf("without payloadEncrypted: %s", got)
	}
}
