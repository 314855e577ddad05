package candescent

import (
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/jsonbody"
	"github.com/usherhq/usher/services/gateway/sample"
)

// golden compares an XML body, a line for each opening tag, with a file.
func golden(t *testing.T, file string, body []byte) {
	t.Helper()
	sample.Golden(t, file, strings.NewReplacer("></", "></", "><", ">\n<").Replace(string(body))+"\n")
}

// told is what a client reads of an error answer.
type told struct {
	XMLName xml.Name `xml:"Errors"`
	Errors  []struct {
		Code    string `xml:"errorCode"`
		Message string `xml:"errorMessage"`
		Field   string `xml:"field"`
	} `xml:"Error"`
}

func parse(t *testing.T, body []byte) told {
	t.Helper()
	var e told
	if err := xml.Unmarshal(body, &e); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return e
}

func (e told) codes() (codes []string) {
	for _, one := range e.Errors {
		codes = append(codes, one.Code)
	}
	return codes
}

func v(code, field string) events.Violation { return events.Violation{Code: code, Field: field} }

const (
	name     = "person.personName"
	home     = "person.contactInfo.postalAddress[0]."
	phones   = "person.contactInfo.phoneNumber"
	channels = "channelInfos.channelInfo"
	login    = channels + "[0].credential.loginId"
)

// printed are the texts of the vendor's page, each with what it is printed for.
var printed = []struct {
	number, text string
	status       int
	for_         []events.Violation
}{
	{"26214", "Too many destinations passed", 400, []events.Violation{v("TOO_MANY", phones), v("TOO_MANY", "person.contactInfo.postalAddress")}},
	{"20006", "Member number is not alphanumeric, length is 0 or >16, channel info not passed (valid value: TPV_API), SSN not found, first + last name >39 chars", 400,
		[]events.Violation{v("FORMAT", "memberNumber"), v("REQUIRED", channels), v("TOO_MANY", channels), v("NOT_ALLOWED", channels+"[0].channelType"), v("TOO_LONG", name)}},
	{"220001", "SSN is not 9 digits", 400, []events.Violation{v("FORMAT", "person.ssn")}},
	{"220002", "First name is more than 39 characters", 400, []events.Violation{v("TOO_LONG", name+".firstName")}},
	{"220003", "Last name is more than 39 characters", 400, []events.Violation{v("TOO_LONG", name+".lastName")}},
	{"220005", "Middle name is more than 39 characters", 400, []events.Violation{v("TOO_LONG", name+".middleName")}},
	{"220006", "Primary email is more than 64 characters", 400, []events.Violation{v("TOO_LONG", "person.contactInfo.emailAddress")}},
	{"220007", "Postal code not found in input", 400, []events.Violation{v("REQUIRED", home+"postalCode")}},
	{"220008", "City not found in input", 400, []events.Violation{v("REQUIRED", home+"city")}},
	{"220009", "State not found, beyond 128 chars, or not 2 chars for US", 400, []events.Violation{v("REQUIRED", home+"state"), v("TOO_LONG", home+"state"), v("FORMAT", home+"state")}},
	{"220010", "Street/Address1 not found or more than 128 characters", 400, []events.Violation{v("REQUIRED", home+"address1"), v("TOO_LONG", home+"address1")}},
	{"220011", "Country not found in input", 400, []events.Violation{v("REQUIRED", home+"country")}},
	{"220012", "Mother's Maiden Name not found or more than 128 characters", 400, []events.Violation{v("REQUIRED", "person.mothersMaidenName"), v("TOO_LONG", "person.mothersMaidenName")}},
	{"220013", "Proper DOB not found in input", 400, []events.Violation{v("REQUIRED", "person.birthDate"), v("FORMAT", "person.birthDate"), v("IN_THE_FUTURE", "person.birthDate")}},
	{"220014", "Phone number is missing", 400, []events.Violation{v("REQUIRED", phones+"[0].number")}},
	{"220015", "UserID must be 6-256 characters, allowed special characters: @$*_-=.!~, no spaces", 400, []events.Violation{v("FORMAT", login)}},
	{"220016", "Login ID and Member number cannot be the same", 400, []events.Violation{v("NOT_ALLOWED", login)}},
	{"26201", "LoginID is already taken", 400, []events.Violation{v("DUPLICATE_USERNAME", "")}},
	{"220019", "Login should be within preconfigured range", 400, []events.Violation{v("TOO_SHORT", login), v("TOO_LONG", login)}},
	{"220018", "Invalid user password", 400, []events.Violation{v("REQUIRED", channels+"[0].credential.password"), v("PASSWORD_WEAK", channels+"[0].credential.password"), v("TOO_LONG", channels+"[0].credential.password")}},
	{"26330", "User's online registration is already in progress (duplicate registration request)", 409, []events.Violation{v("REGISTRATION_IN_PROGRESS", "person.ssn")}},
	{"26331", "User is already a registered user", 409, []events.Violation{v("DUPLICATE_NATIONAL_ID", ""), v("DUPLICATE_MEMBER_NUMBER", ""), v("DUPLICATE_EMAIL", "")}},
}

