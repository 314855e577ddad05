package gateway

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
)

const (
	fincodePath   = "/api/v6/services/usermanagement/register-customer"
	remitJunction = "remitjunction"
	// finsei gets the dialect too, with tokens.
	finseiDialect = "finhub: {lenientHeaders: true, flatBody: true}"
	bothDialects  = finseiDialect + "\n      fincode: {hostLabel: Finsei, allowPlain: true}"
)

func anonymous(g *gateway) { g.access.anonymous = true }

func customer(email string, edits ...string) []byte {
	body := fmt.Sprintf(`{"devicePlatform":"IOS","appVersion":"1","appId":"com.fincode.remitjunction","customerType":"INDIVIDUAL","payloadEncrypted":false,
		"firstName":"John","lastName":"Doe","email":%q,"dialingCode":"+44","phone":"973 293 74813","dob":"1990-05-15","password":"SecurePass123!","confirmPassword":"SecurePass123!",
		"address":{"address1":"123 High Street","address2":"","countryCommonName":"United Kingdom","postcode":"SW1A 1AA","countryIso3":"GBR"},"dynamicFields":{}}`, email)
	return []byte(strings.NewReplacer(edits...).Replace(body))
}

// sealed is customer with its passwords encrypted to a key, anew each time.
func (w *world) sealed(k keys.RSAKey, email, password string) []byte {
	w.t.Helper()
	der, err := base64.StdEncoding.DecodeString(k.Public)
	if err != nil {
		w.t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		w.t.Fatal(err)
	}
	ciphertext, err := rsa.EncryptOAEPWithOptions(rand.Reader, public.(*rsa.PublicKey), []byte(password), &rsa.OAEPOptions{Hash: crypto.SHA256})
	if err != nil {
		w.t.Fatal(err)
	}
	return customer(email, `"payloadEncrypted":false`, `"payloadEncrypted":true`, "SecurePass123!", base64.StdEncoding.EncodeToString(ciphertext))
}

func (w *world) rsaKey(tenant string) keys.RSAKey {
	w.t.Helper()
	k, err := keys.AddRSA(w.keys, tenant, 1024)
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// fincode sends a request as a vendor's client does: no token, no tenant.
func (w *world) fincode(body []byte, headers ...string) answer {
	w.t.Helper()
	a, err := w.tryFincode(w.t.Context(), body, headers...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) tryFincode(ctx context.Context, body []byte, headers ...string) (answer, error) {
	return w.try(ctx, http.MethodPost, fincodePath, body, append([]string{"Authorization", "", "X-Tenant-ID", "", "platform", "fincode", "uuid", "200"}, headers...)...)
}

// envelope reads an error answer; it must have all three members.
func (a answer) envelope(t *testing.T) (code string, fields []string) {
	t.Helper()
	var e struct {
		Code, Message *string
		Errors        []struct{ Field, Code, Message string }
	}
	if err := json.Unmarshal(a.body, &e); err != nil || e.Code == nil || e.Message == nil || e.Errors == nil || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s is not in the dialect's shape", a.status, a.body)
	}
	for _, f := range e.Errors {
		fields = append(fields, f.Field)
	}
	return *e.Code, fields
}

func TestTheTenantIsFoundByHostByHeaderOrAsTheOnlyOne(t *testing.T) {
	w := newWorldOf(t, anonymous, finseiDialect, bothDialects)
	for name, test := range map[string]struct {
		headers []string
		status  int
	}{
		"a host with a label":                       {[]string{"Host", "remitjunction.fincode.software"}, 202},
		"the same with a port":                      {[]string{"Host", "remitjunction.fincode.software:8443"}, 202},
		"the same in other case, with a dot":        {[]string{"Host", "RemitJunction.Fincode.Software."}, 202},
		"a host and a header that agree":            {[]string{"Host", "remitjunction.fincode.software", "X-Tenant-ID", remitJunction}, 202},
		"a header alone":                            {[]string{"X-Tenant-ID", remitJunction}, 202},
		"a header in other case":                    {[]string{"X-Tenant-ID", "RemitJunction"}, 404},
		"a host that is the vendor's own":           {[]string{"Host", "fincode.software", "X-Tenant-ID", remitJunction}, 202},
		"no label before the vendor's domain":       {[]string{"Host", ".fincode.software"}, 404},
		"a label that no tenant has":                {[]string{"Host", "agent.fincode.software"}, 404},
		"a label of two parts":                      {[]string{"Host", "a.remitjunction.fincode.software"}, 404},
		"a host and a header that differ":           {[]string{"Host", "remitjunction.fincode.software", "X-Tenant-ID", finsei}, 404},
		"a tenant without the dialect":              {[]string{"X-Tenant-ID", cloudVault}, 404},
		"a tenant that is not there":                {[]string{"X-Tenant-ID", "nowhere"}, 404},
		"nothing, where two have the dialect":       {nil, 404},
		"a tenant that wants a token":               {[]string{"X-Tenant-ID", finsei}, 401},
		"the same by its host":                      {[]string{"Host", "finsei.fincode.software"}, 401},
		"with a token nobody has":                   {[]string{"X-Tenant-ID", finsei, "Authorization", "Bearer nobody"}, 401},
		"with a token of another tenant":            {[]string{"X-Tenant-ID", finsei, "Authorization", "Bearer channel"}, 403},
		"with its token":                            {[]string{"X-Tenant-ID", finsei, "Authorization", "Bearer admin"}, 202},
		"a token that is not valid where none asks": {[]string{"X-Tenant-ID", remitJunction, "Authorization", "Bearer nobody"}, 202},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.fincode(customer("a@example.com"), append(test.headers, "Prefer", "respond-async")...)
			if a.status != test.status {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			if a.status != 202 {
				if code, _ := a.envelope(t); code == "" {
					t.Error("no code")
				}
				return
			}
			if a.header.Get("Location") == "" || a.header.Get("Preference-Applied") != "respond-async" || a.field("status") != "REGISTRATION_PENDING" ||
				a.field("customerId") == "" || a.field("customerId") != a.header.Get("X-Registration-ID") {
				t.Errorf("headers %v, body %s", a.header, a.body)
			}
		})
	}
	if a := newWorldOf(t, anonymous).fincode(customer("a@example.com"), "Prefer", "respond-async"); a.status != 202 {
		t.Errorf("the only tenant with the dialect: %d %s", a.status, a.body)
	}
}

