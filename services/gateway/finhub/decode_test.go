package finhub

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/sample"
)

func decode(t *testing.T, body string, s Settings) events.Registration {
	t.Helper()
	r, _, err := Decode([]byte(body), s)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return r
}

func TestEveryPrintedRequestIsReadWithoutFindings(t *testing.T) {
	flat := map[string]bool{"flat.request.json": true, "customer-without-person.request.json": true}
	files, err := filepath.Glob("testdata/*.request.json")
	if err != nil || len(files) != 6 {
		t.Fatalf("found %d requests, want 6 (%v)", len(files), err)
	}
	for _, path := range files {
		file := filepath.Base(path)
		t.Run(file, func(t *testing.T) {
			r, password, err := Decode([]byte(sample.Read(t, file)), Settings{FlatBody: flat[file]})
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if len(r.Findings) > 0 {
				t.Errorf("findings %v, want none", r.Findings)
			}
			if !strings.HasPrefix(password, "SecurePass") {
				t.Error("the password is not the document's")
			}
			a := r.Applicant
			if a.GivenName == "" || a.FamilyName == "" || a.CanonicalEmail == "" || a.BirthDate != "1990-05-15" || a.Nationality != "LT" {
				t.Error("the applicant is not complete")
			}
			if len(r.Roles) != 2 || r.Claim == nil || r.Claim.ID == "" {
				t.Errorf("roles %v, claim %v", r.Roles, r.Claim)
			}
		})
	}
}

func TestTheNestedExampleBecomesOneRegistration(t *testing.T) {
	got := decode(t, sample.Read(t, "nested.request.json"), Settings{})
	const tenant = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"
	want := events.Registration{
		Channel: "finhub",
		Applicant: events.Applicant{
			Type: "INDIVIDUAL", GivenName: "Marcus", FamilyName: "Jensen",
			Email: "marcus.jensen@example.com", CanonicalEmail: "marcus.jensen@example.com", Phone: "+37060012345",
			BirthDate: "1990-05-15", Gender: "MALE", Nationality: "LT", PlaceOfBirth: "Vilnius", PostalCode: "12345",
			Addresses: []events.Address{{ID: "6vsvy01jbzo", Type: "HOME", Lines: []string{"123 Medium Risk Street"},
				City: "Compliance City", PostalCode: "12345", Country: "LT", Primary: true}},
			Contacts: []events.Contact{{ID: "g4dh2ch831", Type: "EMAIL", Value: "marcus.jensen@example.com", Primary: true}},
		},
		Username: "marcus.jensen@example.com",
		Roles:    []string{"ACCOUNT_OWNER", "USER"},
		Claim:    &events.CategoryClaim{ID: "fs-cat-b2c-low-001", Name: "Individual Standard", Place: "customerCategory.id"},
		ExternalIDs: map[string]string{
			"individualCustomer.tenantId": tenant, "individualCustomer.user.tenantId": tenant,
			"individualCustomer.person.id": "the2r6zaa6", "individualCustomer.user.id": "uhqvq7sc80m",
		},
	}
	want.Attributes = got.Attributes
	if string(got.Attributes["customerName"]) != `"Marcus Jensen"` {
		t.Error("the customer's name is lost")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCategorizationWinsOverCustomerCategoryAndKeepsItsParameters(t *testing.T) {
	claim := decode(t, sample.Read(t, "with-categorization.request.json"), Settings{}).Claim
	if claim.ID != "medium-risk-verified-5f8a9b" || len(claim.Features) != 3 {
		t.Fatalf("claim %+v", claim)
	}
	want := events.FeatureClaim{ID: "transaction-limits-7e2f", Code: "TRANSACTION_LIMITS", Enabled: true, Parameters: []events.Parameter{
		{Name: "MONTHLY_LIMIT", Value: "20000"}, {Name: "DAILY_LIMIT", Value: "5000"}, {Name: "PER_TRANSACTION_LIMIT", Value: "2000"}}}
	if diff := cmp.Diff(want, claim.Features[1]); diff != "" {
		t.Error(diff)
	}
}

func TestParameterValuesOfScriptsAreReadAsText(t *testing.T) {
	body := edit(t, `"value": "20000"`, `"value": 20000`, `"value": "false"`, `"value": false`)
	features := decode(t, body, Settings{}).Claim.Features
	if features[1].Parameters[0].Value != "20000" || features[0].Parameters[2].Value != "false" {
		t.Errorf("features %+v", features)
	}
}

// edit replaces text of the request with categorization; every replacement must hit.
func edit(t testing.TB, oldNew ...string) string {
	t.Helper()
	body := sample.Read(t, "with-categorization.request.json")
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(body, oldNew[i]) {
			t.Fatalf("%q is not in the request", oldNew[i])
		}
		body = strings.Replace(body, oldNew[i], oldNew[i+1], 1)
	}
	return body
}

func TestWhatCannotBeReadAnswersAlone(t *testing.T) {
	for name, c := range map[string]struct{ body, message string }{
		"passwords that differ":                         {edit(t, `"matchingPassword": "SecurePassword123!"`, `"matchingPassword": "Other123!"`), "Password and matching password do not match"},
		"a body without individualCustomer":             {sample.Read(t, "flat.request.json"), "individualCustomer is required"},
		"individualCustomer null":                       {`{"individualCustomer":null}`, "individualCustomer is required"},
		"a name that is a number":                       {`{"firstName":1}`, "firstName must be a string"},
		"a street that is a list":                       {`{"individualCustomer":{"person":{"addresses":[{"street":["a"]}]}}}`, "individualCustomer.person.addresses[0].street must be a string"},
		"a parameter that is an object":                 {edit(t, `"value": "55"`, `"value": {}`), "individualCustomer.categorization.categoryFeatureRelations[0].parametrization[1].value must be a string"},
		"an e-mail sent twice in one object":            {`{"email":"a@example.com","email":"b@example.com"}`, "email must be sent once, it is there twice"},
		"a list instead of the document":                {`[]`, "the body must be an object"},
		"an empty body":                                 {` `, "the body is empty, send one JSON object"},
		"passwords that differ only in the second case": {`{"password":"a","matchingPassword":"A","individualCustomer":{}}`, "Password and matching password do not match"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Decode([]byte(c.body), Settings{})
			var p *jsonbody.Problem
			if !errors.As(err, &p) || p.Error() != c.message {
				t.Errorf("got %v, want %s", err, c.message)
			}
		})
	}
}

