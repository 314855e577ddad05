package submit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usherhq/usher/services/gateway/native"
)

// gateway is a batch API that stores keys in memory.
type gateway struct {
	mu     sync.Mutex
	stored map[string]int // how often each key was sent
	// answer may say something else than that a line is stored; -1 ends the answer there.
	answer func(n int, key string) (status int)
	n      int // lines so far
}

func (g *gateway) post(_ context.Context, batch io.Reader) (*http.Response, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out bytes.Buffer
	lines := bufio.NewScanner(batch)
	lines.Buffer(nil, 1<<20)
	for line := 1; lines.Scan(); line++ {
		var row struct {
			IdempotencyKey string `json:"idempotencyKey"`
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return nil, err
		}
		g.n++
		status := http.StatusAccepted
		if g.answer != nil {
			status = g.answer(g.n, row.IdempotencyKey)
		}
		switch status {
		case http.StatusAccepted:
			g.stored[row.IdempotencyKey]++
			out.Write(native.Stored(line, "id-"+row.IdempotencyKey).JSON())
		case -1:
			g.stored[row.IdempotencyKey]++ // and its answer is lost
			return &http.Response{Body: io.NopCloser(io.MultiReader(&out, broken{}))}, nil
		default:
			p := native.NewProblem(status, "x", "because")
			p.RetryAfter = 7
			out.Write(native.Result{Line: line, Problem: &p}.JSON())
		}
	}
	return &http.Response{Body: io.NopCloser(&out)}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// options of a run over a file with a content.
func options(t *testing.T, name, content string, g *gateway) Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if g.stored == nil {
		g.stored = map[string]int{}
	}
	return Options{File: file, Results: file + ".results", Layout: Layout{Format: strings.TrimPrefix(filepath.Ext(name), "."), Comma: ','}, Patience: time.Minute,
		Post: g.post, Begin: func(int64, int64) {}, Progress: func(int64) {}, Say: func(string) {}}
}

