package usher

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

const institution = "01111"

// customer is who registers; the zero value's empty fields stand as in the example.
type customer struct{ ssn, member, login, email string }

// request returns the example of a notation, xml or json, for this customer.
func (c customer) request(t *testing.T, notation string) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/candescent." + notation)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range [][2]string{{"123456789", c.ssn}, {"468531842", c.member}, {"test.user1", c.login}, {"test.user@example.com", c.email}} {
		if v[1] != "" {
			raw = bytes.ReplaceAll(raw, []byte(v[0]), []byte(v[1]))
		}
	}
	return string(raw)
}

// registers sends a request to an institution.
func (d *dev) registers(institution, notation, body string, headers ...string) answer {
	d.t.Helper()
	a, err := d.tryToRegister(institution, notation, body, headers...)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *dev) tryToRegister(institution, notation, body string, headers ...string) (answer, error) {
	request, err := http.NewRequest(http.MethodPost, d.gateway("/registration/v4/fis/"+institution+"/fiCustomers"), strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i, h := 0, append([]string{"Authorization", "Bearer " + testToken, "Content-Type", "application/" + notation,
		"di_tid", "0188b2a4-5f0c-7d1e-9a3b-1c2d3e4f5a6b", "offering_id", "offer-1"}, headers...); i < len(h); i += 2 {
		request.Header.Set(h[i], h[i+1])
	}
	return send(request)
}

// profile is what a client reads of a success.
type profile struct {
	XMLName xml.Name `xml:"FICustomer"`
	ID      string   `xml:"id>value"`
	IDType  string   `xml:"id>type"`
	FIID    string   `xml:"fiId"`
	Login   string   `xml:"channelInfos>channelInfo>credential>loginId"`
}

func (a answer) profile(t *testing.T) profile {
	t.Helper()
	var p profile
	if err := xml.Unmarshal(a.body, &p); err != nil || a.status != http.StatusOK || p.ID != a.header.Get("X-Registration-ID") || p.IDType != "GUID" {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return p
}

func (a answer) errorCodes(t *testing.T) []string {
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

func (a answer) refuses(t *testing.T, what string, status int, codes ...string) {
	t.Helper()
	if got := a.errorCodes(t); a.status != status || !slices.Equal(got, codes) {
		t.Errorf("%s: %d %v, want %d %v", what, a.status, got, status, codes)
	}
}

func TestAThirdPartyRegistersCustomersInXMLAndInJSON(t *testing.T) {
	cheapHash(t)
	for name, options := range map[string]devOptions{"plain": {}, "every handler run twice": {twice: true}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := startDev(t, dir, options)
			people := map[string]customer{
				"xml":  {ssn: "411223331", member: "XML468531", login: "kanarien.vogel", email: "canary@example.com"},
				"json": {ssn: "411223332", member: "JSON46853", login: "gelb.feder", email: "feather@example.com"},
			}
			for notation, c := range people {
				p := d.registers(institution, notation, c.request(t, notation)).profile(t)
				if p.FIID != institution || p.Login != c.login {
					t.Errorf("%s: profile %+v", notation, p)
				}
				d.reaches(institution, p.ID, "ACTIVATION_SENT") // the mail can be there before its event
				activation := d.gateway("/v1/registrations/" + p.ID + "/activation")
				if a := d.do(http.MethodPost, activation, institution, fmt.Appendf(nil, `{"code":%q}`, d.code(c.email))); a.status != http.StatusOK {
					t.Errorf("%s: the activation answers %d %s", notation, a.status, a.body)
				}
				checkStages(t, d.status(institution, p.ID))
			}
			known := people["xml"]
			d.registers(institution, "json", known.request(t, "json")).refuses(t, "the same person", 409, "26331")
			d.registers(institution, "xml", customer{ssn: known.ssn}.request(t, "xml")).refuses(t, "the same SSN", 409, "26331")
			d.registers(institution, "xml", customer{member: strings.ToLower(known.member)}.request(t, "xml")).refuses(t, "the same member number", 409, "26331")
			d.registers(institution, "xml", customer{login: strings.ToUpper(known.login)}.request(t, "xml")).refuses(t, "the same user name", 400, "26201")
			d.registers(institution, "xml", customer{email: known.email}.request(t, "xml")).profile(t) // a spouse
			checkCustomersStream(t, d)
			if !strings.Contains(d.logs.String(), "RegistrationUser") || !strings.Contains(d.logs.String(), "THIRD_PARTY_REGISTRATION") {
				t.Error("the log lacks the vendor's audit facts")
			}
			d.close()
			checkNothingInClear(t, dir, d.logs.String(), known.ssn, known.member, known.login, "Walnut-42", people["json"].ssn)
		})
	}
}

func checkCustomersStream(t *testing.T, d *dev) {
	t.Helper()
	js := d.jetStream(t)
	audited := 0
	for _, m := range readAll(t, js, bus.Registrations) {
		validateEvent(t, m.Subject, m.Header, m.Data)
		if bytes.Contains(m.Data, []byte(`"audit":{"event":"RegistrationUser","channelType":"TPV_API","userProduct":"THIRD_PARTY_REGISTRATION"}`)) {
			audited++
		}
	}
	if audited != 7 {
		t.Errorf("%d events have audit facts, want 7", audited)
	}
	if dead := readAll(t, js, bus.DeadLetters); len(dead) != 0 {
		t.Errorf("%d dead letters, the first because of %s", len(dead), dead[0].Header.Get(bus.HeaderReason))
	}
}

// checkNothingInClear searches every file but the captured mails.
func checkNothingInClear(t *testing.T, dir, log string, secrets ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, filepath.Join(dir, "mail")) {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s holds %s in clear", path, secret)
			}
		}
		return err
	})
	if err != nil || files < 10 {
		t.Fatalf("searched %d files: %v", files, err)
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}

