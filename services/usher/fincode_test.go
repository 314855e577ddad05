package usher

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usherhq/usher/pkg/keys"
)

const (
	remitJunction = "remitjunction"
	fincodePath   = "/api/v6/services/usermanagement/register-customer"
)

// fincodeRequest is a request that the vendor's page prints, with edits.
func fincodeRequest(t *testing.T, file string, edits ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../gateway/fincode/testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(edits...).Replace(string(raw))
}

// fincode registers as the page's curl does: without a token and without a tenant.
func (d *dev) fincode(body string) answer {
	d.t.Helper()
	request, err := http.NewRequest(http.MethodPost, d.gateway(fincodePath), strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header = http.Header{"Content-Type": {"application/json"}, "Platform": {"fincode"}, "Uuid": {"200"}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, raw}
}

// fincodeKey is the public key that dev publishes.
func (d *dev) fincodeKey() *rsa.PublicKey {
	d.t.Helper()
	a := d.do(http.MethodGet, d.ledger("/dev/fincode-public-key"), "", nil)
	der, err := base64.StdEncoding.Strict().DecodeString(string(a.body))
	if err != nil || a.status != http.StatusOK || strings.ContainsAny(string(a.body), "\r\n") {
		d.t.Fatalf("public key: %d %q, %v", a.status, a.body, err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		d.t.Fatal(err)
	}
	return public.(*rsa.PublicKey)
}

const printedCiphertext = "O5ti8XI/pLYC27E+ehORvg2YplXqX3ckoS7Kzk9cEdtC+LSzVICID9c/Tzsi0V5d..."

func encryptFor(t *testing.T, public *rsa.PublicKey, mask crypto.Hash, password string) string {
	t.Helper()
	sealed, err := rsa.EncryptOAEPWithOptions(rand.Reader, public, []byte(password), &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: mask})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sealed)
}

// activated checks a 200 and follows the customer to the activated account.
func (d *dev) activated(a answer, email string) {
	d.t.Helper()
	if a.status != http.StatusOK {
		d.t.Fatalf("answer %d %s", a.status, a.body)
	}
	var got map[string]string
	if err := json.Unmarshal(a.body, &got); err != nil {
		d.t.Fatal(err)
	}
	id := got["customerId"]
	if len(got) != 3 || id == "" || got["status"] != "PENDING_ACTIVATION" || got["message"] != "Customer registered successfully" {
		d.t.Errorf("answer %s", a.body)
	}
	activation := d.gateway("/v1/registrations/" + id + "/activation")
	if a := d.do(http.MethodPost, activation, remitJunction, fmt.Appendf(nil, `{"code":%q}`, d.code(email))); a.status != http.StatusOK {
		d.t.Errorf("the activation answers %d %s", a.status, a.body)
	}
	d.reaches(remitJunction, id, "ACTIVATED")
}

func TestEveryRequestThatFincodePrintsBecomesAnActivatedAccount(t *testing.T) {
	cheapHash(t)
	for name, options := range map[string]devOptions{"plain": {}, "every handler run twice": {twice: true}} {
		t.Run(name, func(t *testing.T) {
			d := startDev(t, t.TempDir(), options)
			public := d.fincodeKey()
			sealed := func(mask crypto.Hash) string { return encryptFor(t, public, mask, "SecurePass123!") }
			for email, body := range map[string]string{
				"john.doe+test@example.com":         fincodeRequest(t, "plain.request.json"),
				"excel.nwachukwu+2@fincode.co.uk":   fincodeRequest(t, "encrypted.request.json", printedCiphertext, sealed(crypto.SHA256)),
				"excel.nwachukwu+3@fincode.co.uk":   fincodeRequest(t, "program.request.json", printedCiphertext, sealed(crypto.SHA1)),
				"acme.24@example.com":               fincodeRequest(t, "plain.request.json", "INDIVIDUAL", "COMPANY", "John", "Acme 24", "john.doe+test", "acme.24", `"dynamicFields": {}`, `"dynamicFields": {"companyName": "Acme 24 Ltd."}`),
				"an.other.tag+and.tags@example.com": fincodeRequest(t, "plain.request.json", "john.doe+test", "an.other.tag+and.tags"),
			} {
				d.activated(d.fincode(body), email)
			}
			again := d.fincode(fincodeRequest(t, "plain.request.json", "john.doe+test", "JOHN.Doe+Test"))
			if again.status != http.StatusConflict || again.json(t)["code"] != "DUPLICATE_EMAIL" {
				t.Errorf("the same address again: %d %s", again.status, again.body)
			}
		})
	}
}

