package usher

import (
	"crypto"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/candescent"
)

// vendorDocument reads a file of USHER_SEEDS by the beginning of its name.
func vendorDocument(t *testing.T, document string) string {
	t.Helper()
	dir := os.Getenv("USHER_SEEDS")
	if dir == "" {
		t.Skip("NOT RUN: USHER_SEEDS is not set; of the vendor's document only the copies of its requests and texts are used")
	}
	files, err := filepath.Glob(filepath.Join(dir, document+"*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files %s* in %s (%v)", len(files), document, dir, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	curlBody     = regexp.MustCompile(`(?s)(?:--data|-d) '\s*(\{.*?\n\s*\})\s*'`)
	printedEmail = regexp.MustCompile(`"email": "([^"@]+)@`)
)

func TestEveryCurlOfFincodesPageIsAcceptedAsPrinted(t *testing.T) {
	text := vendorDocument(t, "000_")
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	public := d.fincodeKey()
	bodies := curlBody.FindAllStringSubmatch(text, -1)
	if len(bodies) != 2 {
		t.Fatalf("found %d requests, the page prints 2", len(bodies))
	}
	for i, printed := range bodies {
		for _, mask := range []crypto.Hash{crypto.SHA256, crypto.SHA1} {
			varied := printedEmail.ReplaceAllString(printed[1], fmt.Sprintf(`"email": "${1}.%d.%d@`, i, mask))
			body := strings.ReplaceAll(varied, printedCiphertext, encryptFor(t, public, mask, "SecurePass123!"))
			if a := d.fincode(body); a.status != http.StatusOK || a.json(t)["message"] != "Customer registered successfully" {
				t.Errorf("request %d: %d %s", i+1, a.status, a.body)
			}
		}
	}
}

var codeRow = regexp.MustCompile(`(?m)^(?:\| (\d+) \| (.*) \|| ?- (\d+): (.*))$`)

func TestEveryCodeOfCandescentsTableIsPrintedAndAskedFor(t *testing.T) {
	text := vendorDocument(t, "004_")
	cases, err := filepath.Glob("../gateway/conformance/candescent/error-*.http")
	if err != nil {
		t.Fatal(err)
	}
	asked := printedInProgress()
	for _, file := range cases {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		asked += string(raw)
	}
	rows := codeRow.FindAllStringSubmatch(text, -1)
	if len(rows) != 23 {
		t.Fatalf("found %d codes, the page prints 23", len(rows))
	}
	for _, row := range rows {
		code, message := row[1]+row[3], strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(row[2]+row[4])
		if !strings.Contains(asked, "<errorCode>"+code+"</errorCode><errorMessage>"+message+"</errorMessage>") {
			t.Errorf("no case has %s %s", code, message)
		}
	}
}

// printedInProgress is the one answer that no case can ask for: it takes a person in flight.
func printedInProgress() string {
	_, body := candescent.Rejected([]events.Violation{{Code: events.CodeInProgress, Field: "person.ssn"}})
	return string(body)
}