func TestEveryCodeOfTheTableIsPrintedAsTheVendorPrintsIt(t *testing.T) {
	for _, p := range printed {
		for _, violation := range p.for_ {
			status, body := Rejected([]events.Violation{violation})
			e := parse(t, body)
			if status != p.status || len(e.Errors) != 1 || e.Errors[0].Code != p.number || e.Errors[0].Message != p.text || e.Errors[0].Field != violation.Field {
				t.Errorf("%v: %d %s", violation, status, body)
			}
		}
	}
	e := parse(t, StoreRefused())
	if len(e.Errors) != 1 || e.Errors[0].Code != "26340" || e.Errors[0].Message != "Could not create record in database" {
		t.Errorf("a record that the store refuses: %v", e)
	}
	if len(codes) != len(printed)+1+5 {
		t.Errorf("%d codes, want the %d printed, 26340 and five of ours", len(codes), len(printed))
	}
}

func TestAllCodesComeAtOnceInTheOrderOfTheTable(t *testing.T) {
	var all []events.Violation
	var want []string
	for _, p := range printed {
		if p.status == http.StatusBadRequest {
			all, want = append(all, p.for_...), append(want, p.number)
		}
	}
	slices.Reverse(all)
	status, body := Rejected(all)
	if diff := cmp.Diff(want, parse(t, body).codes()); status != http.StatusBadRequest || diff != "" {
		t.Errorf("%d %s", status, diff)
	}
	golden(t, "rejected-all.golden.xml", body)
}

func TestWhatThePrintedTextDoesNotSayIsSaid(t *testing.T) {
	for _, c := range []struct {
		violations   []events.Violation
		code, say    string
		field        string
		errorsInSum  int
		indexOfError int
	}{
		{[]events.Violation{v("REQUIRED", name+".firstName")}, "220002", "First name not found in input", name + ".firstName", 1, 0},
		{[]events.Violation{v("FORMAT", name+".lastName")}, "220003", "Last name may hold letters", name + ".lastName", 1, 0},
		{[]events.Violation{v("REQUIRED", "person.contactInfo.emailAddress")}, "220006", "Primary email not found in input", "person.contactInfo.emailAddress", 1, 0},
		{[]events.Violation{v("FORMAT", home+"country")}, "220011", "Country is no ISO 3166-1 code", home + "country", 1, 0},
		{[]events.Violation{v("FORMAT", phones+"[1].number")}, "220014", "Phone number is not 10 digits", phones + "[1].number", 1, 0},
		{[]events.Violation{v("FORMAT", phones+"[0].number"), v("REQUIRED", phones+"[1].number")}, "220014", "Phone number is missing", phones + "[0].number, " + phones + "[1].number", 1, 0},
		{[]events.Violation{v("REQUIRED", "person.ssn")}, "20006", "Member number is not", "person.ssn", 2, 0},
		{[]events.Violation{v("REQUIRED", "person.ssn")}, "220001", "SSN is not 9 digits", "person.ssn", 2, 1},
		{[]events.Violation{v("DISCLOSURE_NOT_ACCEPTED", "disclosures.disclosure[terms:2]")}, "DISCLOSURE_NOT_ACCEPTED", "required disclosure", "disclosures.disclosure[terms:2]", 1, 0},
		{[]events.Violation{v("REGISTRATION_REFUSED", "")}, "REGISTRATION_REFUSED", "could not be completed", "", 1, 0},
		{nil, "REGISTRATION_REFUSED", "could not be completed", "", 1, 0},
		{[]events.Violation{v("SOMETHING_NEW", "person.shoeSize")}, "NOT_ACCEPTED", "not accepted", "person.shoeSize", 1, 0},
	} {
		status, body := Rejected(c.violations)
		e := parse(t, body)
		if status != http.StatusBadRequest || len(e.Errors) != c.errorsInSum {
			t.Errorf("%v: %d %s", c.violations, status, body)
			continue
		}
		if got := e.Errors[c.indexOfError]; got.Code != c.code || !strings.HasPrefix(got.Message, c.say) && !strings.Contains(got.Message, c.say) || got.Field != c.field {
			t.Errorf("%v: %+v", c.violations, got)
		}
	}
	if status, _ := Rejected([]events.Violation{v("IDEMPOTENCY_KEY_REUSED", "")}); status != http.StatusUnprocessableEntity {
		t.Errorf("a reused key: %d", status)
	}
}