func TestOnlyADevelopersMachineOrASettingLetsAnybodyIn(t *testing.T) {
	w := newWorld(t)
	if a := w.fincode(customer("a@example.com")); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("auth: none outside dev: %d %s", a.status, a.body)
	}
	if a := w.fincode(customer("a@example.com"), "Authorization", "Bearer admin", "Prefer", "respond-async"); a.status != 202 {
		t.Errorf("the same with a token: %d %s", a.status, a.body)
	}
	open := newWorld(t, "fincode: {auth: none, ", "fincode: {auth: none, allowAnonymous: true, ", "    mail: {from: no-reply@remitjunction.example}",
		"    mail: {from: no-reply@remitjunction.example}\n    limits: {perAddress: 0.2}")
	if a := open.fincode(customer("a@example.com"), "Prefer", "respond-async"); a.status != 202 {
		t.Fatalf("allowAnonymous: %d %s", a.status, a.body)
	}
	a := open.fincode(customer("b@example.com"))
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != 429 || err != nil || seconds < 1 {
		t.Errorf("above the limit of an address: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	if code, _ := a.envelope(t); code != "TOO_MANY_REQUESTS" {
		t.Errorf("code %s", code)
	}
}

func TestACallerOfFincodeIsToldWhatBecameOfIt(t *testing.T) {
	w := newWorldOf(t, anonymous)
	key := w.rsaKey(remitJunction)
	for name, test := range map[string]struct {
		by      events.Service
		outcome events.Event
		status  int
		want    string
	}{
		"created": {events.Accounts, events.AccountCreated{Epoch: 1}, 200,
			`{"customerId":"ID","status":"PENDING_ACTIVATION","message":"Customer registered successfully"}`},
		"in review": {events.Risk, events.ReviewRequired{NextCase: 2}, 202,
			`{"customerId":"ID","status":"PENDING_REVIEW","message":"Registration is under review"}`},
		"refused": {events.Risk, events.Rejected{At: events.StepRisk, Violations: []events.Violation{{Code: events.CodeRefused}}}, 422,
			`{"code":"REGISTRATION_REFUSED","message":"Registration could not be completed","errors":[]}`},
		"duplicate": {events.Accounts, events.Rejected{At: events.StepAccount, Violations: []events.Violation{{Code: events.CodeDuplicateEmail}}}, 409,
			`{"code":"DUPLICATE_EMAIL","message":"Customer already exists","errors":[{"field":"email","code":"DUPLICATE_EMAIL","message":"Must be unique across all customers in the tenant"}]}`},
		"wrong": {events.Validator, events.Rejected{At: events.StepValidation, Violations: []events.Violation{{Code: events.CodeUnderAge, Field: "dob"}}}, 400,
			`{"code":"VALIDATION_FAILED","message":"Validation failed","errors":[{"field":"dob","code":"UNDER_AGE","message":"Customer must be at least 18 years old"}]}`},
		"failed": {events.Accounts, events.Failed{Service: events.Accounts, Stage: events.StepRisk, Code: "PERSON_MISSING"}, 503, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, answers := w.bus(test.by), make(chan answer, 1)
			email := strings.ReplaceAll(name, " ", "") + "@example.com"
			go func() {
				a, err := w.tryFincode(t.Context(), w.sealed(key, email, "SecurePass123!"), "Idempotency-Key", name)
				if err != nil {
					t.Error(err)
				}
				answers <- a
			}()
			// The same password under other ciphertexts is the same content.
			pending := w.fincode(w.sealed(key, email, "SecurePass123!"), "Idempotency-Key", `"`+name+`"`, "Prefer", "respond-async")
			id := pending.header.Get("X-Registration-ID")
			if pending.status != 202 {
				t.Fatalf("at once: %d %s", pending.status, pending.body)
			}
			if err := b.Publish(t.Context(), remitJunction, id, test.outcome); err != nil && !errors.Is(err, bus.ErrExists) {
				t.Fatal(err)
			}
			a := <-answers
			if a.status != test.status || a.header.Get("X-Registration-ID") != id || a.header.Get("traceparent") == "" {
				t.Errorf("answered %d %v", a.status, a.header)
			}
			if want := strings.Replace(test.want, `"ID"`, `"`+id+`"`, 1); want != "" && string(a.body) != want {
				t.Errorf("answered %s, want %s", a.body, want)
			}
			if (a.status == 202) != (a.header.Get("Location") != "") || (a.status == 503) != (a.header.Get("Retry-After") != "") {
				t.Errorf("headers %v", a.header)
			}
		})
	}
	if a := w.fincode(w.sealed(key, "created@example.com", "OtherPass123!"), "Idempotency-Key", "created"); a.status != 422 || a.field("code") != "IDEMPOTENCY_KEY_REUSED" {
		t.Errorf("another password under the key: %d %s", a.status, a.body)
	}
}

