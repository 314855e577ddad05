package gateway

import (
	"encoding/xml"
	"os"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
)

const (
	institution     = "01111"
	institutionPath = "/registration/v4/fis/01111/fiCustomers"
	// secondInstitution is put before the first one of the demonstration.
	firstInstitution  = "  - id: \"01111\"\n"
	secondInstitution = `  - id: "02222"
    name: Second Institution
    dialects: {candescent: {institutionId: "02222"}}
    unique: [username, memberNumber, nationalId]
    catalog: individuals
    policy: standard
    mail: {from: no-reply@second.example}
`
)

func sample(t testing.TB, notation string) []byte {
	t.Helper()
	body, err := os.ReadFile("candescent/testdata/complete.request." + notation)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// register sends a request as a third party does.
func (w *world) register(notation string, body []byte, headers ...string) answer {
	w.t.Helper()
	return w.do("POST", institutionPath, body, append(customerHeaders(notation), headers...)...)
}

func customerHeaders(notation string) []string {
	return []string{"X-Tenant-ID", "", "Content-Type", "application/" + notation, "di_tid", "0188b2a4-5f0c-7d1e-9a3b-1c2d3e4f5a6b", "offering_id", "offer-1"}
}

// errorCodes are those of an error answer; it fails the test where it is none in XML.
func (a answer) errorCodes(t *testing.T) (codes []string) {
	t.Helper()
	var e struct {
		XMLName xml.Name `xml:"Errors"`
		Codes   []string `xml:"Error>errorCode"`
	}
	if err := xml.Unmarshal(a.body, &e); err != nil || a.header.Get("Content-Type") != "application/xml" {
		t.Errorf("%d %s is no error in XML: %v", a.status, a.body, err)
	}
	return e.Codes
}

func (a answer) is(t *testing.T, what string, status int, codes ...string) {
	t.Helper()
	if got := a.errorCodes(t); a.status != status || strings.Join(got, " ") != strings.Join(codes, " ") {
		t.Errorf("%s: %d %v, want %d %v", what, a.status, got, status, codes)
	}
	if a.header.Get("traceparent") == "" {
		t.Errorf("%s: no traceparent", what)
	}
}

func TestEveryAnswerToAThirdPartyIsXML(t *testing.T) {
	w := newWorld(t, firstInstitution, secondInstitution+firstInstitution)
	body := sample(t, "xml")
	for name, c := range map[string]struct {
		body    []byte
		headers []string
		status  int
		codes   []string
	}{
		"no token":               {body, []string{"Authorization", ""}, 401, []string{"UNAUTHORIZED"}},
		"a wrong token":          {body, []string{"Authorization", "Bearer wrong"}, 401, []string{"UNAUTHORIZED"}},
		"a token of another":     {body, []string{"Authorization", "Bearer channel"}, 403, []string{"FORBIDDEN"}},
		"no headers":             {body, []string{"di_tid", "", "offering_id", ""}, 400, []string{"MALFORMED", "MALFORMED"}},
		"a di_tid of no form":    {body, []string{"di_tid", "42"}, 400, []string{"MALFORMED"}},
		"another media type":     {body, []string{"Content-Type", "text/plain"}, 415, []string{"UNSUPPORTED_MEDIA_TYPE"}},
		"another character set":  {body, []string{"Content-Type", "application/xml; charset=iso-8859-1"}, 415, []string{"UNSUPPORTED_MEDIA_TYPE"}},
		"an encoded body":        {body, []string{"Content-Encoding", "gzip"}, 415, []string{"UNSUPPORTED_MEDIA_TYPE"}},
		"an empty body":          {nil, nil, 400, []string{"MALFORMED"}},
		"a document type":        {[]byte(`<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><FICustomer>&b;</FICustomer>`), nil, 400, []string{"MALFORMED"}},
		"100,000 levels":         {[]byte("<FICustomer>" + strings.Repeat("<a>", 100_000)), nil, 400, []string{"MALFORMED"}},
		"too large a body":       {[]byte(strings.Repeat(" ", 256<<10+1)), nil, 413, []string{"TOO_LARGE"}},
		"far too large a body":   {[]byte("<FICustomer>" + strings.Repeat(" ", 4<<20)), nil, 413, []string{"TOO_LARGE"}},
		"too large a body, JSON": {[]byte(strings.Repeat(" ", 256<<10+1)), []string{"Content-Type", "application/json"}, 413, []string{"TOO_LARGE"}},
		"a repeated key":         {body, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, []string{"MALFORMED"}},
	} {
		w.register("xml", c.body, c.headers...).is(t, name, c.status, c.codes...)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		a := w.do(method, institutionPath, nil)
		a.is(t, method, 405, "METHOD_NOT_ALLOWED")
		if a.header.Get("Allow") != "POST, OPTIONS" {
			t.Errorf("%s: Allow %q", method, a.header.Get("Allow"))
		}
	}
	for _, path := range []string{"/registration/v4/fis/01111", "/registration/v5/fis/01111/fiCustomers", institutionPath + "/1"} {
		w.do("POST", path, body).is(t, path, 404, "NOT_FOUND")
	}
	unknown := w.do("POST", "/registration/v4/fis/99999/fiCustomers", body, append(customerHeaders("xml"), "Authorization", "Bearer channel")...)
	known := w.register("xml", body, "Authorization", "Bearer channel")
	unknown.is(t, "an unknown institution", 403, "FORBIDDEN")
	if string(unknown.body) != string(known.body) {
		t.Errorf("an institution that exists is told apart:\n%s\n%s", unknown.body, known.body)
	}
}

func TestAThirdPartyHearsTheOutcome(t *testing.T) {
	w := newWorld(t)
	validator, risk, accounts := w.bus(events.Validator), w.bus(events.Risk), w.bus(events.Accounts)
	for name, c := range map[string]struct {
		outcome  events.Event
		status   int
		contains []string
	}{
		"an account": {events.AccountCreated{Epoch: 1}, 200, []string{"<id><value>", "</value><type>GUID</type></id><fiId>01111</fiId>", "<loginId>test.user1</loginId>"}},
		"a review":   {events.ReviewRequired{Assessment: events.Assessment{Case: 1}}, 202, []string{"<FICustomer><fiId>01111</fiId>"}},
		"a refusal":  {events.Rejected{At: events.StepRisk, Violations: []events.Violation{{Code: events.CodeRefused}}}, 400, []string{"<errorCode>REGISTRATION_REFUSED</errorCode>"}},
		"in progress": {events.Rejected{At: events.StepValidation, Violations: []events.Violation{{Code: events.CodeInProgress, Field: "person.ssn"}}}, 409,
			[]string{"<errorCode>26330</errorCode><errorMessage>User's online registration is already in progress (duplicate registration request)</errorMessage>"}},
		"registered":  {events.Rejected{At: events.StepAccount, Violations: []events.Violation{{Code: events.CodeDuplicateMember}}}, 409, []string{"<errorCode>26331</errorCode>"}},
		"login taken": {events.Rejected{At: events.StepAccount, Violations: []events.Violation{{Code: events.CodeDuplicateUsername}}}, 400, []string{"<errorCode>26201</errorCode>"}},
		"a failure":   {events.Failed{Service: events.Risk, Stage: events.StepValidation, Code: "PANIC"}, 500, []string{"<errorCode>UNAVAILABLE</errorCode>", "Backend server does not respond, or some of the service is down."}},
	} {
		t.Run(name, func(t *testing.T) {
			answers := make(chan answer, 1)
			go func() {
				a, err := w.try(t.Context(), "POST", institutionPath, sample(t, "json"), append(customerHeaders("json"), "Idempotency-Key", name)...)
				if err != nil {
					t.Error(err)
				}
				answers <- a
			}()
			pending := w.register("xml", sample(t, "xml"), "Idempotency-Key", name, "Prefer", "respond-async")
			id := pending.header.Get("X-Registration-ID")
			if pending.status != 202 || id == "" || pending.header.Get("Location") != "/v1/registrations/"+id || pending.header.Get("Preference-Applied") != "respond-async" ||
				strings.Contains(string(pending.body), "<value>") {
				t.Fatalf("at once: %d %v %s", pending.status, pending.header, pending.body)
			}
			from := accounts
			switch c.outcome.Step() {
			case events.StepValidation:
				from = validator
			case events.StepRisk, events.StepFailed:
				from = risk
			}
			if err := from.Publish(t.Context(), institution, id, c.outcome); err != nil {
				t.Fatal(err)
			}
			a := <-answers
			if a.status != c.status || a.header.Get("X-Registration-ID") != id || a.header.Get("Content-Type") != "application/xml" {
				t.Errorf("%d %v", a.status, a.header)
			}
			if (a.header.Get("Retry-After") != "") != (c.status == 500) {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
			for _, want := range c.contains {
				if !strings.Contains(string(a.body), want) {
					t.Errorf("%s lacks %s", a.body, want)
				}
			}
			for _, secret := range []string{"123456789", "Smith", "Walnut"} {
				if strings.Contains(string(a.body), secret) {
					t.Errorf("the answer holds %s", secret)
				}
			}
		})
	}
}

func TestJSONAndXMLUnderOneKeyAreOneRegistrationOfOneInstitution(t *testing.T) {
	w := newWorld(t, firstInstitution, secondInstitution+firstInstitution)
	const key, async = "Idempotency-Key", "respond-async"
	first := w.register("json", sample(t, "json"), key, "k", "Prefer", async)
	again := w.register("xml", sample(t, "xml"), key, `"k"`, "Prefer", async)
	id := first.header.Get("X-Registration-ID")
	if first.status != 202 || again.status != 202 || id == "" || again.header.Get("X-Registration-ID") != id || string(first.body) != string(again.body) {
		t.Errorf("%d %d %s %s", first.status, again.status, first.body, again.body)
	}
	other := strings.Replace(string(sample(t, "xml")), "Walnut-42", "Walnut-43", 1)
	w.register("xml", []byte(other), key, "k", "Prefer", async).is(t, "another password", 422, "IDEMPOTENCY_KEY_REUSED")
	second := w.do("POST", "/registration/v4/fis/02222/fiCustomers", sample(t, "xml"), append(customerHeaders("xml"), key, "k", "Prefer", async)...)
	if second.status != 202 || second.header.Get("X-Registration-ID") == id || !strings.Contains(string(second.body), "<fiId>02222</fiId>") {
		t.Errorf("the same at another institution: %d %s", second.status, second.body)
	}
	stored, err := w.bus(events.Risk).StoredAt(t.Context(), events.SubjectOf(institution, id, events.Requested{}))
	if err != nil {
		t.Fatal(err)
	}
	audit := stored.Event.(events.Requested).Audit
	if want := (events.Audit{Event: "RegistrationUser", ChannelType: "TPV_API", UserProduct: "THIRD_PARTY_REGISTRATION"}); audit == nil || *audit != want {
		t.Errorf("audit facts %v", audit)
	}
}

func TestARecordThatTheStoreRefusesIs26340(t *testing.T) {
	w := newWorld(t)
	// The canonical form of this address is eleven times as long, and more than a message may be.
	address := strings.Repeat("\ufdfa", 60_000) + "@example.com"
	body := strings.Replace(string(sample(t, "xml")), "test.user@example.com", address, 1)
	w.register("xml", []byte(body)).is(t, "a record above the broker's limit", 400, "26340")
}

func TestAThirdPartyAboveTheLimitHears429(t *testing.T) {
	w := newWorld(t, "    unique: [username, memberNumber, nationalId]", "    limits: {perTenant: 1}\n    unique: [username, memberNumber, nationalId]")
	var last answer
	for range 3 {
		last = w.register("xml", []byte("<x/>"))
	}
	last.is(t, "more than the tenant's limit", 429, "TOO_MANY_REQUESTS")
	if last.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestAnOutageIs500AndWorthARetry(t *testing.T) {
	w := newWorld(t)
	w.broker.Shutdown()
	w.broker.WaitForShutdown()
	a := w.register("xml", sample(t, "xml"))
	a.is(t, "without a broker", 500, "UNAVAILABLE")
	if a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "Backend server does not respond") {
		t.Errorf("%v %s", a.header, a.body)
	}
}

func TestHowLongAThirdPartyWaitsIsItsChoice(t *testing.T) {
	w := newWorld(t)
	for _, prefer := range []string{"respond-async", "wait=0", "respond-async, wait=0", `wait="0"`, "wait=0; x=1, respond-async"} {
		a := w.register("json", sample(t, "json"), "Prefer", prefer)
		if a.status != 202 || a.header.Get("Preference-Applied") == "" {
			t.Errorf("Prefer: %s: %d %v", prefer, a.status, a.header)
		}
	}
}