func TestEveryCodeOfTheVendorsTableComesFromItsCondition(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	repeat := strings.Repeat
	phone, home := "<phoneNumber><number>4065550100</number></phoneNumber>", "<city>Miles City</city>"
	for name, c := range map[string]struct {
		edit []string
		want []string
	}{
		"a member number of 17":             {[]string{">468531842<", ">" + repeat("1", 17) + "<"}, []string{"20006"}},
		"no member number":                  {[]string{"<memberNumber>468531842</memberNumber>", ""}, []string{"20006"}},
		"a member number with a sign":       {[]string{">468531842<", ">46-85<"}, []string{"20006"}},
		"no channel":                        {[]string{"<channelType>TPV_API</channelType>", ""}, []string{"20006"}},
		"another channel":                   {[]string{"TPV_API", "WEB"}, []string{"20006"}},
		"no channel info":                   {[]string{"<channelInfo>", "<x>", "</channelInfo>", "</x>"}, []string{"20006", "220015", "220018"}},
		"no SSN":                            {[]string{"<ssn>123456789</ssn>", ""}, []string{"20006", "220001"}},
		"names of more than 39 together":    {[]string{">Test<", ">" + repeat("a", 30) + "<", ">User<", ">" + repeat("b", 30) + "<"}, []string{"20006"}},
		"an SSN of eight digits":            {[]string{"123456789", "12345678"}, []string{"220001"}},
		"a first name of 40":                {[]string{">Test<", ">" + repeat("a", 40) + "<"}, []string{"20006", "220002"}},
		"no first name":                     {[]string{">Test<", "><"}, []string{"220002"}},
		"a last name of 40":                 {[]string{">User<", ">" + repeat("a", 40) + "<"}, []string{"20006", "220003"}},
		"a middle name of 40":               {[]string{"<middleName/>", "<middleName>" + repeat("a", 40) + "</middleName>"}, []string{"220005"}},
		"an e-mail address of 65":           {[]string{"test.user@", repeat("a", 53) + "@"}, []string{"220006"}},
		"no postal code":                    {[]string{"<postalCode>59301</postalCode>", ""}, []string{"220007"}},
		"no city":                           {[]string{home, ""}, []string{"220008"}},
		"a state of three letters":          {[]string{">MT<", ">MON<"}, []string{"220009"}},
		"no street":                         {[]string{"<address1>100 Main Street</address1>", ""}, []string{"220010"}},
		"no country":                        {[]string{"<country>US</country>", ""}, []string{"220011"}},
		"no maiden name":                    {[]string{">Smith<", ">  <"}, []string{"220012"}},
		"a birth date of another form":      {[]string{"2000-01-01", "01.01.2000"}, []string{"220013"}},
		"no phone":                          {[]string{phone, ""}, []string{"220014"}},
		"a phone of nine digits":            {[]string{"4065550100", "406555010"}, []string{"220014"}},
		"eleven phones":                     {[]string{phone, repeat(phone, 11)}, []string{"26214"}},
		"a login of five":                   {[]string{"test.user1", "abcde"}, []string{"220015"}},
		"a login with a space":              {[]string{"test.user1", "test user1"}, []string{"220015"}},
		"a login of 21":                     {[]string{"test.user1", repeat("a", 21)}, []string{"220019"}},
		"a login that is the member number": {[]string{">468531842<", ">TESTUSER1<", "test.user1", "testuser1"}, []string{"220016"}},
		"a password of letters":             {[]string{"Walnut-42", "walnutwalnut"}, []string{"220018"}},
		"a password in the login":           {[]string{"Walnut-42", ".USER1"}, []string{"220018"}},
		"a disclosure not accepted":         {[]string{"true", "false"}, []string{"DISCLOSURE_NOT_ACCEPTED"}},
		"an empty customer": {[]string{customer{}.request(t, "xml"), "<FICustomer/>"}, []string{"20006", "220001", "220002", "220003", "220006", "220007", "220008", "220009",
			"220010", "220011", "220012", "220013", "220014", "220015", "220018", "DISCLOSURE_NOT_ACCEPTED"}},
	} {
		body := customer{}.request(t, "xml")
		for i := 0; i < len(c.edit); i += 2 {
			if !strings.Contains(body, c.edit[i]) {
				t.Fatalf("%s: %q is not in the example", name, c.edit[i])
			}
			body = strings.Replace(body, c.edit[i], c.edit[i+1], 1)
		}
		d.registers(institution, "xml", body).refuses(t, name, 400, c.want...)
	}
}

