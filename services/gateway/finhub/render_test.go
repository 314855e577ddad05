package finhub

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/sample"
)

func view(t *testing.T) View {
	created := time.Date(2026, 1, 12, 19, 21, 59, 19243000, time.UTC)
	return View{
		CustomerID: "5887c98c-b5b1-4234-b819-a4987f54aa77", UserID: "23cfc195-be4a-4e7c-88f2-ef789ae83d39", PersonID: "0c8f1e0a-3f0e-4d6d-9d54-6a1b8f3c2d10",
		TenantID:     "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f",
		Registration: decode(t, sample.Read(t, "nested.request.json"), Settings{}),
		Category:     events.Category{ID: "B2CCustomerIndividual", Name: "B2C Individual", Description: "Customer categorization for B2C"},
		CreatedAt:    created, UpdatedAt: created,
	}
}

func TestSuccessIsThePrintedBodyWithUserAndPersonID(t *testing.T) {
	var want, got map[string]any
	if err := json.Unmarshal([]byte(sample.Read(t, "printed-success.json")), &want); err != nil {
		t.Fatal(err)
	}
	v := view(t)
	if err := json.Unmarshal(Success(v), &got); err != nil {
		t.Fatal(err)
	}
	data := want["data"].(map[string]any)
	data["userId"], data["personId"] = v.UserID, v.PersonID
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersAreAsBefore(t *testing.T) {
	v := view(t)
	assigned := v
	assigned.Features = []events.Feature{{ID: "f-1", Code: "RISK_ASSESSMENT", Enabled: true, Parameters: []events.Parameter{{Name: "RISK_LEVEL", Value: "LOW"}}}, {ID: "f-2", Code: "BARE"}}
	assigned.Registration.ExternalIDs = nil
	for file, body := range map[string][]byte{
		"success.golden.json":                  Success(v),
		"success-with-features.golden.json":    Success(assigned),
		"smart-success.golden.json":            SmartSuccess(v),
		"accepted-in-review.golden.json":       Accepted(v, InReview),
		"accepted-in-progress.golden.json":     Accepted(v, InProgress),
		"smart-accepted-in-review.golden.json": SmartAccepted(v, InReview),
		"unauthorized.golden.json":             Error(401, "Authorization is not valid", nil),
		"several-errors.golden.json":           Error(400, "a", []string{"a", "b"}),
	} {
		t.Run(file, func(t *testing.T) { sample.GoldenJSON(t, file, body) })
	}
}

func TestMessagesNameTheFieldAndTheMend(t *testing.T) {
	r := events.Registration{Applicant: events.Applicant{Email: "Marcus@example.com"}}
	for _, c := range []struct {
		code, field, want string
	}{
		{"REQUIRED", "individualCustomer.person.firstName", "firstName is required in person object"},
		{"REQUIRED", "individualCustomer.person", "person is required in individualCustomer object"},
		{"REQUIRED", "phone", "phone is required"},
		{"DUPLICATE_EMAIL", "email", "Customer with email 'Marcus@example.com' already exists"},
		{"DISAGREES", "email|individualCustomer.person.email", "email and individualCustomer.person.email differ, send the same value in both"},
		{"FORMAT", "phone", "phone must be in E.164 format, such as +37060012345"},
		{"FORMAT", "individualCustomer.person.addresses[1].country", "individualCustomer.person.addresses[1].country must be a country: ISO 3166-1 alpha-2 (LT), alpha-3 (LTU) or English name (Lithuania)"},
		{"TOO_SHORT", "password", "password must have at least 8 characters"},
		{"NOT_ALLOWED", "categoryFeatureRelations[0].RISK_LEVEL", "categoryFeatureRelations[0].RISK_LEVEL is not among the allowed values, see the categorization hierarchy"},
		{"UNKNOWN_CATEGORY", "customerCategory.id", "customerCategory.id is not a category of this tenant, see the categorization hierarchy"},
		{"REGISTRATION_REFUSED", "", "Registration could not be completed"},
		{"IDEMPOTENCY_KEY_REUSED", "", "Idempotency-Key was used for other content, send a new key"},
		{"SOMETHING_NEW", "email", "email is not accepted"},
	} {
		t.Run(c.code+" "+c.field, func(t *testing.T) {
			if got := Message(events.Violation{Code: c.code, Field: c.field}, r); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestARejectionHasAllMessagesUnderTheStatusOfTheFirst(t *testing.T) {
	r := events.Registration{Applicant: events.Applicant{Email: "marcus@example.com"}}
	v := func(code, field string) events.Violation { return events.Violation{Code: code, Field: field} }
	for name, c := range map[string]struct {
		violations []events.Violation
		status     int
		file       string
	}{
		"fields that are missing":  {[]events.Violation{v("REQUIRED", "individualCustomer.person.firstName"), v("FORMAT", "email"), v("FORMAT", "email")}, 400, "rejected-fields.golden.json"},
		"an e-mail that is taken":  {[]events.Violation{v("DUPLICATE_EMAIL", "email")}, 409, "rejected-duplicate.golden.json"},
		"a refusal by risk":        {[]events.Violation{v("REGISTRATION_REFUSED", "")}, 422, "rejected-refused.golden.json"},
		"no violation told":        {nil, 422, "rejected-refused.golden.json"},
		"a key with other content": {[]events.Violation{v("IDEMPOTENCY_KEY_REUSED", "")}, 422, "rejected-key.golden.json"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := Rejected(c.violations, r)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			sample.GoldenJSON(t, c.file, body)
		})
	}
}

func TestErrorsOfDecodeComeBackAsPrinted(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		status int
		file   string
	}{
		"no individualCustomer": {sample.Read(t, "flat.request.json"), 400, "malformed-individual-customer.golden.json"},
		"a password mismatch":   {edit(t, `"matchingPassword": "Secure`, `"matchingPassword": "Insecure`), 400, "malformed-password.golden.json"},
		"too large a body":      {strings.Repeat(" ", 256<<10+1), 413, "malformed-too-large.golden.json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Decode([]byte(c.body), Settings{})
			status, body := Malformed(err)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			sample.GoldenJSON(t, c.file, body)
		})
	}
}
