package usher

import (
	"bytes"
	"crypto"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

const finhubPath = "/api/v2.1/customer/individual/registration"

func TestARegistrationTravelsTheWholePipeline(t *testing.T) {
	cheapHash(t)
	for name, options := range map[string]devOptions{"plain": {}, "every handler run twice": {twice: true}} {
		t.Run(name, func(t *testing.T) {
			d := startDev(t, t.TempDir(), options)
			const email = "marcus.jensen.1773494532320.cmcdd1@mediumrisk-example.com"
			first := d.do(http.MethodPost, d.gateway(finhubPath), finsei, finhubBody(t, email),
				"User-Agent", "test", "X-Forwarded-From", "web", "deviceId", "d1", "platform", "web")
			if first.status != http.StatusOK {
				t.Fatalf("answer %d %s", first.status, first.body)
			}
			data := first.json(t)["data"].(map[string]any)
			id := data["id"].(string)
			if first.header.Get("traceparent") == "" || first.header.Get("X-Registration-ID") != id {
				t.Errorf("headers are %v", first.header)
			}
			if data["customerStatus"] != "CS_REGISTRATION_COMPLETED" || data["tenantId"] != finsei {
				t.Errorf("data is %v", data)
			}

			again := d.do(http.MethodPost, d.gateway(finhubPath), finsei, finhubBody(t, strings.ToUpper(email[:6])+email[6:]))
			if again.status != http.StatusConflict || !strings.Contains(again.json(t)["message"].(string), "already exists") {
				t.Errorf("the same e-mail address answers %d %s", again.status, again.body)
			}

			activation := d.gateway("/api/v2.1/customer/individual/" + id + "/activation")
			if wrong := d.do(http.MethodPost, activation, finsei, []byte(`{"userId":"x","code":"AAAAAAAAAAAAAAAA"}`)); wrong.status != http.StatusBadRequest {
				t.Errorf("a wrong code answers %d %s", wrong.status, wrong.body)
			}
			right := fmt.Appendf(nil, `{"userId":"x","code":%q}`, d.code(email))
			for range 2 {
				if a := d.do(http.MethodPost, activation, finsei, right); a.status != http.StatusOK {
					t.Errorf("the right code answers %d %s", a.status, a.body)
				}
			}
			if mails := d.mails(email); len(mails) != 1 {
				t.Errorf("%d mails were sent", len(mails))
			}
			checkStages(t, d.status(finsei, id))
			d.eventually(waitLong, "the ledger counts it", func() bool {
				stats := d.do(http.MethodGet, d.ledger("/v1/stats"), finsei, nil).json(t)
				return fmt.Sprint(stats["statuses"]) == "map[ACTIVATED:1 REJECTED:1]"
			})
			checkStream(t, d)
			checkFeed(t, d)
		})
	}
}

func checkStages(t *testing.T, status map[string]any) {
	t.Helper()
	if status["status"] != "ACTIVATED" || status["outcome"] != "ACTIVATED" || status["traceId"] == "" {
		t.Errorf("status is %v", status)
	}
	var got []string
	for _, s := range status["stages"].([]any) {
		stage := s.(map[string]any)
		if stage["at"] == "" {
			t.Errorf("stage %v has no time", stage["event"])
		}
		got = append(got, stage["event"].(string))
	}
	for _, want := range []string{"registration.requested", "registration.validated", "registration.categorized", "account.created", "activation.sent", "account.activated"} {
		if !slices.Contains(got, want) {
			t.Errorf("stages %v lack %s", got, want)
		}
	}
}

// checkStream reads every stored event: each must decode, and the tenant's feed must hold all
// of them in order.
func checkStream(t *testing.T, d *dev) {
	t.Helper()
	js := d.jetStream(t)
	stored := readAll(t, js, bus.Registrations)
	for _, m := range stored {
		if _, err := events.Decode(m.Subject, m.Header, m.Data); err != nil {
			t.Errorf("stored event %s: %v", m.Subject, err)
		}
		validateEvent(t, m.Subject, m.Header, m.Data)
	}
	if dead := readAll(t, js, bus.DeadLetters); len(dead) != 0 {
		t.Errorf("%d dead letters, the first because of %s", len(dead), dead[0].Header.Get(bus.HeaderReason))
	}
	d.eventually(waitLong, "the feed has every event", func() bool { return len(readAll(t, js, bus.FeedStream(finsei))) == len(stored) })
	for i, m := range readAll(t, js, bus.FeedStream(finsei)) {
		if m.Header.Get("ce-id") != stored[i].Subject {
			t.Errorf("feed entry %d is %s, want %s", i+1, m.Header.Get("ce-id"), stored[i].Subject)
		}
	}
}

// checkFeed reads the tenant's feed over HTTP as a subscriber would, with CloudEvents' own library.
func checkFeed(t *testing.T, d *dev) {
	t.Helper()
	stored := readAll(t, d.jetStream(t), bus.FeedStream(finsei))
	answer := d.do(http.MethodGet, d.ledger("/v1/events?limit=1000"), finsei, nil)
	var batch []cloudevents.Event
	if err := json.Unmarshal(answer.body, &batch); err != nil || len(batch) != len(stored) {
		t.Fatalf("the feed answers %d with %d events of %d: %v", answer.status, len(batch), len(stored), err)
	}
	for i, e := range batch {
		m := stored[i]
		if err := e.Validate(); err != nil || e.ID() != m.Header.Get("ce-id") || e.Type() != m.Header.Get("ce-type") || !bytes.Equal(e.Data(), m.Data) {
			t.Errorf("entry %d of the feed is %s, %v", i+1, e.ID(), err)
		}
		if e.Extensions()["traceparent"] != m.Header.Get("traceparent") || e.Extensions()["sequence"] != strconv.Itoa(i+1) {
			t.Errorf("entry %d of the feed has the extensions %v", i+1, e.Extensions())
		}
		over, err := parsed(t.Context(), m)
		if err != nil || over.Validate() != nil || over.ID() != e.ID() || over.Type() != e.Type() || over.Source() != e.Source() || !over.Time().Equal(e.Time()) || !bytes.Equal(over.Data(), e.Data()) {
			t.Errorf("message %d of the feed is read as %v, %v", i+1, over, err)
		}
	}
}

func (d *dev) jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("nats://" + d.command.NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func readAll(t *testing.T, js jetstream.JetStream, stream string) []*jetstream.RawStreamMsg {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			continue
		}
		all = append(all, m)
	}
	return all
}