func TestTenantsOfFincodeKnowNothingOfEachOther(t *testing.T) {
	w := newWorldOf(t, anonymous, finseiDialect, bothDialects)
	remit, other := w.rsaKey(remitJunction), w.rsaKey(finsei)
	send := func(k keys.RSAKey, tenant string) answer {
		return w.fincode(w.sealed(k, "same@example.com", "SecurePass123!"), "X-Tenant-ID", tenant, "Authorization", "Bearer admin", "Idempotency-Key", "same", "Prefer", "respond-async")
	}
	one, two := send(remit, remitJunction), send(other, finsei)
	if one.status != 202 || two.status != 202 || one.field("customerId") == two.field("customerId") {
		t.Errorf("one address and one key in two tenants: %d %s, %d %s", one.status, one.body, two.status, two.body)
	}
	for _, crossed := range []answer{send(remit, finsei), send(other, remitJunction)} {
		if crossed.status != 400 || crossed.field("code") != "PASSWORD_DECRYPTION_FAILED" {
			t.Errorf("the key of another tenant: %d %s", crossed.status, crossed.body)
		}
	}
}

func TestARetiringKeyOpensUntilItsTimeAndIsThenUnknown(t *testing.T) {
	w := newWorldOf(t, anonymous)
	old := w.rsaKey(remitJunction)
	current := w.rsaKey(remitJunction)
	if err := keys.RetireRSA(w.keys, remitJunction, old.ID, time.Now().Add(4*time.Second)); err != nil {
		t.Fatal(err)
	}
	send := func(k keys.RSAKey) answer {
		return w.fincode(w.sealed(k, "rotation@example.com", "SecurePass123!"), "Prefer", "respond-async")
	}
	if a := send(old); a.status != 202 {
		t.Fatalf("the retiring key: %d %s", a.status, a.body)
	}
	var refused answer
	w.eventually("the old key is retired", func() bool { refused = send(old); return refused.status != 202 })
	damaged := w.fincode(customer("rotation@example.com", `"payloadEncrypted":false`, `"payloadEncrypted":true`))
	if refused.status != 400 || damaged.status != 400 || string(refused.body) != string(damaged.body) || refused.field("code") != "PASSWORD_DECRYPTION_FAILED" {
		t.Errorf("a retired key: %d %s, rubbish: %d %s", refused.status, refused.body, damaged.status, damaged.body)
	}
	if a := send(current); a.status != 202 {
		t.Errorf("the current key: %d %s", a.status, a.body)
	}
}

