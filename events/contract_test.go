package events

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var carried = Carried{
	Channel: "finhub", UserID: "aaaaaaaa-0000-8000-8000-000000000001", PersonID: "aaaaaaaa-0000-8000-8000-000000000002",
	Vault: 7, MAC: "00ff", Config: "0123456789ab",
}

var assessment = Assessment{
	Case: 1, Score: 40, Level: "MEDIUM",
	Reasons:  []Reason{{Rule: "screening-hit", Outcome: "review"}, {Rule: "residence", Points: 40, Label: "residence under monitoring"}},
	Facts:    map[string]string{"residence": "IR", "screeningHits": "1"},
	Hits:     []Hit{{List: "demo", Entry: "demo-5", Score: 912}},
	Versions: Versions{Config: "0123456789ab", Policy: "1", Catalog: "1"}, By: "policy",
}

// examples holds one event of every type, with every field set.
var examples = []Event{
	Requested{carried, &Audit{"RegistrationUser", "TPV_API", "THIRD_PARTY_REGISTRATION"}},
	Validated{carried, Versions{Config: "0123456789ab"}, []Consent{{"online-banking-agreement", "1"}}},
	Rejected{At: StepAccount, Violations: []Violation{{Code: CodeDuplicateEmail, Field: "email"}}, Versions: Versions{Config: "0123456789ab"}, Vault: 7},
	Categorized{carried, assessment, "low", Category{"MEDIUM_RISK_INDIVIDUAL", "Medium", "Medium risk"},
		[]Feature{{"f1", "LIMITS", true, []Parameter{{"MONTHLY_LIMIT", "20000"}}}}},
	ReviewRequired{carried, assessment, 2, "reviewer-1", 259200},
	ScreeningWait{carried, 1, 2, Versions{Config: "0123456789ab", Lists: "7"}},
	ReviewDecided{1, true, "reviewer-2", ReasonVerified},
	AccountCreated{carried, 1, 86400, true, Category{"LOW", "Low", ""}},
	ActivationSent{"created", 0, 1, "id.created@usher", 3, "250", 7},
	ActivationFailed{"created", 0, 1, "id.created@usher", 2, "550 5.1.1", "SMTP_550"},
	ActivationRequested{"r1", "abcd", 9},
	AccountActivated{"r1", 9},
	ActivationRefused{"r2", TooManyTries, 9, 3600},
	ResendRequested{1, "operator-1"},
	CodeIssued{1, 2, 86400},
	ResendRefused{2, ResendCooldown, 30},
	ReminderDue{2, 86400, made},
	NoticeDue{"20260131", 9},
	Failed{Validator, StepRequested, "GARBAGE", 0},
	Expired{NotActivated, 7},
	ErasureRequested{"admin-1"},
	Erased{Accounts, "0"},
	PersonAccessed{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "reviewer-1", "review", "11111111-2222-8333-8444-555555555555", 2},
	RecordAccessed{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "auditor-1", "feed", "11111111-2222-8333-8444-555555555555", 101, 200, 100},
	ResendOrdered{"operator-1", "11111111-2222-8333-8444-555555555555", 3, true},
	WebhookChanged{"AAAAAAAAAAAAAAAAAAAAAAAAAA", "operator-1", "BBBBBBBBBBBBBBBBBBBBBBBBBB", "secret_added"},
	Checkpoint{2, []byte("previous"), [][]byte{[]byte("leaf")}, []byte("head"), "0a1b2c3d", []byte("signature")},
	ListActivated{"un", "2026-01-30/0123456789ab", 1002},
	CustomersScreening{3, "un=2026-01-30/0123456789ab", 4, 481, 1200, 1},
	CustomersScreened{3, "un=2026-01-30/0123456789ab", 1200, 2, 1},
	CaseOpened{"11111111-2222-8333-8444-666666666666", 1, 2, "11111111-2222-8333-8444-555555555555",
		Hit{"un", "QDi.001", 912}, "un=2026-01-30/0123456789ab", 9},
	CaseDecided{"11111111-2222-8333-8444-666666666666", 2, true, "reviewer-1", ReasonFalsePositive},
	CaseClosed{"11111111-2222-8333-8444-666666666666", 3, "11111111-2222-8333-8444-555555555555", true},
}

