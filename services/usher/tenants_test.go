package usher

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/pkg/tenant"
)

// twoTenants both have all four dialects and all unique values.
func twoTenants(t *testing.T) string {
	t.Helper()
	demo, _, found := bytes.Cut(tenant.DemoFile(), []byte("\ntenants:\n"))
	if !found {
		t.Fatal("the demonstration has no tenants")
	}
	config := string(demo) + "\ntenants:\n"
	for _, id := range []string{"first", "other"} {
		config += strings.ReplaceAll(`  - id: TENANT
    name: One Name
    dialects:
      native: true
      finhub: {lenientHeaders: true}
      fincode: {auth: none, hostLabel: TENANT, allowPlain: true}
      candescent: {institutionId: TENANT, disclosures: [{id: online-banking-agreement, version: "1"}]}
    unique: [email, username, memberNumber, nationalId]
    catalog: individuals
    policy: standard
    mail: {from: no-reply@TENANT.example}
`, "TENANT", id)
	}
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// dialectRequest registers somebody in one dialect: EMAIL, LOGIN, MEMBER and SSN stand for what
// is theirs alone, TENANT for whom they are registered.
type dialectRequest struct {
	path, body string
	headers    []string
	created    int
}

func dialectRequests(t *testing.T) map[string]dialectRequest {
	t.Helper()
	requests := map[string]dialectRequest{
		"native": {"/v1/registrations", `{"applicant":{"givenName":"Ingrid","familyName":"Solveig","email":"EMAIL","birthDate":"1990-05-15","nationalId":{"type":"US_SSN","value":"SSN"}},
			"credentials":{"username":"LOGIN","password":"seven quiet lanterns"},"memberNumber":"MEMBER"}`, []string{"Prefer", "wait=10"}, http.StatusCreated},
		"finhub": {finhubPath, `{"firstName":"Ingrid","lastName":"Solveig","email":"EMAIL","phone":"+37060012345","password":"SecurePass123!","matchingPassword":"SecurePass123!","roleIds":["USER"],
			"individualCustomer":{"person":{"firstName":"Ingrid","lastName":"Solveig","email":"EMAIL"},"user":{"username":"LOGIN"}}}`, noHeaders, http.StatusOK},
		"fincode": {fincodePath, fincodeRequest(t, "plain.request.json", "john.doe+test@example.com", "EMAIL"), []string{"platform", "fincode", "uuid", "200"}, http.StatusOK},
	}
	headers := []string{"di_tid", "0188b2a4-5f0c-7d1e-9a3b-1c2d3e4f5a6b", "offering_id", "offer-1"}
	everything := customer{ssn: "SSN", member: "MEMBER", login: "LOGIN", email: "EMAIL"}
	for _, notation := range []string{"json", "xml"} {
		requests["candescent "+notation] = dialectRequest{"/registration/v4/fis/TENANT/fiCustomers", everything.request(t, notation),
			append(headers, "Content-Type", "application/"+notation), http.StatusOK}
	}
	return requests
}

// of is the request of the person that a number stands for. Persons of two numbers differ in
// what is theirs alone, and not in the length of it.
func (q dialectRequest) of(tenant string, number int) (path, body string) {
	fill := strings.NewReplacer("TENANT", tenant, "EMAIL", fmt.Sprintf("person%04d@example.com", number), "LOGIN", fmt.Sprintf("person.%04d", number),
		"MEMBER", fmt.Sprintf("M%04d", number), "SSN", fmt.Sprintf("41122%04d", number))
	return fill.Replace(q.path), fill.Replace(q.body)
}

func (d *dev) registersAs(q dialectRequest, tenant string, number int, key string) answer {
	d.t.Helper()
	path, body := q.of(tenant, number)
	request, err := http.NewRequest(http.MethodPost, d.gateway(path), strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for h := range slices.Chunk(slices.Concat([]string{"Authorization", "Bearer " + testToken, "X-Tenant-ID", tenant,
		"Content-Type", "application/json", "Idempotency-Key", key}, q.headers), 2) {
		request.Header.Set(h[0], h[1])
	}
	a, err := send(request)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

var (
	anyID   = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	anyOne  = regexp.MustCompile(`(person\.?|M|41122)\d{4}\b`)
	anyTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	anyMail = regexp.MustCompile(`ACCOUNT_CREATED|ACTIVATION_SENT`) // the mail may be sent before the answer is read
	trace   = regexp.MustCompile(`00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]`)
)

// look is all that a client sees of an answer, but for what is new in every answer.
func (a answer) look() string {
	var b strings.Builder
	fmt.Fprintln(&b, a.status)
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		if name != "Date" && name != "Content-Length" { // the length of a time is not always the same
			fmt.Fprintln(&b, name, a.header[name])
		}
	}
	b.Write(a.body)
	text := b.String()
	for _, varies := range []*regexp.Regexp{anyTime, anyMail, trace, anyID, anyOne} {
		text = varies.ReplaceAllString(text, "…")
	}
	return text
}

func TestTenantsAreIndependentInEveryDialect(t *testing.T) {
	cheapHash(t)
	config := twoTenants(t)
	d := startDev(t, t.TempDir(), devOptions{}, func(c *devCommand) { c.Config = config })
	number := 0
	for name, q := range dialectRequests(t) {
		number += 2
		known, unknown := number, number+1
		t.Run(name, func(t *testing.T) {
			first := d.registersAs(q, "first", known, name)
			elsewhere := d.registersAs(q, "other", known, name)
			nowhere := d.registersAs(q, "other", unknown, name+" of nobody")
			if first.status != q.created || first.header.Get("X-Registration-ID") == "" || first.header.Get("X-Registration-ID") == elsewhere.header.Get("X-Registration-ID") {
				t.Fatalf("%d %s\n%d %s", first.status, first.body, elsewhere.status, elsewhere.body)
			}
			if diff := cmp.Diff(nowhere.look(), elsewhere.look()); diff != "" || nowhere.status != q.created {
				t.Errorf("who is registered with another tenant is told apart from who is registered nowhere:\n%s", diff)
			}
			again := d.registersAs(q, "other", known, name)
			if again.header.Get("X-Registration-ID") != elsewhere.header.Get("X-Registration-ID") || again.status != q.created {
				t.Errorf("the key in its own tenant: %d %s", again.status, again.body)
			}
			twice := d.registersAs(q, "other", known, name+" again")
			if id := twice.header.Get("X-Registration-ID"); twice.status < 400 || id == "" || strings.Contains(fmt.Sprint(twice.header, string(twice.body)), elsewhere.header.Get("X-Registration-ID")) {
				t.Errorf("the same person twice in one tenant: %d %v %s", twice.status, twice.header, twice.body)
			}
		})
	}
}

func TestARegistrationOfAnotherTenantIsOneThatIsNotThere(t *testing.T) {
	cheapHash(t)
	config := twoTenants(t)
	d := startDev(t, t.TempDir(), devOptions{}, func(c *devCommand) { c.Config = config })
	const nobody = "17d2381b-014b-8ced-b752-91fc2f8e1035"
	number := 5000
	for name, q := range dialectRequests(t) {
		number++
		id := d.registersAs(q, "first", number, name).header.Get("X-Registration-ID")
		if id == "" {
			t.Fatalf("%s: not registered", name)
		}
		for _, c := range []struct{ method, path, body string }{
			{"GET", "/v1/registrations/ID", ""},
			{"GET", "/v1/registrations/ID/events", ""},
			{"POST", "/v1/registrations/ID/activation", `{"code":"AAAAAAAAAAAAAAAA"}`},
			{"POST", "/v1/registrations/ID/activation/resend", ""},
			{"POST", "/api/v2.1/customer/individual/ID/activation", `{"code":"AAAAAAAAAAAAAAAA"}`},
			{"POST", "/api/v2.1/customer/individual/cust_ID/activation", `{"userId":"ingrid","code":"AAAAAAAAAAAAAAAA"}`},
		} {
			ask := func(tenant, id string) answer {
				fill := strings.NewReplacer("ID", id)
				return d.do(c.method, d.gateway(fill.Replace(c.path)), tenant, []byte(fill.Replace(c.body)))
			}
			foreign, absent := ask("other", id), ask("other", nobody)
			if diff := cmp.Diff(absent.look(), foreign.look()); diff != "" || absent.status != http.StatusNotFound {
				t.Errorf("%s: %s %s: %d, and\n%s", name, c.method, c.path, absent.status, diff)
			}
			if strings.HasSuffix(c.path, "/events") {
				continue // it would stay open until the registration ends
			}
			if own := ask("first", id); own.status == http.StatusNotFound {
				t.Errorf("%s: %s %s: not there in its own tenant", name, c.method, c.path)
			}
		}
	}
}