func results(t *testing.T, o Options) (all []Result) {
	t.Helper()
	raw, err := os.ReadFile(o.Results)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var r Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"memberNumber":"%d"}`+"\n", i)
	}
	return b.String()
}

func TestEveryRowHasItsResultWithItsLine(t *testing.T) {
	g := &gateway{answer: func(n int, key string) int {
		if key == "mine" {
			return http.StatusConflict
		}
		return http.StatusAccepted
	}}
	o := options(t, "a.ndjson", "{\"memberNumber\":\"1\"}\n\nnot json\n[1]\n{\"idempotencyKey\":\"mine\"}\n{}\n\xff{}\n{\"memberNumber\":\"1\"}", g)
	done, err := Run(t.Context(), o)
	if err != nil || done.Rows != 7 || done.Stored != 3 || done.Refused != 4 {
		t.Errorf("%+v, %v", done, err)
	}
	all := results(t, o)
	got := map[int64]string{}
	for _, r := range all {
		got[r.Line] = r.Reason
	}
	want := map[int64]string{1: "", 3: "the row is not a JSON object", 4: "the row is not a JSON object", 5: "because", 6: "", 7: "the row is not UTF-8; convert the file", 8: ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if all[0].ID != all[6].ID || all[0].ID == all[4].ID {
		t.Errorf("the same row has the same key, another another: %+v", all)
	}
}

func TestARowWithoutAKeyHasTheSameOneHoweverItSaysSo(t *testing.T) {
	keyOf := func(row string) (sent, key string) {
		t.Helper()
		s, err := Layout{Format: "ndjson"}.Open(strings.NewReader(row))
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Next()
		if err != nil || r.Problem != "" {
			t.Fatalf("%s: %q, %v", row, r.Problem, err)
		}
		_, _, key, err = native.DecodeLine(r.JSON, native.Settings{})
		if err != nil {
			return string(r.JSON), err.Error()
		}
		return string(r.JSON), key
	}
	_, want := keyOf(`{"memberNumber":"1","roles":["a, b"]}`)
	for name, row := range map[string]string{
		"null":                    `{"idempotencyKey":null,"memberNumber":"1","roles":["a, b"]}`,
		"an empty one":            `{"memberNumber":"1","idempotencyKey":"","roles":["a, b"]}`,
		"one at the end":          `{"memberNumber":"1","roles":["a, b"] , "idempotencyKey" : "" }`,
		"an escaped name":         `{"memberNumber":"1","idempotency\u004bey":null,"roles":["a, b"]}`,
		"null, and then an empty": `{"idempotencyKey":null,"idempotencyKey":"","memberNumber":"1","roles":["a, b"]}`,
	} {
		if sent, key := keyOf(row); key != want || !strings.HasPrefix(key, "submit-") {
			t.Errorf("%s: %s is sent, with the key %q, want %q", name, sent, key, want)
		}
	}
	if sent, key := keyOf(`{"idempotencyKey":""}`); !strings.HasPrefix(key, "submit-") || key == want {
		t.Errorf("nothing else: %s is sent, with the key %q", sent, key)
	}
	if _, key := keyOf(`{"idempotencyKey":"mine","memberNumber":"1"}`); key != "mine" {
		t.Errorf("a key of its own became %q", key)
	}
	for row, want := range map[string]string{
		`{"idempotencyKey":"mine","idempotencyKey":""}`:               "it is there twice",
		`{"idempotencyKey":"","memberNumber":"1","memberNumber":"2"}`: "it is there twice",
		`{"idempotencyKey":0}`:                                        "must be a string",
		`{"IdempotencyKey":""}`:                                       "is not a field",
	} {
		if sent, refusal := keyOf(row); !strings.Contains(refusal, want) {
			t.Errorf("%s is sent as %s, and refused with %q", row, sent, refusal)
		}
	}
}

func TestCellsGoWhereTheirColumnsSay(t *testing.T) {
	for sentence, test := range map[string]struct {
		content string
		mapping map[string]string
		comma   rune
		want    string // the JSON of the first row without its key, or an error
	}{
		"usual names":         {"First Name,LASTNAME,e-mail,date_of_birth\nIngrid,Solveig,i@example.com,1988-02-03\n", nil, ',', `{"applicant":{"birthDate":"1988-02-03","email":"i@example.com","familyName":"Solveig","givenName":"Ingrid"}}`},
		"paths":               {"applicant.addresses.1.city,applicant.addresses.1.primary,roles,attributes.shop\nOslo,TRUE,a; b,x\n", nil, ',', `{"applicant":{"addresses":[{"city":"Oslo","primary":true}]},"attributes":{"shop":"x"},"roles":["a","b"]}`},
		"a mapping":           {"Kunde;Mail\nk1;i@example.com\n", map[string]string{"Kunde": "idempotencyKey", "Mail": ""}, ';', `{"idempotencyKey":"k1"}`},
		"empty cells":         {"email,phone\n ,\n", nil, ',', `{}`},
		"a byte order mark":   {"\ufeffemail\ni@example.com\n", nil, ',', `{"applicant":{"email":"i@example.com"}}`},
		"lines in a cell":     {"email,street\ni@example.com,\"a\nb\"\n", nil, ',', `{"applicant":{"addresses":[{"lines":["a\nb"]}],"email":"i@example.com"}}`},
		"an unknown column":   {"email,shoe size\n", nil, ',', `column "shoe size" has no place; say which by --map 'shoe size=applicant.…'`},
		"a path that is none": {"email\n", map[string]string{"email": "applicant.mail"}, ',', "the API has no applicant.mail"},
		"a column twice":      {"email,mail\n", nil, ',', `columns "email" and "mail" have the same place`},
		"a column that is not there": {"email\n", map[string]string{"mial": "applicant.email"}, ',',
			`--map names column "mial", which the file does not have`},
		"no columns":          {"", nil, ',', "the file is empty"},
		"too few cells":       {"email,phone\ni@example.com\n", nil, ',', "wrong number of fields"},
		"primary is no truth": {"applicant.addresses.0.primary\nperhaps\n", nil, ',', "neither true nor false"},
	} {
		t.Run(sentence, func(t *testing.T) {
			s, err := Layout{Format: "csv", Comma: test.comma, Map: test.mapping}.Open(strings.NewReader(test.content))
			var row Row
			if err == nil {
				row, err = s.Next()
			}
			got := row.Problem
			if err != nil {
				got = err.Error()
			}
			if row.JSON != nil {
				var members map[string]json.RawMessage
				if err := json.Unmarshal(row.JSON, &members); err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(string(members["idempotencyKey"]), `"submit-`) {
					delete(members, "idempotencyKey")
				}
				raw, _ := json.Marshal(members)
				got = string(raw)
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestAnInterruptedRunGoesOnAndRepeatsNothing(t *testing.T) {
	const rows = 5500
	ctx, interrupt := context.WithCancel(t.Context())
	g := &gateway{}
	o := options(t, "a.ndjson", numbered(rows), g)
	seen := 0
	o.Progress = func(int64) {
		if seen++; seen == 2300 {
			interrupt()
		}
	}
	done, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || done.Stored == 0 || done.Stored == rows {
		t.Fatalf("%+v, %v", done, err)
	}
	file, _ := os.OpenFile(o.Results, os.O_APPEND|os.O_WRONLY, 0)
	_, _ = file.WriteString(`{"line":99`) // as a kill between results and state leaves them
	_ = file.Close()
	o.Progress = func(int64) {}
	again, err := Run(t.Context(), o)
	if err != nil || again.Stored != rows || again.Before != done.Stored {
		t.Errorf("%+v, %v", again, err)
	}
	all := results(t, o)
	ids := map[string]bool{}
	for i, r := range all {
		if ids[r.ID] = true; r.Line != int64(i+1) {
			t.Fatalf("result %d is of line %d", i, r.Line)
		}
	}
	if len(ids) != rows || len(g.stored) != rows || len(all) != rows {
		t.Errorf("%d results with %d ids, %d keys", len(all), len(ids), len(g.stored))
	}
	third, err := Run(t.Context(), o)
	if err != nil || third.Before != rows || g.n >= 2*rows {
		t.Errorf("a run after the last row: %+v, %v, %d lines", third, err, g.n)
	}
}

