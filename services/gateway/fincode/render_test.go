package fincode

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/sample"
)

func TestAnswersAreAsBefore(t *testing.T) {
	const id = "5887c98c-b5b1-4234-b819-a4987f54aa77"
	for file, body := range map[string][]byte{
		"success.golden.json":     Success(id),
		"in-review.golden.json":   InReview(id),
		"in-progress.golden.json": InProgress(id),
		"not-found.golden.json":   Error("TENANT_NOT_FOUND", "there is no such tenant here"),
	} {
		t.Run(file, func(t *testing.T) { sample.GoldenJSON(t, file, body) })
	}
}

func TestErrorsOfDecodeHaveTheirBodies(t *testing.T) {
	for file, c := range map[string]struct {
		body   []byte
		status int
	}{
		"decryption-failed.golden.json":   {[]byte(sample.Read(t, "encrypted.request.json")), 400},
		"not-encrypted.golden.json":       {[]byte(sample.Read(t, "plain.request.json")), 400},
		"malformed-field.golden.json":     {edit(t, `"John"`, `7`), 400},
		"malformed-body.golden.json":      {[]byte("{"), 400},
		"malformed-too-large.golden.json": {[]byte(strings.Repeat(" ", 256<<10+1)), 413},
	} {
		t.Run(file, func(t *testing.T) {
			_, _, err := Decode(c.body, with(newKey(t)))
			status, body := Malformed(err)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			sample.GoldenJSON(t, file, body)
		})
	}
}

// The rules of the page, in its order and words.
func TestEveryPrintedRuleIsToldInItsWords(t *testing.T) {
	v := func(code, field string) events.Violation { return events.Violation{Code: code, Field: field} }
	for _, c := range []struct {
		violation events.Violation
		want      []string
	}{
		{v("FORMAT", "email"), []string{"Must be a valid email format"}},
		{v("DUPLICATE_EMAIL", ""), []string{"Must be unique across all customers in the tenant"}},
		{v("TOO_LONG", "email"), []string{"Maximum length: 255 characters"}},
		{v("TOO_SHORT", "password"), []string{"Minimum 8 characters"}},
		{v("PASSWORD_WEAK", "password"), []string{"At least one uppercase letter (A-Z)", "At least one lowercase letter (a-z)", "At least one number (0-9)", "At least one special character (!@#$%^&*)"}},
		{v("PASSWORD_COMMON", "password"), []string{"Cannot contain common words or patterns"}},
		{v("PASSWORD_RESEMBLES", "password"), []string{"Cannot contain common words or patterns, nor the customer's name or email"}},
		{v("FORMAT", "phone"), []string{"Must be in international format with country code"}},
		{v("PHONE_INVALID", "phone"), []string{"Must be a valid phone number for the country"}},
		{v("UNDER_AGE", "dob"), []string{"Customer must be at least 18 years old"}},
		{v("FORMAT", "dob"), []string{"Date of birth must be in ISO format (YYYY-MM-DD)"}},
		{v("IN_THE_FUTURE", "dob"), []string{"Cannot be a future date"}},
		{v("TOO_LONG_AGO", "dob"), []string{"Cannot be more than 120 years ago"}},
		{v("TOO_SHORT", "firstName"), []string{"First name: 2-50 characters"}},
		{v("TOO_LONG", "lastName"), []string{"Last name: 2-50 characters"}},
		{v("FORMAT", "lastName"), []string{"Only letters, spaces, hyphens, and apostrophes allowed"}},
		{v("NOT_ALLOWED", "customerType"), []string{"Available options: INDIVIDUAL, COMPANY"}},
		{v("REQUIRED", "devicePlatform"), []string{"Is required"}},
		{v("SOMETHING_NEW", "email"), []string{"Is not accepted"}},
	} {
		t.Run(c.violation.Code+" "+c.violation.Field, func(t *testing.T) {
			var got []string
			for _, e := range Errors(c.violation, events.Registration{}) {
				if e.Code != c.violation.Code || e.Field == "" {
					t.Errorf("error %+v", e)
				}
				got = append(got, e.Message)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	firm := events.Registration{Applicant: events.Applicant{Type: "COMPANY"}}
	if got := Errors(v("FORMAT", "firstName"), firm)[0].Message; got != "Only letters, numbers, spaces, hyphens, and apostrophes allowed" {
		t.Errorf("a company is told %q", got)
	}
	if got := Errors(v("DISAGREES", "dialingCode|phone"), events.Registration{})[0]; got != (FieldError{"phone", "DISAGREES", "Must agree with dialingCode"}) {
		t.Errorf("got %+v", got)
	}
}

func TestARejectionHasTheStatusAndTheErrorsOfItsCause(t *testing.T) {
	r := events.Registration{Password: events.PasswordFacts{Present: true, Lower: true, Digit: true}}
	v := func(code, field string) events.Violation { return events.Violation{Code: code, Field: field} }
	for name, c := range map[string]struct {
		violations []events.Violation
		status     int
		file       string
	}{
		"several fields":           {[]events.Violation{v("REQUIRED", "firstName"), v("PASSWORD_WEAK", "password"), v("UNDER_AGE", "dob")}, 400, "rejected-fields.golden.json"},
		"an e-mail that is taken":  {[]events.Violation{v("DUPLICATE_EMAIL", "")}, 409, "rejected-duplicate.golden.json"},
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

func TestHeadersAreDemandedAndSayWhoSends(t *testing.T) {
	for name, c := range map[string]struct {
		headers http.Header
		want    []FieldError
	}{
		"as printed":               {http.Header{"Platform": {"fincode"}, "Uuid": {"200"}}, nil},
		"a platform in other case": {http.Header{"Platform": {"FinCode "}, "Uuid": {"x"}}, nil},
		"none":                     {http.Header{}, []FieldError{{"platform", "REQUIRED", "Is required"}, {"uuid", "REQUIRED", "Is required"}}},
		"another platform":         {http.Header{"Platform": {"web"}}, []FieldError{{"platform", "NOT_ALLOWED", "Use fincode"}, {"uuid", "REQUIRED", "Is required"}}},
		"one twice":                {http.Header{"Platform": {"fincode"}, "Uuid": {"1", "2"}}, []FieldError{{"uuid", "REPEATED", "Must be sent once"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := Headers(c.headers, "fincode")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	got, _ := Headers(http.Header{"Platform": {"fincode"}, "Uuid": {"200"}, "User-Agent": {"axios"}, "X-Forwarded-For": {"192.0.2.1", "198.51.100.2"}}, "fincode")
	if want := (events.Client{RequestID: "200", UserAgent: "axios", ForwardedFor: "192.0.2.1, 198.51.100.2"}); got != want {
		t.Error("the client is not as its headers say")
	}
}