var made = time.Date(2026, 1, 31, 12, 0, 0, 5000, time.UTC)

func record(e Event) Record {
	registration := "11111111-2222-8333-8444-555555555555"
	if slices.ContainsFunc(TenantFacts, func(r Row) bool { return r.Step == e.Step() }) {
		registration = ""
	}
	return Record{
		Subject: SubjectOf("acme", registration, e), Source: Gateway, Time: made, Event: e,
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// facts holds one of every type, with every field set.

// golden compares a message with its file and returns the file.
func golden(t *testing.T, name string, message wire) []byte {
	t.Helper()
	got, err := json.MarshalIndent(message, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got)+"\n" {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	return want
}

// wire is a golden file: a message as others read it.
type wire struct {
	Subject string              `json:"subject"`
	Header  map[string][]string `json:"header"`
	Data    json.RawMessage     `json:"data"`
}

func TestEveryEventIsOnTheWireAsItWasYesterday(t *testing.T) {
	for _, e := range examples {
		t.Run(e.Type(), func(t *testing.T) {
			header, data, err := record(e).Encode()
			if err != nil {
				t.Fatal(err)
			}
			var w wire
			if err := json.Unmarshal(golden(t, e.Type(), wire{record(e).Subject.String(), header, data}), &w); err != nil {
				t.Fatal(err)
			}
			r, err := Decode(w.Subject, w.Header, w.Data)
			if err != nil {
				t.Fatal(err)
			}
			want := record(e)
			want.Data = w.Data
			if !reflect.DeepEqual(r, want) {
				t.Errorf("decoded %+v", r)
			}
		})
	}
}

func TestEveryTypeHasAnExampleADecoderAndItsPlaceInTheFlow(t *testing.T) {
	places := map[string]int{}
	steps := map[Step]bool{}
	for _, row := range slices.Concat(Flow, TenantFacts) {
		if steps[row.Step] {
			t.Errorf("step %s is twice in the flow", row.Step)
		}
		steps[row.Step] = true
		for _, e := range row.Types {
			places[e.Type()]++
			if e.Type() != (Rejected{}).Type() && e.Step() != row.Step {
				t.Errorf("%s stands at %s and says %s", e.Type(), row.Step, e.Step())
			}
		}
	}
	for name := range codecs {
		want := 1
		if name == (Rejected{}).Type() {
			want = 3
		}
		if places[name] != want {
			t.Errorf("%s is %d times in the flow, want %d", name, places[name], want)
		}
		if !slices.ContainsFunc(examples, func(e Event) bool { return e.Type() == name }) {
			t.Errorf("%s has no example", name)
		}
	}
	if len(examples) != len(codecs) || len(places) != len(codecs) {
		t.Errorf("%d examples, %d codecs, %d types in the flow", len(examples), len(codecs), len(places))
	}
}

func TestDecodeRefusesWhatItCannotTrust(t *testing.T) {
	const secret = "Kanarienvogel"
	for name, test := range map[string]struct {
		change func(subject *string, h map[string][]string, data *[]byte)
		want   error
	}{
		"a header with two values":      {func(_ *string, h map[string][]string, _ *[]byte) { h["x"] = []string{secret, secret} }, ErrGarbage},
		"a header without a value":      {func(_ *string, h map[string][]string, _ *[]byte) { h["x"] = nil }, ErrGarbage},
		"no specversion":                {func(_ *string, h map[string][]string, _ *[]byte) { delete(h, "ce-specversion") }, ErrGarbage},
		"no type":                       {func(_ *string, h map[string][]string, _ *[]byte) { delete(h, "ce-type") }, ErrGarbage},
		"no time":                       {func(_ *string, h map[string][]string, _ *[]byte) { delete(h, "ce-time") }, ErrGarbage},
		"a foreign source":              {func(_ *string, h map[string][]string, _ *[]byte) { h["ce-source"] = []string{secret} }, ErrGarbage},
		"an id that is not the subject": {func(_ *string, h map[string][]string, _ *[]byte) { h["ce-id"] = []string{secret} }, ErrGarbage},
		"broken percent-encoding":       {func(_ *string, h map[string][]string, _ *[]byte) { h["ce-subject"] = []string{"%zz"} }, ErrGarbage},
		"data that is not UTF-8":        {func(_ *string, _ map[string][]string, d *[]byte) { *d = []byte("{\"x\":\"" + secret + "\xff\"}") }, ErrGarbage},
		"data that is not JSON":         {func(_ *string, _ map[string][]string, d *[]byte) { *d = []byte(secret) }, ErrGarbage},
		"data of another type":          {func(_ *string, _ map[string][]string, d *[]byte) { *d = []byte(`{"requestId":{"a":"` + secret + `"}}`) }, ErrGarbage},
		"data of another subject":       {func(_ *string, _ map[string][]string, d *[]byte) { *d = []byte(`{"requestId":"` + secret + `"}`) }, ErrGarbage},
		"a subject of four tokens":      {func(s *string, _ map[string][]string, _ *[]byte) { *s = "reg.a.b.c" }, ErrSubject},
		"a subject with a blank":        {func(s *string, _ map[string][]string, _ *[]byte) { *s = "reg.a. .requested.1" }, ErrSubject},
		"a newer CloudEvents":           {func(_ *string, h map[string][]string, _ *[]byte) { h["ce-specversion"] = []string{"2.0"} }, ErrNewer},
		"a newer major version": {func(_ *string, h map[string][]string, _ *[]byte) {
			h["ce-dataschema"] = []string{"urn:usher:event:account.activated:2"}
		}, ErrNewer},
		"a type this version has not seen": {func(_ *string, h map[string][]string, _ *[]byte) { h["ce-type"] = []string{"account.frozen"} }, ErrNewer},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(AccountActivated{RequestID: "r1"})
			header, data, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			subject := r.Subject.String()
			test.change(&subject, header, &data)
			_, err = Decode(subject, header, data)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error repeats the message: %v", err)
			}
		})
	}
}

