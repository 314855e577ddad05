package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/services/gateway/native"
)

func batchLineOf(email, key string) string {
	return strings.TrimSuffix(string(person(email)), "}") + fmt.Sprintf(`,"idempotencyKey":%q}`, key)
}

func (w *world) batch(body string) []native.Result {
	w.t.Helper()
	a := w.do("POST", "/v1/registrations:batch", []byte(body), "Content-Type", "application/x-ndjson")
	if a.status != http.StatusOK {
		w.t.Fatalf("batch answers %d %s", a.status, a.body)
	}
	return results(w.t, bytes.NewReader(a.body))
}

func results(t testing.TB, in io.Reader) (all []native.Result) {
	t.Helper()
	for d := json.NewDecoder(in); ; {
		var r native.Result
		switch err := d.Decode(&r); err {
		case nil:
			all = append(all, r)
		case io.EOF:
			return all
		default:
			t.Fatal(err)
		}
	}
}

func TestEachLineOfABatchHasItsResultInOrder(t *testing.T) {
	w := newWorld(t)
	long := strings.Replace(batchLineOf("long@example.com", "long"), "Ingrid", strings.Repeat("i", 300<<10), 1)
	body := strings.Join([]string{
		batchLineOf("a@example.com", "a"),
		"{",
		"",
		string(person("b@example.com")),
		long,
		strings.Replace(batchLineOf("c@example.com", "c"), `"applicant"`, `"surprise":1,"applicant"`, 1),
		batchLineOf("a@example.com", "a") + "\r",
		batchLineOf("other@example.com", "a"),
		batchLineOf("d@example.com", strings.Repeat("k", 256)),
		strings.Replace(batchLineOf("e@example.com", "e"), "Ingrid", "In\xffgrid", 1),
		strings.Repeat(" ", 300<<10) + batchLineOf("far@example.com", "far"),
		batchLineOf("last@example.com", "last"),
	}, "\n")
	want := []struct{ line, status int }{{1, 0}, {2, 400}, {4, 0}, {5, 413}, {6, 400}, {7, 0}, {8, 422}, {9, 400}, {10, 400}, {11, 413}, {12, 0}}
	got := w.batch(body)
	if len(got) != len(want) {
		t.Fatalf("%d results, want %d: %+v", len(got), len(want), got)
	}
	for i, r := range got {
		status := 0
		if r.Problem != nil {
			status = r.Problem.Status
		}
		if r.Line != want[i].line || status != want[i].status || (r.ID == "") != (status != 0) {
			t.Errorf("result %d is of line %d with status %d and id %q; want line %d, status %d", i, r.Line, status, r.ID, want[i].line, want[i].status)
		}
	}
	if got[0].ID != got[5].ID {
		t.Error("the same key gave two registrations")
	}
	b := w.bus(events.Ledger)
	for _, r := range got {
		if r.ID == "" {
			continue
		}
		if h, err := b.History(t.Context(), cloudVault, r.ID); err != nil || len(h) != 1 {
			t.Errorf("line %d is acknowledged and has %d events, %v", r.Line, len(h), err)
		}
	}
}

func TestABatchEndsAtItsLimitsAndWhatCameBeforeStands(t *testing.T) {
	w := newWorld(t)
	many := w.batch(batchLineOf("many@example.com", "many") + strings.Repeat("\n{", batchLines+5))
	if last := many[len(many)-1]; len(many) != batchLines+1 || many[0].ID == "" || last.Problem == nil || last.Problem.Status != 413 || last.Line != batchLines+1 {
		t.Errorf("%d results, the last %+v", len(many), last)
	}
	padding := strings.Repeat("{", 200<<10) + "\n"
	large := w.batch(batchLineOf("large@example.com", "large") + "\n" + strings.Repeat(padding, batchBytes/len(padding)+2))
	if last := large[len(large)-1]; large[0].ID == "" || last.Problem == nil || last.Problem.Status != 413 || !strings.Contains(last.Problem.Detail, "64 MiB") {
		t.Errorf("%d results, the last %+v", len(large), last.Problem)
	}
}

func TestABatchNeedsItsMediaType(t *testing.T) {
	w := newWorld(t)
	if a := w.do("POST", "/v1/registrations:batch", person("a@example.com")); a.status != 415 {
		t.Errorf("as plain JSON: %d %s", a.status, a.body)
	}
}

// A client may send everything before it reads anything: its results are more than the buffers
// of a connection hold.
func TestABatchIsReadToItsEndBeforeAnybodyReadsItsResults(t *testing.T) {
	w := newWorld(t)
	const lines = 5000
	deep := strings.Repeat(`{"`+strings.Repeat("n", 64)+`":`, 24)
	body := strings.Repeat(`{"attributes":`+deep+"!\n", lines)
	conn := w.dial()
	conn.send("POST", "/v1/registrations:batch", native.MediaTypeLines, len(body))
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	size := &counted{r: conn.answer().Body}
	if n := len(results(t, size)); n != lines || size.n < 20<<20 {
		t.Errorf("%d results of %d lines, in %d bytes", n, lines, size.n)
	}
}

type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// rawConn is a client that does as it is told.
type rawConn struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func (w *world) dial() *rawConn {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	return &rawConn{conn, w.t, bufio.NewReader(conn)}
}

// send sends the head of a request.
func (c *rawConn) send(method, path, media string, length int) {
	c.t.Helper()
	_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer admin\r\nX-Tenant-ID: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", method, path, cloudVault, media, length)
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawConn) answer() *http.Response {
	c.t.Helper()
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return response
}

