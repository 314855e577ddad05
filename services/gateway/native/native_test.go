package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/sample"
)

func complete() events.Registration {
	return events.Registration{
		Channel: "native",
		Applicant: events.Applicant{
			Type: "INDIVIDUAL", GivenName: "Marcus", FamilyName: "Jensen", Email: "Marcus@Example.com", CanonicalEmail: "marcus@example.com",
			Phone: "+37060012345", BirthDate: "1990-05-15", Gender: "MALE", Nationality: "LT", PlaceOfBirth: "Vilnius",
			Addresses: []events.Address{{Type: "HOME", Lines: []string{"123 Main Street"}, City: "Vilnius", Region: "Vilnius County",
				PostalCode: "12345", Country: "LT", Primary: true}},
			NationalID: &events.NationalID{Type: "US_SSN", Value: "078051120"}, MothersMaidenName: "Smith",
		},
		Username: "marcus", MemberNumber: "468531842", Roles: []string{"ACCOUNT_OWNER", "USER"},
		Claim:      &events.CategoryClaim{ID: "fs-cat-b2c-low-001"},
		Consents:   []events.Consent{{ID: "terms", Version: "3"}},
		Attributes: map[string]json.RawMessage{"campaign": json.RawMessage(`{"id":7}`)},
	}
}

func TestACompleteRequestBecomesARegistration(t *testing.T) {
	got, password, err := Decode([]byte(sample.Read(t, "complete.request.json")), Settings{})
	if err != nil || password != "a long enough secret" {
		t.Fatalf("decode: %v", err)
	}
	if diff := cmp.Diff(complete(), got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsMissingIsLeftToTheValidator(t *testing.T) {
	got, password, err := Decode([]byte(`{}`), Settings{})
	if err != nil || password != "" {
		t.Fatalf("decode: %v", err)
	}
	if diff := cmp.Diff(events.Registration{Channel: "native", Applicant: events.Applicant{Type: "INDIVIDUAL"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestALineOfABatchMayHaveItsOwnKey(t *testing.T) {
	line := bytes.Replace([]byte(sample.Read(t, "complete.request.json")), []byte(`{"applicant"`), []byte(`{"idempotencyKey":"k-1","applicant"`), 1)
	got, _, key, err := DecodeLine(line, Settings{})
	if err != nil || key != "k-1" {
		t.Fatalf("key %q, decode: %v", key, err)
	}
	if diff := cmp.Diff(complete(), got); diff != "" {
		t.Error(diff)
	}
	if _, _, key, err := DecodeLine([]byte(sample.Read(t, "complete.request.json")), Settings{}); err != nil || key != "" {
		t.Errorf("without a key: %q, %v", key, err)
	}
	if _, _, err := Decode(line, Settings{}); err == nil {
		t.Error("a single registration has its key in a header")
	}
}

func TestMalformedRequestsAreProblems(t *testing.T) {
	for name, c := range map[string]struct {
		body, file string
	}{
		"a field that is not documented": {`{"applicant":{"surname":"Jensen"}}`, "malformed-unknown.golden.json"},
		"a birth date that is a number":  {`{"applicant":{"birthDate":19900515}}`, "malformed-type.golden.json"},
		"an unfinished document":         {`{"applicant":{"email":"a@example.com"`, "malformed-unfinished.golden.json"},
		"too large a document":           {strings.Repeat(" ", jsonbody.MaxBytes+1), "malformed-too-large.golden.json"},
		"no document":                    {``, "malformed-empty.golden.json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Decode([]byte(c.body), Settings{})
			if err == nil {
				t.Fatal("decoded")
			}
			sample.GoldenJSON(t, c.file, Malformed(err).JSON())
		})
	}
}

func TestAnswersAreAsBefore(t *testing.T) {
	v := func(code, field string) events.Violation { return events.Violation{Code: code, Field: field} }
	at := time.Date(2026, 1, 12, 19, 21, 59, 19243000, time.UTC)
	for file, body := range map[string][]byte{
		"rejected-fields.golden.json": Rejected([]events.Violation{v("REQUIRED", "applicant.familyName"), v("FORMAT", "applicant.addresses[0].country"),
			v("PASSWORD_COMMON", "credentials.password"), v("SOMETHING_NEW", "roles")}).JSON(),
		"rejected-duplicate.golden.json": Rejected([]events.Violation{v("DUPLICATE_EMAIL", "")}).JSON(),
		"rejected-refused.golden.json":   Rejected([]events.Violation{v("REGISTRATION_REFUSED", "")}).JSON(),
		"rejected-key.golden.json":       Rejected([]events.Violation{v("IDEMPOTENCY_KEY_REUSED", "")}).JSON(),
		"unavailable.golden.json":        NewProblem(503, "unavailable", "The registration could not be stored, try again.").JSON(),
		"receipt.golden.json":            Receipt{ID: "r1", Status: "RECEIVED", StatusURL: "/v1/registrations/r1", AcceptedAt: at}.JSON(),
	} {
		t.Run(file, func(t *testing.T) { sample.GoldenJSON(t, file, body) })
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(sample.Read(f, "complete.request.json")))
	f.Add([]byte(`{"idempotencyKey":"k","attributes":{"a":1e9}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, _, err := Decode(body, Settings{})
		if _, _, key, lineErr := DecodeLine(body, Settings{}); err == nil && (lineErr != nil || key != "") {
			t.Errorf("a request is no line: %v", lineErr)
		}
		if err == nil {
			if r.Channel != Channel {
				t.Error("an accepted body is not a registration of the channel")
			}
			return
		}
		var p *jsonbody.Problem
		if !errors.As(err, &p) || Malformed(err).Status < 400 {
			t.Errorf("error %T, want a problem", err)
		}
	})
}