func TestWhatIsWrongWithARequestIsToldInTheWordsOfFincode(t *testing.T) {
	w := newWorldOf(t, anonymous, "allowPlain: true", "allowPlain: false, platform: remit")
	good := customer("a@example.com")
	large := customer("a@example.com", "John", strings.Repeat("a", 256<<10))
	for name, test := range map[string]struct {
		body    []byte
		headers []string
		status  int
		code    string
		fields  string
	}{
		"another media type":        {good, []string{"Content-Type", "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE", "[]"},
		"too large a body":          {large, nil, 413, "TOO_LARGE", "[]"},
		"no JSON":                   {[]byte("{"), nil, 400, "MALFORMED", "[]"},
		"a field of another type":   {customer("a@example.com", `"John"`, "7"), nil, 400, "MALFORMED", "[firstName]"},
		"missing headers":           {good, []string{"platform", "", "uuid", ""}, 400, "VALIDATION_FAILED", "[platform uuid]"},
		"another platform":          {good, []string{"platform", "fincode"}, 400, "VALIDATION_FAILED", "[platform]"},
		"a plain password":          {good, nil, 400, "PAYLOAD_NOT_ENCRYPTED", "[payloadEncrypted]"},
		"no key file of the tenant": {customer("a@example.com", `"payloadEncrypted":false`, `"payloadEncrypted":true`), nil, 503, "UNAVAILABLE", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.fincode(test.body, append([]string{"platform", "remit"}, test.headers...)...)
			code, fields := a.envelope(t)
			if a.status != test.status || code != test.code || fmt.Sprint(fields) != test.fields {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			if (a.status == 503) != (a.header.Get("Retry-After") != "") {
				t.Errorf("headers %v", a.header)
			}
		})
	}
	if s, err := w.bus(events.Ledger).JetStream().Stream(t.Context(), bus.Registrations); err != nil || s.CachedInfo().State.Msgs != 0 {
		t.Errorf("something was stored: %v", err)
	}
}

func TestABrowserAsksBeforeItSendsToFincode(t *testing.T) {
	const origin = "https://app.remit.example"
	w := newWorldOf(t, anonymous, "    mail: {from: no-reply@remitjunction.example}", "    mail: {from: no-reply@remitjunction.example}\n    corsOrigins: ["+origin+"]")
	a := w.do(http.MethodOptions, fincodePath, nil, "Origin", origin, "Access-Control-Request-Method", "POST", "Authorization", "")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != origin || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "uuid") {
		t.Errorf("answered %d %v", a.status, a.header)
	}
	if a := w.do(http.MethodOptions, fincodePath, nil, "Origin", "https://other.example"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %v", a.header)
	}
}

func TestADisabledTenantOfFincodeTakesNobody(t *testing.T) {
	w := newWorldOf(t, anonymous, "name: RemitJunction", "name: RemitJunction\n    disabled: true")
	a := w.fincode(customer("a@example.com"))
	if code, _ := a.envelope(t); a.status != 403 || code != "TENANT_DISABLED" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

func TestACapOnUnfinishedRegistrationsHoldsInFincode(t *testing.T) {
	w := newWorldOf(t, anonymous, "    mail: {from: no-reply@remitjunction.example}", "    mail: {from: no-reply@remitjunction.example}\n    limits: {maxUnfinished: 1}")
	if a := w.fincode(customer("a@example.com"), "Prefer", "respond-async"); a.status != 202 {
		t.Fatalf("the first: %d %s", a.status, a.body)
	}
	a := w.fincode(customer("b@example.com"), "Prefer", "respond-async")
	if code, _ := a.envelope(t); a.status != 429 || code == "" || a.header.Get("Retry-After") == "" {
		t.Errorf("the second: %d %s", a.status, a.body)
	}
}
