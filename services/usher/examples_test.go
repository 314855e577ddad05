package usher

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// buildExamples compiles the example subscribers, and returns the directory they are in.
func buildExamples(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "./...")
	build.Dir, build.Env = "../../events/examples", append(os.Environ(), "GOWORK=off")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return bin
}

// example is one that runs, and what it printed.
type example struct {
	t    *testing.T
	out  lockedBuffer
	stop context.CancelFunc
	done chan error
}

// runExample runs one until stop or the end of the test.
func runExample(t *testing.T, env string, program string, args ...string) *example {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	x := &example{t: t, stop: stop, done: make(chan error, 1)}
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Stdout, c.Stderr = append(os.Environ(), env), &x.out, &x.out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { x.done <- c.Wait() }()
	t.Cleanup(stop)
	return x
}

func (x *example) kill() {
	x.stop()
	<-x.done
}

// prints waits until it has printed these lines and nothing else but who reads.
func (x *example) prints(want []string) {
	x.t.Helper()
	for end := time.Now().Add(waitLong); !slices.Equal(withoutReads(strings.Split(strings.TrimSpace(x.out.String()), "\n")), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("it printed\n%swant\n%s", x.out.String(), strings.Join(want, "\n"))
		}
	}
}

func withoutReads(lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, events.RecordAccessed{}.Type()) })
}

func TestTheExamplesAreShort(t *testing.T) {
	files, err := filepath.Glob("../../events/examples/*/main.go")
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(raw, []byte("\n")); lines >= 60 {
			t.Errorf("%s has %d lines", file, lines)
		}
	}
}

func TestTheExamplesPrintTheFeedInOrderAndGoOnWhereTheyWere(t *testing.T) {
	cheapHash(t)
	bin := buildExamples(t)
	d := startDev(t, t.TempDir(), devOptions{})
	js := d.jetStream(t)
	t.Setenv("NATS_URL", "nats://"+d.command.NATS)
	if said, code := says(t, "subscribers", "add", cloudVault, "example"); code != 0 {
		t.Fatal(said)
	}
	cursor := filepath.Join(t.TempDir(), "cursor")
	// registered sends one, and returns what the feed has after its mail.
	mails := 0
	registered := func() (lines []string) {
		d.register(nativeBody(fmt.Sprintf("example.%d@example.com", mails)))
		mails++
		d.eventually(waitLong, "the mail is told of", func() bool {
			lines = nil
			for _, m := range readAll(t, js, bus.FeedStream(cloudVault)) {
				lines = append(lines, m.Header.Get("ce-type")+" "+m.Header.Get("ce-id"))
			}
			return strings.Count(strings.Join(lines, "\n"), events.ActivationSent{}.Type()) == mails
		})
		return withoutReads(lines)
	}
	kept := func() string { raw, _ := os.ReadFile(cursor); return string(raw) }
	before := 0
	for range 3 {
		all, old := registered(), kept()
		onBroker := runExample(t, "", filepath.Join(bin, "nats"), cloudVault, "example")
		overHTTP := runExample(t, "TOKEN="+testToken, filepath.Join(bin, "feed"), "http://"+d.command.Ops, cloudVault, cursor)
		onBroker.prints(all[before:])
		overHTTP.prints(all[before:])
		d.eventually(waitLong, "the broker and the file have their places", func() bool {
			c, err := js.Consumer(t.Context(), bus.FeedStream(cloudVault), "example")
			return err == nil && c.CachedInfo().AckFloor.Stream >= uint64(len(all)) && kept() != "" && kept() != old
		})
		onBroker.kill()
		overHTTP.kill()
		before = len(all)
	}
}

func TestTheExampleOfAWebhookTakesOnceWhatIsSigned(t *testing.T) {
	bin := buildExamples(t)
	key := make([]byte, 24)
	_, _ = rand.Read(key)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddr(t)
	x := runExample(t, "WEBHOOK_SECRET="+secret, filepath.Join(bin, "webhook"), address)
	const body = `{"id":"reg.acme.r1.account.1","type":"account.created","data":{}}`
	send := func(change func(r *http.Request)) (int, error) {
		now := time.Now()
		signature, err := signer.Sign("msg_1", now, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(http.MethodPost, "http://"+address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"webhook-id": "msg_1", "webhook-timestamp": fmt.Sprint(now.Unix()), "webhook-signature": signature} {
			r.Header.Set(name, value)
		}
		change(r)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		a.Body.Close()
		return a.StatusCode, nil
	}
	for end := time.Now().Add(waitLong); ; time.Sleep(5 * time.Millisecond) {
		if code, err := send(func(*http.Request) {}); err == nil && code == http.StatusNoContent {
			break
		} else if time.Now().After(end) {
			t.Fatal(code, err)
		}
	}
	for name, c := range map[string]struct {
		code   int
		change func(r *http.Request)
	}{
		"the same again":    {http.StatusNoContent, func(*http.Request) {}},
		"another id":        {http.StatusUnauthorized, func(r *http.Request) { r.Header.Set("webhook-id", "msg_2") }},
		"another time":      {http.StatusUnauthorized, func(r *http.Request) { r.Header.Set("webhook-timestamp", fmt.Sprint(time.Now().Unix()-7)) }},
		"without signature": {http.StatusUnauthorized, func(r *http.Request) { r.Header.Del("webhook-signature") }},
		"another body": {http.StatusUnauthorized, func(r *http.Request) {
			r.Body = http.NoBody
			r.ContentLength = 0
		}},
	} {
		if code, err := send(c.change); code != c.code {
			t.Errorf("%s answers %d, %v", name, code, err)
		}
	}
	x.prints([]string{"account.created reg.acme.r1.account.1"})
}
