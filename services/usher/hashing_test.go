package usher

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var hashQueue = regexp.MustCompile(`(?m)^usher_hash_queue\{[^}]*\} (\d+)`)

// hashQueue is how many passwords wait to be hashed, as the metrics tell.
func (d *dev) hashQueue() int {
	d.t.Helper()
	found := hashQueue.FindSubmatch(d.do(http.MethodGet, d.gateway("/metrics"), cloudVault, nil).body)
	if found == nil {
		d.t.Fatal("the metrics do not tell how many passwords wait")
	}
	n, _ := strconv.Atoi(string(found[1]))
	return n
}

func TestFiveHundredRegistrationsThatAreHashedKeepNobodyElseWaiting(t *testing.T) {
	cheapHash(t)
	t.Setenv("ACCOUNTS_ARGON2", "m=19456,t=1,p=1")
	t.Setenv("ACCOUNTS_HASH_MEMORY", "38") // two at once on any machine: they queue
	d := startDev(t, t.TempDir(), devOptions{})
	id := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody("first@example.com")).json(t)["id"].(string)
	code := d.code("first@example.com")

	var lines strings.Builder
	for i := range 500 {
		lines.Write(nativeBody(fmt.Sprintf("person.%d@example.com", i)))
		lines.WriteByte('\n')
	}
	stored := make(chan error, 1)
	go func() {
		request, _ := http.NewRequest(http.MethodPost, d.gateway("/v1/registrations:batch"), strings.NewReader(lines.String()))
		request.Header.Set("Authorization", "Bearer "+testToken)
		request.Header.Set("X-Tenant-ID", cloudVault)
		request.Header.Set("Content-Type", "application/x-ndjson")
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		stored <- err
	}()
	d.eventually(waitLong, "passwords wait to be hashed", func() bool { return d.hashQueue() > 50 })
	if a := d.do(http.MethodPost, d.gateway("/v1/registrations/"+id+"/activation"), cloudVault, fmt.Appendf(nil, `{"code":%q}`, code)); a.status != http.StatusOK {
		t.Errorf("an activation meanwhile: %d %s", a.status, a.body)
	}
	if a := d.do(http.MethodGet, d.ledger("/v1/stats"), cloudVault, nil); a.status != http.StatusOK {
		t.Errorf("the ledger meanwhile: %d", a.status)
	}
	if a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody("last@example.com")); a.status != http.StatusAccepted {
		t.Errorf("a registration meanwhile: %d %s", a.status, a.body)
	}
	if d.hashQueue() == 0 {
		t.Error("all passwords are hashed: the others have waited, or nothing was shown")
	}
	if err := <-stored; err != nil {
		t.Error(err)
	}
}