func TestABatchWhoseClientStallsIsEndedAndWhatCameBeforeStands(t *testing.T) {
	w := newWorldOf(t, func(g *gateway) { g.stall = 300 * time.Millisecond })
	server := httptest.NewServer(w.gateway.routes()) // has no deadline of its own
	t.Cleanup(server.Close)
	w.url = server.URL
	conn := w.dial()
	conn.send("POST", "/v1/registrations:batch", native.MediaTypeLines, 1<<20)
	fmt.Fprintf(conn, "%s\n{\"appli", batchLineOf("stalls@example.com", "stalls"))
	got := results(t, conn.answer().Body)
	if len(got) != 2 || got[0].ID == "" || got[1].Line != 2 || got[1].Problem == nil || got[1].Problem.Status != http.StatusRequestTimeout {
		t.Errorf("results %+v", got)
	}
}

func TestAnOrderlyEndTellsAClientWhereItsBatchEnded(t *testing.T) {
	w := newWorld(t)
	conn := w.dial()
	conn.send("POST", "/v1/registrations:batch", native.MediaTypeLines, 1<<20)
	fmt.Fprintf(conn, "%s\n", batchLineOf("first@example.com", "first"))
	d := json.NewDecoder(conn.answer().Body)
	var first, last native.Result
	if err := d.Decode(&first); err != nil || first.ID == "" {
		t.Fatalf("the first result: %+v, %v", first, err)
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if err := d.Decode(&last); err != nil || last.Problem == nil || last.Problem.Status != http.StatusServiceUnavailable || last.Problem.RetryAfter == 0 {
		t.Errorf("the last result: %+v, %v", last, err)
	}
}

func TestALineIsToldToComeAgainWhileTheBrokerIsAway(t *testing.T) {
	w := newWorld(t)
	if a := w.do("POST", "/v1/registrations", person("there@example.com")); a.status != http.StatusAccepted {
		t.Fatalf("with a broker: %d %s", a.status, a.body)
	}
	w.broker.Shutdown()
	w.broker.WaitForShutdown()
	got := w.batch(batchLineOf("a@example.com", "a") + "\n" + "{\n" + batchLineOf("b@example.com", "b"))
	for i, status := range []int{503, 400, 503} {
		if len(got) != 3 || got[i].Problem == nil || got[i].Problem.Status != status {
			t.Fatalf("results %+v", got)
		}
	}
	if p := got[0].Problem; !strings.Contains(p.Detail, "same idempotencyKey") || p.RetryAfter == 0 {
		t.Errorf("the problem is %+v", p)
	}
}

func TestABatchHasNoKeyOfItsOwn(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/v1/registrations:batch", []byte(batchLineOf("a@example.com", "a")), "Content-Type", native.MediaTypeLines, "Idempotency-Key", "all")
	if a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "idempotencyKey") {
		t.Errorf("answer %d %s", a.status, a.body)
	}
}

func TestTheLinesOfABatchTakeTheirTurnWhereTheRateIsLimited(t *testing.T) {
	limited := "    mail: {from: no-reply@cloudvault.example}"
	w := newWorldOf(t, func(g *gateway) { g.stall = 300 * time.Millisecond }, limited, "    limits: {perTenant: 50}\n"+limited)
	var all []string
	for i := range 60 {
		all = append(all, batchLineOf(fmt.Sprintf("t%d@example.com", i), fmt.Sprint("t", i)))
	}
	start := time.Now()
	for _, r := range w.batch(strings.Join(all, "\n")) {
		if r.ID == "" {
			t.Errorf("line %d: %+v", r.Line, r.Problem)
		}
	}
	// The bucket holds 50, of which a batch leaves 25: the other 36 come at 50 a second.
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Errorf("60 lines took %v", took)
	}
}

func TestABatchThatIsCutOffIsSentAgainWithoutADouble(t *testing.T) {
	w := newWorld(t)
	const lines = 400
	var all []string
	for i := range lines {
		all = append(all, batchLineOf(fmt.Sprintf("p%d@example.com", i), fmt.Sprint("key ", i)))
	}
	ctx, cut := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(ctx, "POST", w.url+"/v1/registrations:batch", reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer admin", "X-Tenant-ID": cloudVault, "Content-Type": "application/x-ndjson"} {
		request.Header.Set(name, value)
	}
	go func() { _, _ = io.WriteString(writer, strings.Join(all[:lines/2], "\n")+"\n") }() // and no more comes
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(response.Body)
	var first native.Result
	if err := d.Decode(&first); err != nil || first.ID == "" {
		t.Fatalf("the first result before the last line: %+v, %v", first, err)
	}
	cut()
	response.Body.Close()
	again := w.batch(strings.Join(all, "\n"))
	ids := map[string]bool{}
	for _, r := range again {
		ids[r.ID] = true
	}
	if len(again) != lines || len(ids) != lines || again[0].ID != first.ID {
		t.Errorf("%d results with %d ids; the first %q, before %q", len(again), len(ids), again[0].ID, first.ID)
	}
	s, err := w.bus(events.Ledger).JetStream().Stream(t.Context(), bus.Registrations)
	if err != nil || s.CachedInfo().State.Msgs != lines {
		t.Errorf("%d registrations are stored, %v", s.CachedInfo().State.Msgs, err)
	}
}

func FuzzTheLinesOfABatch(f *testing.F) {
	for _, seed := range []string{"", "\n\n", "{}\n", "a\r\nb", "a\n\nb\n", strings.Repeat("x", 70<<10) + "\ny"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want []string
		for _, line := range bytes.Split(body, []byte("\n")) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				want = append(want, string(line))
			}
		}
		l := &lineReader{in: bufio.NewReaderSize(bytes.NewReader(body), 16)}
		var got []string
		for line, err := l.next(); err == nil; line, err = l.next() {
			got = append(got, string(line))
		}
		if len(body) < 256<<10 && strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("read %q, want %q", got, want)
		}
	})
}