func TestUnknownFieldsAndHeadersAreIgnored(t *testing.T) {
	r := record(AccountActivated{RequestID: "r1"})
	header, _, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	header["x-new"] = []string{"1"}
	got, err := Decode(r.Subject.String(), header, []byte(`{"requestId":"r1","new":{"a":[1]}}`))
	if err != nil || got.Event != r.Event {
		t.Errorf("got %v, %v", got.Event, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range examples {
		header, data, err := record(e).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(record(e).Subject.String(), header["ce-type"][0], header["ce-time"][0], data)
	}
	f.Fuzz(func(t *testing.T, subject, eventType, at string, data []byte) {
		r, err := Decode(subject, map[string][]string{
			"ce-specversion": {"1.0"}, "ce-id": {escape(subject)}, "ce-source": {"/usher/gateway"}, "ce-type": {eventType}, "ce-time": {at},
		}, data)
		if err == nil && r.Subject.String() != subject {
			t.Errorf("subject %q became %q", subject, r.Subject)
		}
	})
}

func FuzzEscape(f *testing.F) {
	f.Add(`a "b" % ü`)
	f.Fuzz(func(t *testing.T, s string) {
		e := escape(s)
		if strings.ContainsFunc(e, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
			t.Errorf("%q is not printable", e)
		}
		if back, err := unescape(e); err == nil && back != s {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}
