package usher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/freeport"
	"github.com/usherhq/usher/services/usher/mailsink"
)

const (
	cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"
	finsei     = "97e7ff29-15f3-49ef-9681-3bbfcce4f6cd"
	testToken  = "token-of-the-tests"
)

// dev is a whole pipeline in this process, with the real broker.
type dev struct {
	t       *testing.T
	command devCommand
	stop    context.CancelFunc
	done    chan error
	logs    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// cheapHash makes hashing fast, and says so in the log.
func cheapHash(t *testing.T) {
	t.Setenv("USHER_DEV_TOKEN", testToken)
	t.Setenv("ACCOUNTS_INSECURE_HASH", "true")
	t.Setenv("ACCOUNTS_ARGON2", "m=8,t=1,p=1")
}

// documents is the store of a pipeline that keeps its data in dir: embedded, or, where
// USHER_TEST_MONGODB names a server, a database of its own there.
func documents(dir string) string {
	if server := os.Getenv("USHER_TEST_MONGODB"); server != "" {
		return server + "/usher_" + sha256Hex(dir)[:16]
	}
	return "sqlite://" + filepath.Join(dir, "store")
}

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// startDev starts a pipeline in dir, which a later one can continue, with the command's options
// changed by prepare.
func startDev(t *testing.T, dir string, o devOptions, prepare ...func(*devCommand)) *dev {
	t.Helper()
	d := &dev{t: t, done: make(chan error, 1), logs: &lockedBuffer{}}
	d.command = devCommand{HTTP: freeAddr(t), Ops: freeAddr(t), NATS: freeAddr(t), Data: dir, Store: documents(dir)}
	for _, change := range prepare {
		change(&d.command)
	}
	o.logs = d.logs
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() { d.done <- d.command.run(ctx, io.Discard, o) }()
	t.Cleanup(d.close)
	d.eventually(30*time.Second, "the pipeline is ready", func() bool {
		response, err := http.Get("http://" + d.command.HTTP + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		ops, err := http.Get("http://" + d.command.Ops + "/readyz")
		if err != nil {
			return false
		}
		ops.Body.Close()
		return response.StatusCode == http.StatusOK && ops.StatusCode == http.StatusOK
	})
	return d
}

func (d *dev) close() {
	if d.stop == nil {
		return
	}
	d.stop()
	d.stop = nil
	select {
	case err := <-d.done:
		if err != nil {
			d.t.Errorf("stopped with %v", err)
		}
	case <-time.After(15 * time.Second):
		d.t.Error("did not stop within 15 s")
	}
}

func (d *dev) eventually(limit time.Duration, what string, is func() bool) {
	d.t.Helper()
	deadline := time.Now().Add(limit)
	for !is() {
		select {
		case err := <-d.done:
			d.t.Fatalf("stopped while waiting until %s: %v\n%s", what, err, d.logs)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("after %v still not: %s\n%s", limit, what, d.logs)
		}
	}
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("answer %d is not a JSON object: %s", a.status, a.body)
	}
	return v
}

// do sends a request as the dev token for a tenant; headers come in pairs.
func (d *dev) do(method, url, tenant string, body []byte, headers ...string) answer {
	d.t.Helper()
	a, err := d.try(method, url, tenant, body, headers...)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *dev) try(method, url, tenant string, body []byte, headers ...string) (answer, error) {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Authorization", "Bearer "+testToken)
	request.Header.Set("X-Tenant-ID", tenant)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	return send(request)
}

func send(request *http.Request) (answer, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, raw}, err
}

func (d *dev) gateway(path string) string { return "http://" + d.command.HTTP + path }
func (d *dev) ledger(path string) string  { return "http://" + d.command.Ops + path }

// mails returns what was sent to an address.
func (d *dev) mails(to string) []mailsink.Mail {
	d.t.Helper()
	var mails []mailsink.Mail
	a := d.do(http.MethodGet, d.ledger("/dev/mail?to="+to), "", nil)
	if err := json.Unmarshal(a.body, &mails); err != nil {
		d.t.Fatal(err)
	}
	return mails
}

var codePattern = regexp.MustCompile(`(?m)^[A-Z2-7]{16}$`)

// code waits for the first mail to an address and returns its code.
func (d *dev) code(to string) string {
	d.t.Helper()
	d.eventually(20*time.Second, "a mail has arrived", func() bool { return len(d.mails(to)) > 0 })
	return codePattern.FindString(d.mails(to)[0].Text)
}

// status reads the status of a registration at the gateway.
func (d *dev) status(tenant, id string) map[string]any {
	d.t.Helper()
	return d.do(http.MethodGet, d.gateway("/v1/registrations/"+id), tenant, nil).json(d.t)
}

func (d *dev) reaches(tenant, id, status string) {
	d.t.Helper()
	d.eventually(20*time.Second, id+" is "+status, func() bool { return d.status(tenant, id)["status"] == status })
}

func nativeBody(email string) []byte {
	return fmt.Appendf(nil, `{"applicant":{"givenName":"Ingrid","familyName":"Solveig","email":%q,"birthDate":"1988-02-03"},"credentials":{"password":"seven quiet lanterns"}}`, email)
}

func finhubBody(t *testing.T, email string) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/finhub_individual.json")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(raw, []byte("marcus.jensen.1773494532320.cmcdd1@mediumrisk-example.com"), []byte(email))
}

// waitLong bounds what takes no time on an idle machine.
const waitLong = 60 * time.Second