func TestFindingsAreLeftToTheValidator(t *testing.T) {
	required := func(field string) events.Violation { return events.Violation{Code: "REQUIRED", Field: field} }
	differ := func(top, nested string) events.Violation {
		return events.Violation{Code: "DISAGREES", Field: top + "|" + nested}
	}
	const person = `      "person": {
        "firstName": "Marcus"`
	for name, c := range map[string]struct {
		edits []string
		want  []events.Violation
	}{
		"a person without a first name": {[]string{person, `"person": {"fullName": "Marcus"`},
			[]events.Violation{required("individualCustomer.person.firstName")}},
		"a first name of spaces at the top": {[]string{`"firstName": "Marcus"`, `"firstName": "  "`},
			[]events.Violation{required("firstName")}},
		"no roles": {[]string{`"roleIds": ["ACCOUNT_OWNER", "USER"]`, `"roleIds": []`},
			[]events.Violation{required("roleIds")}},
		"no matching password": {[]string{`"matchingPassword"`, `"somethingElse"`},
			[]events.Violation{required("matchingPassword")}},
		"two e-mail addresses": {[]string{`"email": "marcus.jensen@example.com"`, `"email": "other@example.com"`},
			[]events.Violation{differ("email", "individualCustomer.person.email"), differ("email", "individualCustomer.user.email")}},
		"two birth dates": {[]string{`"dateOfBirth": "1990-05-15"`, `"dateOfBirth": "1990-05-16"`},
			[]events.Violation{differ("dateOfBirth", "individualCustomer.person.dateOfBirth")}},
		"another password in the user": {[]string{`"password": "SecurePassword123!"`, `"password": "Another123!"`, `"matchingPassword": "SecurePassword123!"`, `"matchingPassword": "Another123!"`},
			[]events.Violation{differ("password", "individualCustomer.user.password")}},
		"one country as name and as code":           {[]string{`"nationality": "LT"`, `"nationality": "Lithuania"`}, nil},
		"one address in other case":                 {[]string{`"email": "marcus.jensen@example.com"`, `"email": " Marcus.Jensen@EXAMPLE.com "`}, nil},
		"other roles, tenant and user name":         {[]string{`"username": "marcus.jensen@example.com"`, `"username": "m"`, `"roles": ["ACCOUNT_OWNER", "USER"]`, `"roles": ["ADMIN"]`}, nil},
		"no birth date at the top":                  {[]string{`    "dateOfBirth": "1990-05-15",`, ``}, nil},
		"a category named but without an id anyway": {[]string{`"id": "fs-cat-b2c-low-001",`, ``}, nil},
		"no category with an id at all": {[]string{`"id": "fs-cat-b2c-low-001",`, ``, `"id": "medium-risk-verified-5f8a9b",`, ``},
			[]events.Violation{required("individualCustomer.categorization.id")}},
	} {
		t.Run(name, func(t *testing.T) {
			r := decode(t, edit(t, c.edits...), Settings{})
			if diff := cmp.Diff(c.want, r.Findings); diff != "" {
				t.Error(diff)
			}
			if r.Applicant.GivenName != "Marcus" || r.Applicant.BirthDate == "" {
				t.Error("the applicant is not filled from both places")
			}
		})
	}
}

