//go:build process

package usher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// outcome is what a batch answers for a line.
type outcome struct {
	Line    int    `json:"line"`
	ID      string `json:"id"`
	Problem *struct {
		Status int    `json:"status"`
		Detail string `json:"detail"`
	} `json:"problem"`
}

// everyBad is how often a line of a batch cannot be read.
const everyBad = 100

func batchOf(lines int) []byte {
	var body bytes.Buffer
	for n := 1; n <= lines; n++ {
		person := string(nativeBody(batchEmail(n)))
		if n%everyBad == 0 {
			person = strings.Replace(person, `"givenName":"Ingrid"`, `"givenName":7`, 1)
		}
		fmt.Fprintf(&body, "%s,\"idempotencyKey\":\"line-%d\"}\n", strings.TrimSuffix(person, "}"), n)
	}
	return body.Bytes()
}

func batchEmail(n int) string { return fmt.Sprintf("line.%d@example.com", n) }

// sendBatch hands each answer over as it comes. Its error is that of a connection cut off.
func (c *cluster) sendBatch(body []byte, each func(outcome)) error {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://"+c.gateway+"/v1/registrations:batch", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+testToken)
	request.Header.Set("X-Tenant-ID", cloudVault)
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		c.t.Fatalf("the batch answers %d", response.StatusCode)
	}
	for answers := json.NewDecoder(response.Body); ; {
		var o outcome
		switch err := answers.Decode(&o); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		each(o)
	}
}

// resident is the memory of a process in MiB.
func (c *cluster) resident(name string) int {
	c.t.Helper()
	p := c.processes[name]
	p.mu.Lock()
	pid := p.running.Process.Pid
	p.mu.Unlock()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		c.t.Fatal(err)
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(raw)
	kib, err := strconv.Atoi(string(found[1]))
	if err != nil {
		c.t.Fatal(err)
	}
	return kib >> 10
}

func TestABatchThatIsKilledInTheMiddleAndSentAgainCreatesNothingTwice(t *testing.T) {
	c := startCluster(t, nil)
	lines := scale(t, 10_000)
	body := batchOf(lines)
	first := map[int]string{}
	err := c.sendBatch(body, func(o outcome) {
		if o.ID != "" {
			first[o.Line] = o.ID
		}
		if o.Line == lines/2 {
			c.processes["gateway-1"].signal(syscall.SIGKILL)
		}
	})
	if err == nil || len(first) < lines/2-lines/everyBad {
		t.Fatalf("the run proves nothing: %d lines were stored before the kill, and the connection's end was %v", len(first), err)
	}
	c.processes["gateway-1"].start(t)
	c.eventually(30*time.Second, "the gateway is ready", func() bool { return c.ready(c.gateway) })

	var all []accepted
	next, early, most := 1, 0, 0
	err = c.sendBatch(body, func(o outcome) {
		switch bad := o.Line%everyBad == 0; {
		case o.Line != next:
			t.Fatalf("line %d is answered after line %d", o.Line, next-1)
		case bad && (o.Problem == nil || o.Problem.Status != http.StatusBadRequest || !strings.Contains(o.Problem.Detail, "givenName")):
			t.Errorf("line %d cannot be read and answers %+v", o.Line, o)
		case !bad && o.ID == "":
			t.Errorf("line %d answers %+v", o.Line, o)
		case !bad && first[o.Line] != "" && first[o.Line] != o.ID:
			t.Errorf("line %d gave %s and %s", o.Line, first[o.Line], o.ID)
		case !bad:
			all = append(all, accepted{o.ID, batchEmail(o.Line)})
		}
		if next++; next == lines/10 {
			early = c.resident("gateway-1")
		} else if next%100 == 0 {
			most = max(most, c.resident("gateway-1"))
		}
	})
	if err != nil || next != lines+1 {
		t.Fatalf("%d of %d lines are answered: %v", next-1, lines, err)
	}
	t.Logf("%d lines stored before the kill; the gateway has %d MiB after a tenth of the lines and %d MiB at most", len(first), early, most)
	if most > early+64 {
		t.Errorf("the gateway's memory grows with the lines: %d MiB, then %d MiB", early, most)
	}
	c.audit(all, 3*time.Minute)
}