func TestTwoHundredParallelRequestsOfOneAddressGiveOneAccount(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	spellings := []string{"one.person@example.com", "One.Person@Example.com", "ONE.PERSON@EXAMPLE.COM", "one.person@EXAMPLE.com"}
	var (
		mu       sync.Mutex
		statuses = map[int]int{}
		wg       sync.WaitGroup
	)
	for i := range 200 {
		wg.Go(func() {
			a, err := d.try(http.MethodPost, d.gateway(finhubPath), finsei, finhubBody(t, spellings[i%len(spellings)]))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			statuses[a.status]++
		})
	}
	wg.Wait()
	if statuses[http.StatusOK] != 1 || statuses[http.StatusConflict] != 199 {
		t.Errorf("answers by status: %v", statuses)
	}
}

func TestAnIdempotencyKeyStandsForOneRegistrationAlsoAfterARestart(t *testing.T) {
	cheapHash(t)
	dir := t.TempDir()
	d := startDev(t, dir, devOptions{})
	send := func(d *dev, email string) answer {
		return d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody(email), "Idempotency-Key", `"key 1"`)
	}
	first := send(d, "key@example.com")
	if first.status != http.StatusAccepted {
		t.Fatalf("answer %d %s", first.status, first.body)
	}
	id := first.json(t)["id"].(string)
	if second := send(d, "key@example.com").json(t)["id"]; second != id {
		t.Errorf("the same key gave %v, first %v", second, id)
	}
	if other := send(d, "other@example.com"); other.status != http.StatusUnprocessableEntity {
		t.Errorf("other content under the key answers %d %s", other.status, other.body)
	}
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	d.close()

	d = startDev(t, dir, devOptions{})
	if third := send(d, "key@example.com").json(t)["id"]; third != id {
		t.Errorf("after a restart the same key gave %v, first %v", third, id)
	}
	if other := send(d, "other@example.com"); other.status != http.StatusUnprocessableEntity {
		t.Errorf("after a restart other content under the key answers %d", other.status)
	}
	if mails := d.mails("key@example.com"); len(mails) != 1 {
		t.Errorf("%d mails were sent", len(mails))
	}
	if status := d.status(cloudVault, id)["status"]; status != "ACTIVATION_SENT" {
		t.Errorf("after a restart the status is %v", status)
	}
}

