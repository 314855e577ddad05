package usher

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/usherhq/usher/services/usher/submit"
)

func TestAFileThatIsInterruptedIsSubmittedOnceAndBadRowsHaveReasons(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	rows := scale(t, 1000)
	file := filepath.Join(t.TempDir(), "customers.csv")
	var content bytes.Buffer
	fmt.Fprintln(&content, "Given,Family,E-Mail,Born,Password,Segment")
	for i := range rows {
		born := "1988-02-03"
		if i%1000 == 7 {
			born = "1988-02-03,too,many"
		}
		mail := fmt.Sprintf("ingrid%d@example.com", i)
		if i%1000 == 13 {
			mail = "no address"
		}
		fmt.Fprintf(&content, "Ingrid,Solveig,%s,%s,seven quiet lanterns,%d\n", mail, born, i)
	}
	if err := os.WriteFile(file, content.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"submit", file, "--tenant", cloudVault, "--map", "Given=applicant.givenName", "--map", "Family=applicant.familyName",
		"--map", "Born=applicant.birthDate", "--map", "Segment=attributes.segment", "--map", "E-Mail=applicant.email", "--output", "json"}

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, errs bytes.Buffer
	through := interrupting(t, "http://"+d.command.HTTP, rows/3, interrupt)
	if code := execute(ctx, append(args, "--url", through), &out, &errs); code != exitInterrupted || !strings.Contains(errs.String(), "the same command goes on") {
		t.Fatalf("interrupted: code %d\n%s%s", code, out.String(), errs.String())
	}

	out.Reset()
	errs.Reset()
	code := execute(t.Context(), append(args, "--url", "http://"+d.command.HTTP, "--outcomes", "--wait", "5m"), &out, &errs)
	var done submit.Summary
	if err := json.Unmarshal(out.Bytes(), &done); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	bad := rows / 1000
	if code != exitFailed || done.Rows != int64(rows) || done.Stored != int64(rows-bad) || done.Refused != int64(bad) || !strings.Contains(errs.String(), done.Results) {
		t.Errorf("code %d, %+v\n%s", code, done, errs.String())
	}
	ids := map[string]bool{}
	raw, err := os.ReadFile(done.Results)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var r submit.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.ID != "" {
			ids[r.ID] = true
		} else if !strings.Contains(r.Reason, "wrong number of fields") || (r.Line-2)%1000 != 7 {
			t.Errorf("%+v", r)
		}
	}
	if len(ids) != rows-bad || bytes.Contains(raw, []byte("ingrid")) {
		t.Errorf("%d registrations for %d rows, or the results have persons", len(ids), rows-bad)
	}
	down, err := os.ReadFile(done.OutcomeFile)
	if err != nil || bytes.Count(down, []byte("\n")) != bad || int64(bad) != done.TurnedDown || done.Outcomes["REJECTED"] != int64(bad) ||
		!bytes.Contains(down, []byte(`"line":15,`)) || !bytes.Contains(down, []byte(`"codes":["FORMAT"]`)) {
		t.Errorf("%v, %+v\n%s", err, done, down)
	}
	d.eventually(waitLong, "the ledger knows all", func() bool { return d.known(cloudVault) >= int64(rows-bad) })
	if n := d.known(cloudVault); n != int64(rows-bad) {
		t.Errorf("%d registrations for %d rows", n, rows-bad)
	}
}

// interrupting is a way to a gateway that hands on so many lines of its answers, then interrupts.
func interrupting(t *testing.T, gateway string, lines int, interrupt func()) (url string) {
	t.Helper()
	to, err := neturl.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(lines))
	way := httputil.NewSingleHostReverseProxy(to)
	way.FlushInterval = -1
	way.ErrorLog = log.New(io.Discard, "", 0)
	way.ModifyResponse = func(r *http.Response) error {
		r.Body = &counted{r.Body, &left, interrupt}
		return nil
	}
	s := httptest.NewServer(way)
	t.Cleanup(s.Close)
	return s.URL
}

// counted interrupts when no line is left, and hands on no more.
type counted struct {
	io.ReadCloser
	left      *atomic.Int64
	interrupt func()
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.left.Add(-int64(bytes.Count(p[:n], []byte("\n")))) <= 0 {
		c.interrupt()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// known is how many registrations of a tenant the ledger has.
func (d *dev) known(tenant string) (n int64) {
	d.t.Helper()
	var stats struct{ Statuses map[string]int64 }
	if a := d.do(http.MethodGet, d.ledger("/v1/stats"), tenant, nil); json.Unmarshal(a.body, &stats) != nil {
		d.t.Fatalf("%d %s", a.status, a.body)
	}
	for _, of := range stats.Statuses {
		n += of
	}
	return n
}

func TestSubmitSaysWhatToDo(t *testing.T) {
	t.Setenv("USHER_TOKEN", "")
	t.Setenv("USHER_DEV_TOKEN", "")
	file := filepath.Join(t.TempDir(), "a.csv")
	if err := os.WriteFile(file, []byte("email,shoes\na@example.com,44\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	away := "http://" + freeAddr(t)
	for sentence, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no token":               {[]string{file}, exitUsage, "--token-file"},
		"no file":                {[]string{file + "x"}, exitUsage, "no such file"},
		"a format of no name":    {[]string{token, "--token-file", token}, exitUsage, "--format"},
		"a column without place": {[]string{file, "--token-file", token}, exitFailed, "--map 'shoes="},
		"nobody at --url":        {[]string{file, "--token-file", token, "--map", "shoes=", "--url", away, "--patience", "1ms"}, exitFailed, "is --url right?"},
		"an address that is no URL": {[]string{file, "--token-file", token, "--map", "shoes=", "--url", "http://%zz", "--patience", "1ms"}, exitFailed,
			"--url is not the address"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := execute(t.Context(), append([]string{"submit"}, test.args...), &out, &errs)
			if code != test.code || !strings.Contains(errs.String(), test.want) || strings.Contains(out.String()+errs.String(), secret) {
				t.Errorf("code %d\n%s%s", code, out.String(), errs.String())
			}
		})
	}
}