func TestTwentyParallelRegistrationsOfOnePersonGiveOneAccount(t *testing.T) {
	cheapHash(t)
	dir := t.TempDir()
	d := startDev(t, dir, devOptions{})
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		answers = map[string]int{}
	)
	for i := range 20 {
		notation := []string{"xml", "json"}[i%2]
		body := customer{login: fmt.Sprint("one.person", i)}.request(t, notation)
		wg.Go(func() {
			a, err := d.tryToRegister(institution, notation, body, "Idempotency-Key", fmt.Sprint("key ", i))
			if err != nil {
				t.Error(err)
				return
			}
			outcome := fmt.Sprint(a.status)
			if a.status != http.StatusOK {
				outcome += fmt.Sprint(a.errorCodes(t))
			}
			mu.Lock()
			defer mu.Unlock()
			answers[outcome]++
		})
	}
	wg.Wait()
	if answers["200"] != 1 || answers["409[26330]"]+answers["409[26331]"] != 19 {
		t.Errorf("answers %v", answers)
	}
	d.close()
	d = startDev(t, dir, devOptions{})
	d.registers(institution, "xml", customer{login: "one.person99"}.request(t, "xml")).refuses(t, "after a restart", 409, "26331")
	d.registers(institution, "xml", customer{ssn: "411223339", member: "other"}.request(t, "xml")).profile(t)
}

func TestInstitutionsKnowNothingOfEachOther(t *testing.T) {
	cheapHash(t)
	const first = "  - id: \"01111\"\n"
	const second = "  - id: \"02222\"\n    name: Second\n    dialects: {candescent: {institutionId: \"02222\"}}\n    unique: [username, memberNumber, nationalId]\n" +
		"    catalog: individuals\n    policy: standard\n    mail: {from: no-reply@second.example}\n"
	config := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(config, bytes.Replace(tenant.DemoFile(), []byte(first), []byte(second+first), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDev(t, t.TempDir(), devOptions{}, func(c *devCommand) { c.Config = config })
	ids := map[string]bool{}
	for _, id := range []string{institution, "02222"} {
		p := d.registers(id, "xml", customer{}.request(t, "xml"), "Idempotency-Key", "the same").profile(t)
		if p.FIID != id {
			t.Errorf("profile of %s", p.FIID)
		}
		ids[p.ID] = true
	}
	if len(ids) != 2 {
		t.Error("two institutions share a registration")
	}
	d.registers("02222", "json", customer{login: "other.login"}.request(t, "json")).refuses(t, "the same person at one of them", 409, "26331")
}