func TestRubbishGetsAClearErrorAndNoEffect(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	valid := string(nativeBody("rubbish@example.com"))
	for name, test := range map[string]struct {
		body    string
		headers []string
		status  int
		names   string
	}{
		"no body":                  {"", nil, 400, "body"},
		"no JSON":                  {"{", nil, 400, "JSON"},
		"a wrong type":             {strings.Replace(valid, `"Ingrid"`, "7", 1), nil, 400, "givenName"},
		"an unknown field":         {strings.Replace(valid, `{"applicant"`, `{"x":1,"applicant"`, 1), nil, 400, "x"},
		"a duplicate key":          {strings.Replace(valid, `"givenName"`, `"givenName":"A","givenName"`, 1), nil, 400, "givenName"},
		"invalid UTF-8":            {strings.Replace(valid, "Ingrid", "\xff\xfe", 1), nil, 400, "UTF-8"},
		"a NUL":                    {strings.Replace(valid, "Ingrid", `a\u0000b`, 1), nil, 400, "NUL"},
		"deep nesting":             {strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), nil, 400, ""},
		"ten megabytes":            {`{"a":"` + strings.Repeat("a", 10<<20) + `"}`, nil, 413, "256 KiB"},
		"a repeated key header":    {valid, []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, 400, "Idempotency-Key"},
		"a repeated tenant header": {valid, []string{"X-Tenant-ID", "b"}, 400, "X-Tenant-ID"},
		"a second content type":    {valid, []string{"Content-Type", "text/plain"}, 415, "Content-Type"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := d.try(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, []byte(test.body), test.headers...)
			if err != nil {
				if test.status == 413 {
					return // the server may close before it has read all
				}
				t.Fatal(err)
			}
			if a.status != test.status || a.header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(a.body), test.names) {
				t.Errorf("answer %d %s", a.status, a.body)
			}
		})
	}
	if stored := readAll(t, d.jetStream(t), bus.Registrations); len(stored) != 0 {
		t.Errorf("%d events were stored", len(stored))
	}
	if refused := d.do(http.MethodPost, d.gateway("/v1/registrations"), "nobody", []byte(valid)); refused.status != http.StatusForbidden {
		t.Errorf("an unknown tenant answers %d", refused.status)
	}
}

func TestAllViolationsComeAtOnce(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault,
		[]byte(`{"applicant":{"givenName":"X1","familyName":"","email":"nobody","birthDate":"2020-01-01"},"credentials":{"password":"short"}}`), "Prefer", "wait=10")
	if a.status != http.StatusUnprocessableEntity {
		t.Fatalf("answer %d %s", a.status, a.body)
	}
	for _, field := range []string{"applicant.givenName", "applicant.familyName", "applicant.email", "applicant.birthDate", "credentials.password"} {
		if !strings.Contains(string(a.body), field) {
			t.Errorf("answer does not name %s: %s", field, a.body)
		}
	}
}

func TestNoPersonalDataIsInClearAnywhereButTheCapturedMails(t *testing.T) {
	cheapHash(t)
	dir := t.TempDir()
	spans := tracetest.NewSpanRecorder()
	d := startDev(t, dir, devOptions{spans: spans})
	const email = "canary.bird@example.com"
	body := fmt.Appendf(nil, `{"applicant":{"givenName":"Kanarienvogel","familyName":"Gelbfeder","email":%q,"birthDate":"1971-12-19","phone":"+4915199887766",
		"addresses":[{"lines":["Käfigallee 17"],"city":"Zwitscherstadt","country":"DE"}]},"credentials":{"password":"KanariengeheimnisXyz"}}`, email)
	a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, body, "Prefer", "wait=20")
	if a.status != http.StatusCreated {
		t.Fatalf("answer %d %s", a.status, a.body)
	}
	id := a.json(t)["id"].(string)
	code := d.code(email)
	d.do(http.MethodPost, d.gateway("/v1/registrations/"+id+"/activation"), cloudVault, fmt.Appendf(nil, `{"code":%q}`, code))
	d.reaches(cloudVault, id, "ACTIVATED")
	sealed := encryptFor(t, d.fincodeKey(), crypto.SHA1, "KanariengeheimnisXyz7!")
	vendor := d.fincode(fincodeRequest(t, "encrypted.request.json", printedCiphertext, sealed,
		"San Janet Street", "Zwitscherstadt 4", `"dynamicFields": {}`, `"dynamicFields": {"pet": "Kanarienvogel"}`))
	if vendor.status != http.StatusOK {
		t.Fatalf("answer %d %s", vendor.status, vendor.body)
	}
	d.code("excel.nwachukwu+2@fincode.co.uk")
	d.close()

	canaries := []string{"Kanarienvogel", "Gelbfeder", email, "excel.nwachukwu", "98457363733", "1989-12-16", sealed, "1971-12-19", "4915199887766", "Zwitscherstadt", "KanariengeheimnisXyz", code}
	search := func(where string, content []byte) {
		for _, canary := range canaries {
			if bytes.Contains(bytes.ToLower(content), bytes.ToLower([]byte(canary))) {
				t.Errorf("%s holds %q in clear", where, canary)
			}
		}
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, filepath.Join(dir, "mail")) {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		search(path, content)
		return err
	})
	if err != nil || files < 10 {
		t.Fatalf("searched %d files: %v", files, err)
	}
	if url := documents(dir); strings.HasPrefix(url, "mongodb") {
		everyMongoDocument(t, url, search)
	}
	search("the log", []byte(d.logs.String()))
	ended := spans.Ended()
	if len(ended) < 10 {
		t.Fatalf("only %d spans", len(ended))
	}
	for _, s := range ended {
		search("span "+s.Name(), fmt.Appendf(nil, "%v %v %v %v", s.Name(), s.Attributes(), s.Events(), s.Status()))
	}
}