func TestAJournalOfSomethingElseIsNotTouched(t *testing.T) {
	g := &gateway{}
	o := options(t, "a.ndjson", numbered(3), g)
	if err := os.WriteFile(o.Results, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "--results") {
		t.Errorf("a file that is there: %v", err)
	}
	if raw, _ := os.ReadFile(o.Results); string(raw) != "mine" {
		t.Error("it was overwritten")
	}
	o.Results += "2"
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Tenant = "another"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "--restart") {
		t.Errorf("another tenant: %v", err)
	}
	o.Restart = true
	if done, err := Run(t.Context(), o); err != nil || done.Stored != 3 || done.Before != 0 {
		t.Errorf("begun again: %+v, %v", done, err)
	}
}

func TestABusyGatewayIsWaitedForAsLongAsItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gateway{answer: func(n int, _ string) int {
			switch {
			case n <= 10:
				return http.StatusTooManyRequests
			case n == 15:
				return -1
			case n == 40:
				return http.StatusServiceUnavailable
			}
			return http.StatusAccepted
		}}
		o := options(t, "a.ndjson", numbered(50), g)
		began := time.Now()
		done, err := Run(t.Context(), o)
		if err != nil || done.Stored != 50 || len(g.stored) != 50 {
			t.Errorf("%+v, %v, %d keys", done, err, len(g.stored))
		}
		if took := time.Since(began); took < 7*time.Second || took > 30*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestWhatWouldBeRefusedAgainEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for sentence, refused := range map[string]error{
			"a token that is not valid":  &Refusal{Status: 401, Err: errors.New("no")},
			"a path that is not there":   &Refusal{Status: 404, Err: errors.New("no")},
			"a gateway that stays away":  errors.New("connection refused"),
			"a gateway that stays busy":  &Refusal{Status: 503, RetryAfter: time.Second, Err: errors.New("no")},
			"a tenant that is throttled": &Refusal{Status: 429, RetryAfter: time.Hour, Err: errors.New("no")},
		} {
			o := options(t, "a.ndjson", numbered(5), &gateway{})
			o.Post = func(context.Context, io.Reader) (*http.Response, error) { return nil, refused }
			if done, err := Run(t.Context(), o); !errors.Is(err, refused) || done.Stored != 0 {
				t.Errorf("%s: %+v, %v", sentence, done, err)
			}
		}
	})
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	peak := func(rows int) uint64 {
		var most uint64
		g := &forgetful{}
		o := options(t, "a.ndjson", numbered(rows), &gateway{})
		o.Post = g.post
		seen := 0
		o.Progress = func(int64) {
			if seen++; seen%5000 == 0 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		if done, err := Run(t.Context(), o); err != nil || done.Stored != int64(rows) {
			t.Fatalf("%+v, %v", done, err)
		}
		return most
	}
	small, large := peak(10_000), peak(100_000)
	if large > small+4<<20 {
		t.Errorf("%d KiB at 10,000 rows, %d KiB at 100,000", small>>10, large>>10)
	}
}

// forgetful answers that everything is stored and keeps nothing.
type forgetful struct{}

func (forgetful) post(_ context.Context, batch io.Reader) (*http.Response, error) {
	var out bytes.Buffer
	lines := bufio.NewScanner(batch)
	for line := 1; lines.Scan(); line++ {
		out.Write(native.Stored(line, "an-id").JSON())
	}
	return &http.Response{Body: io.NopCloser(&out)}, nil
}

func FuzzRowsAreJSONObjectsOrTellWhyNot(f *testing.F) {
	f.Add([]byte("email,phone\na,b\n"), true)
	f.Add([]byte("{\"a\":1}\n{}"), false)
	f.Add([]byte("roles,applicant.addresses.0.lines.1\n\"a;b\",\"x\n\"\n"), true)
	f.Fuzz(func(t *testing.T, content []byte, table bool) {
		l := Layout{Format: "ndjson", Comma: ','}
		if table {
			l.Format = "csv"
		}
		s, err := l.Open(bytes.NewReader(content))
		for err == nil {
			var row Row
			if row, err = s.Next(); err != nil {
				break
			}
			var members struct {
				IdempotencyKey json.RawMessage `json:"idempotencyKey"`
			}
			if row.Problem == "" && (json.Unmarshal(row.JSON, &members) != nil || bytes.ContainsAny(row.JSON, "\n")) {
				t.Fatalf("%q is neither an object on a line nor refused", row.JSON)
			}
			if row.Line < 1 {
				t.Fatalf("line %d", row.Line)
			}
		}
	})
}

func TestOneProcessWritesTheResultsOfAFile(t *testing.T) {
	o := Options{Results: filepath.Join(t.TempDir(), "results")}
	first, err := openJournal(o, "sum")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(o, "sum"); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second one is told %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openJournal(o, "sum")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}