func TestEveryValueThatIsSentTwiceMustAgree(t *testing.T) {
	for _, field := range []string{"firstName", "lastName", "email", "dateOfBirth", "gender", "nationality", "placeOfBirth", "pincode"} {
		t.Run(field, func(t *testing.T) {
			body := `{"` + field + `":"a","individualCustomer":{"person":{"` + field + `":"b"}}}`
			want := events.Violation{Code: "DISAGREES", Field: field + "|individualCustomer.person." + field}
			if found := decode(t, body, Settings{}).Findings; !slices.Contains(found, want) {
				t.Errorf("findings %v", found)
			}
			if found := decode(t, strings.Replace(body, `"b"`, `" a "`, 1), Settings{}).Findings; slices.Contains(found, want) {
				t.Errorf("with space around: findings %v", found)
			}
		})
	}
}

func TestAFlatBodyIsReadOnlyWhereTheTenantAcceptsIt(t *testing.T) {
	body := sample.Read(t, "customer-without-person.request.json")
	strict := decode(t, body, Settings{})
	if diff := cmp.Diff([]events.Violation{{Code: "REQUIRED", Field: "individualCustomer.person"}}, strict.Findings); diff != "" {
		t.Error(diff)
	}
	for _, file := range []string{"customer-without-person.request.json", "flat.request.json"} {
		r := decode(t, sample.Read(t, file), Settings{FlatBody: true})
		if r.Applicant.GivenName != "John" || r.Applicant.Nationality != "LT" || r.Applicant.PostalCode != "12345" || len(r.Findings) > 0 {
			t.Errorf("%s: findings %v", file, r.Findings)
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.request.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add([]byte(sample.Read(f, filepath.Base(file))), true)
	}
	f.Add([]byte(`{"individualCustomer":{"categorization":{"id":"a","categoryFeatureRelations":[{"parametrization":[{"value":[]}]}]}}}`), false)
	f.Fuzz(func(t *testing.T, body []byte, flat bool) {
		r, _, err := Decode(body, Settings{FlatBody: flat})
		if err == nil {
			if r.Channel != Channel {
				t.Error("an accepted body is not a registration of the channel")
			}
			return
		}
		var p *jsonbody.Problem
		if !errors.As(err, &p) || p.Detail == "" {
			t.Errorf("error %T, want a problem with a detail", err)
		}
	})
}