func TestOneRegistrationIsOneTrace(t *testing.T) {
	cheapHash(t)
	spans := tracetest.NewSpanRecorder()
	d := startDev(t, t.TempDir(), devOptions{spans: spans})
	a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody("trace@example.com"))
	id := a.json(t)["id"].(string)
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	trace := d.status(cloudVault, id)["traceId"]
	d.close()

	parents := map[string]string{}
	names := map[string]string{}
	for _, s := range spans.Ended() {
		if s.SpanContext().TraceID().String() == trace {
			names[s.SpanContext().SpanID().String()] = s.Name()
			parents[s.SpanContext().SpanID().String()] = s.Parent().SpanID().String()
		}
	}
	var shape []string
	for span, name := range names {
		path := name
		for p := parents[span]; names[p] != ""; p = parents[p] {
			path = names[p] + " > " + path
		}
		shape = append(shape, strings.NewReplacer("reg.{tenant}.{registration}.", "", ".{n}", "").Replace(path))
	}
	slices.Sort(shape)
	want := "POST /v1/registrations > publish requested > process requested > publish validation > process validation > publish risk > process risk > publish account > process account > publish mail"
	if !slices.ContainsFunc(shape, func(s string) bool {
		return strings.HasSuffix(s, want) || strings.HasSuffix(want, s) && strings.Contains(s, "publish mail")
	}) {
		t.Errorf("no span chain %s\nin\n%s", want, strings.Join(shape, "\n"))
	}
}

func TestGarbageGoesToTheDeadLettersAndANewerVersionWaits(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	js := d.jetStream(t)
	subject := func(id string) string { return "reg." + cloudVault + "." + id + ".requested.1" }
	publish := func(m *nats.Msg) {
		t.Helper()
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	publish(&nats.Msg{Subject: subject("garbage-1"), Data: []byte("not an event")})
	header, data, err := events.Record{
		Subject: events.Subject{Tenant: cloudVault, Registration: "garbage-2", Step: events.StepRequested, N: "1"}, Source: events.Gateway, Event: events.Requested{},
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	header["tracestate"] = []string{"a=1", "b=2"}
	publish(&nats.Msg{Subject: subject("garbage-2"), Header: header, Data: data})
	newer, newerData, err := events.Record{
		Subject: events.Subject{Tenant: cloudVault, Registration: "newer-1", Step: events.StepRequested, N: "1"}, Source: events.Gateway, Event: events.Requested{},
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	newer["ce-dataschema"] = []string{"urn:usher:event:registration.requested:2"}
	publish(&nats.Msg{Subject: subject("newer-1"), Header: newer, Data: newerData})

	// Validator and ledger both give up on each of the two.
	d.eventually(waitLong, "the garbage is in the dead letters", func() bool { return len(readAll(t, js, bus.DeadLetters)) == 4 })
	for _, m := range readAll(t, js, bus.DeadLetters) {
		if m.Header.Get(bus.HeaderReason) != "GARBAGE" || strings.Contains(m.Subject, "newer") {
			t.Errorf("dead letter %s because of %s", m.Subject, m.Header.Get(bus.HeaderReason))
		}
	}
	if status := d.status(cloudVault, "garbage-1")["status"]; status != "FAILED" {
		t.Errorf("status of the garbage is %v", status)
	}
	a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody("after.garbage@example.com"), "Prefer", "wait=20")
	if a.status != http.StatusCreated {
		t.Errorf("a registration after the garbage answers %d %s", a.status, a.body)
	}
	consumer, err := js.Consumer(t.Context(), bus.Registrations, "validator-requested")
	if err != nil {
		t.Fatal(err)
	}
	if waiting := consumer.CachedInfo().NumAckPending; waiting != 1 {
		t.Errorf("%d messages wait for a newer version, want 1", waiting)
	}
}