func TestFincodeTellsEverythingThatIsWrongAtOnce(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	for name, test := range map[string]struct {
		edits []string
		want  []string // "field CODE"
	}{
		"many fields": {[]string{`"John"`, `"J0hn"`, "john.doe+test@", "nobody", "1990-05-15T00:00:00+01:00", "2020-05-15", "SecurePass123!", "lower", "United Kingdom", "Atlantis", "GBR", "ZZZ", `"Android"`, `""`},
			[]string{"devicePlatform REQUIRED", "firstName FORMAT", "email FORMAT", "dob UNDER_AGE", "address.country FORMAT", "password TOO_SHORT", "password PASSWORD_WEAK", "password PASSWORD_WEAK", "password PASSWORD_WEAK"}},
		"a common password":        {[]string{"SecurePass123!", "Password123!"}, []string{"password PASSWORD_COMMON"}},
		"a row of keys":            {[]string{"SecurePass123!", "Qwerty123!"}, []string{"password PASSWORD_COMMON"}},
		"a greeting":               {[]string{"SecurePass123!", "Welcome1!"}, []string{"password PASSWORD_COMMON"}},
		"a password like the name": {[]string{`"Doe"`, `"Doewell"`, "SecurePass123!", "MyDoewell7!"}, []string{"password PASSWORD_RESEMBLES"}},
		"two numbers of two lands": {[]string{"973 293 74813", "+33 612345678"}, []string{"phone DISAGREES"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.fincode(fincodeRequest(t, "plain.request.json", test.edits...))
			var got struct {
				Code, Message string
				Errors        []struct{ Field, Code, Message string }
			}
			if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusBadRequest || got.Code != "VALIDATION_FAILED" {
				t.Fatalf("answer %d %s", a.status, a.body)
			}
			var found []string
			for _, e := range got.Errors {
				found = append(found, e.Field+" "+e.Code)
			}
			if !slices.Equal(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}

func TestWhatACustomerOfFincodeSendsIsSealed(t *testing.T) {
	cheapHash(t)
	dir := t.TempDir()
	d := startDev(t, dir, devOptions{})
	secrets := []string{"Zeisigkestrel", "Wendehals", "zaunkoenig@example.com", "97329374813", "Pirol Lane", "turteltaube-4711", "gelbspoetter-client"}
	body := fincodeRequest(t, "plain.request.json", "John", secrets[0], `"Doe"`, `"Wendehals"`, "john.doe+test@example.com", secrets[2], "973 293 74813", secrets[3],
		"123 High Street", secrets[4], `"dynamicFields": {}`, `"dynamicFields": {"nickname": "turteltaube-4711"}`)
	a := d.do(http.MethodPost, d.gateway(fincodePath), remitJunction, []byte(body), "platform", "fincode", "uuid", secrets[6])
	d.activated(a, secrets[2])
	d.close()
	checkNothingInClear(t, dir, d.logs.String(), append(secrets, "SecurePass123!")...)
}

func TestDevKeepsItsKeyAndPublishesTheNewest(t *testing.T) {
	cheapHash(t)
	dir := t.TempDir()
	d := startDev(t, dir, devOptions{})
	first := d.fincodeKey()
	d.close()
	d = startDev(t, dir, devOptions{})
	if again := d.fincodeKey(); !again.Equal(first) {
		t.Error("a restart made another key")
	}
	if _, err := keys.AddRSA(filepath.Join(dir, "keys"), remitJunction, devRSABits); err != nil {
		t.Fatal(err)
	}
	if d.fincodeKey().Equal(first) {
		t.Error("the newest key is not the one that is published")
	}
	body := fincodeRequest(t, "encrypted.request.json", printedCiphertext, encryptFor(t, first, crypto.SHA256, "SecurePass123!"))
	if a := d.fincode(body); a.status != http.StatusOK {
		t.Errorf("under the first key: %d %s", a.status, a.body)
	}
}

func TestCustomersRegisterWithTheCryptographyOfNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("NOT RUN: a registration by Node's cryptography. There is no node here")
	}
	byProgram(t, "node@example.com", node, "testdata/fincode/register.mjs")
}

func TestCustomersRegisterWithTheCryptographyOfJava(t *testing.T) {
	java, err := exec.LookPath("java")
	if err == nil {
		_, err = exec.LookPath("javac") // java compiles the one file by the same means
	}
	if err != nil {
		t.Skip("NOT RUN: a registration by Java's cryptography. There is no Java with its compiler here")
	}
	byProgram(t, "java@example.com", java, "testdata/fincode/Register.java")
}

// byProgram runs a client in another language, which prints the answer it got.
func byProgram(t *testing.T, email string, command ...string) {
	t.Helper()
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	program := exec.CommandContext(t.Context(), command[0], append(command[1:], d.gateway(""), d.ledger(""), email)...)
	var complaints strings.Builder
	program.Stderr = &complaints
	body, err := program.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, body, &complaints)
	}
	d.activated(answer{http.StatusOK, nil, body}, email)
}