func view(t *testing.T) View {
	return View{CustomerID: "5887c98c-b5b1-4234-b819-a4987f54aa77", InstitutionID: "01111", Registration: fromJSON(t, sample.Read(t, inJSON)).Registration}
}

func TestAnswersAreAsBefore(t *testing.T) {
	pending, marked := view(t), view(t)
	pending.CustomerID = ""
	marked.Registration.Applicant.FamilyName = `O<U>s&er'"`
	malformed := func(err error) []byte { _, body := Malformed(err); return body }
	_, wrong := Headers(http.Header{"Di_tid": {"x"}})
	for file, body := range map[string][]byte{
		"success.golden.xml":             Customer(view(t)),
		"success-masked.golden.xml":      Customer(marked),
		"accepted.golden.xml":            Customer(pending),
		"unauthorized.golden.xml":        Error("unauthorized", "the bearer token is not valid"),
		"unavailable.golden.xml":         Error("unavailable", Unavailable),
		"bad-headers.golden.xml":         BadHeaders(wrong),
		"malformed.golden.xml":           malformed(&jsonbody.Problem{Field: "FICustomer.person.ssn", Detail: "must be a string"}),
		"malformed-too-large.golden.xml": malformed(&jsonbody.Problem{Detail: "the body must not be larger than 256 KiB", TooLarge: true}),
		"malformed-unknown.golden.xml":   malformed(errors.New("secret")),
		"store-refused.golden.xml":       StoreRefused(),
	} {
		t.Run(file, func(t *testing.T) {
			golden(t, file, body)
			for _, secret := range []string{"123456789", "Walnut", "Smith", "secret"} {
				if strings.Contains(string(body), secret) {
					t.Errorf("holds %s", secret)
				}
			}
		})
	}
}

func TestHeadersAreRequiredOnceAndInTheirForm(t *testing.T) {
	const id = "0188b2a4-5f0c-7d1e-9a3b-1c2d3e4f5a6b"
	for name, c := range map[string]struct {
		headers http.Header
		want    []string
	}{
		"both":                {http.Header{"Di_tid": {id}, "Offering_id": {"offer-1"}}, nil},
		"upper case":          {http.Header{"Di_tid": {strings.ToUpper(id)}, "Offering_id": {"offer-1"}}, nil},
		"none":                {http.Header{}, []string{"di_tid header is required", "offering_id header is required"}},
		"no UUID":             {http.Header{"Di_tid": {"42"}, "Offering_id": {"o"}}, []string{"di_tid header must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000"}},
		"repeated":            {http.Header{"Di_tid": {id, id}, "Offering_id": {"o", "p"}}, []string{"di_tid header must be sent once", "offering_id header must be sent once"}},
		"blank":               {http.Header{"Di_tid": {id}, "Offering_id": {" "}}, []string{"offering_id header is required"}},
		"an offering without": {http.Header{"Di_tid": {id}, "Offering_id": {strings.Repeat("o", 257)}}, []string{"offering_id header must have at most 256 characters"}},
	} {
		client, found := Headers(c.headers)
		var got []string
		for _, p := range found {
			got = append(got, p.Message)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
		if len(found) == 0 && (client.RequestID == "" || client.OfferingID != "offer-1") {
			t.Errorf("%s: %+v", name, client.RequestID)
		}
	}
}
