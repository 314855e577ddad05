package usher

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/vault"
	"github.com/usherhq/usher/services/validator"
)

//go:embed testdata/readable.js
var readable string

// screen is the console in a browser.
type screen struct {
	*desk
	ctx context.Context

	mu   sync.Mutex
	said []string // errors and warnings of the pages
}

func newScreen(d *desk) *screen {
	d.t.Helper()
	ctx, _ := d.browser("en", "light", 1280)
	s := &screen{desk: d, ctx: ctx}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.IsException() {
				s.mu.Lock()
				s.said = append(s.said, m.String()+" "+m.URL)
				s.mu.Unlock()
			}
		}
	}()
	d.t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, m := range s.said {
			d.t.Errorf("a page said %s", m)
		}
	})
	return s
}

func (s *screen) path(path string) string { return s.ledger("/console/t/" + cloudVault + "/" + path) }

func (s *screen) open(path string) {
	s.t.Helper()
	s.run(s.ctx, chromedp.Navigate(s.path(path)), chromedp.WaitReady(chromedp.CSS("main")))
	s.says(`document.readyState`, "complete")
}

// says waits until an expression has a value in a page that has loaded with its script: keys that
// are pressed earlier do nothing.
func (s *screen) says(expression, want string) {
	s.t.Helper()
	got, deadline := "", time.Now().Add(waitLong)
	for ; got != want; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is %q, want %q", expression, got, want)
		}
		got, _ = chromedp.Run(s.ctx, chromedp.Evaluate[string](`document.readyState === "complete" ? `+expression+` : "a page that loads"`)) // fails between two pages
	}
}

func (s *screen) click(selector string) {
	s.t.Helper()
	s.run(s.ctx, chromedp.Click(chromedp.CSS(selector)))
}

func (s *screen) press(keys string) {
	s.t.Helper()
	s.run(s.ctx, chromedp.KeyEvent(keys))
}

// signIn signs somebody in by the form, after whoever is there has signed out.
func (s *screen) signIn(token string) {
	s.t.Helper()
	s.run(s.ctx, chromedp.Navigate(s.ledger("/console")), chromedp.WaitReady(chromedp.CSS("main")))
	if s.evaluate(s.ctx, `String(document.querySelector(".out") !== null)`) == "true" {
		s.click(".out button")
	}
	s.says(`String(document.getElementById("token") !== null)`, "true")
	s.run(s.ctx, chromedp.SendKeys(chromedp.CSS("#token"), token), chromedp.KeyEvent("\r"))
	s.says(`document.querySelector("h1")?.textContent ?? ""`, "Pipeline")
}

// look is how a window is.
type look struct {
	scheme string
	width  int64
}

var looks = []look{{"light", 1280}, {"dark", 1280}, {"light", 390}, {"dark", 390}}

func (s *screen) become(l look) {
	s.t.Helper()
	s.run(s.ctx, chromedp.EmulateViewport(l.width, 844))
	if _, err := chromedp.Call(s.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}}}); err != nil {
		s.t.Fatal(err)
	}
}

// shoot keeps a picture where USHER_SCREENSHOTS names a directory, else among the test's artefacts.
func (s *screen) shoot(name string, l look) {
	s.t.Helper()
	picture, err := chromedp.Run(s.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		s.t.Fatal(err)
	}
	dir := os.Getenv("USHER_SCREENSHOTS")
	if dir == "" {
		dir = s.t.ArtifactDir()
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("console-%s-%s-%d.png", name, l.scheme, l.width)), picture, 0o600); err != nil {
		s.t.Error(err)
	}
}

// bus is a connection to the embedded broker as a service.
func (d *dev) bus(service events.Service) *bus.Bus {
	d.t.Helper()
	nc, err := bus.Connect("nats://"+d.command.NATS, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(nc.Close)
	b, err := bus.New(bus.Config{Service: service, Conn: nc, Log: slog.New(slog.DiscardHandler), Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider()})
	if err != nil {
		d.t.Fatal(err)
	}
	d.eventually(waitLong, "the test is connected", func() bool { return b.Ready() == nil })
	return b
}

// letter leaves a registration as it is when the validator gave up on it for a cause that is mended
// since, and returns the sequence of the dead letter.
func (d *dev) letter(id, email string) uint64 {
	d.t.Helper()
	ring, err := keys.Open(filepath.Join(d.command.Data, "keys"))
	if err != nil {
		d.t.Fatal(err)
	}
	b := d.bus(events.Validator)
	person := events.Registration{Channel: "native", Applicant: events.Applicant{Type: "INDIVIDUAL", GivenName: "Ingrid", FamilyName: "Solveig",
		Email: email, CanonicalEmail: email, BirthDate: "1988-02-03"}, Password: events.PasswordFacts{Present: true, Length: 20, Bytes: 20, Lower: true}}
	sequence, err := vault.New(b.JetStream(), ring).Put(d.t.Context(), cloudVault, id, vault.Entry{Registration: person, Credential: []byte(`{"key":`)})
	if err != nil {
		d.t.Fatal(err)
	}
	requested := events.Record{
		Subject: events.Subject{Tenant: cloudVault, Registration: id, Step: events.StepRequested, N: "1"}, Source: events.Gateway, Time: time.Now(),
		Event: events.Requested{Carried: events.Carried{Channel: "native", Vault: sequence, MAC: "mac"}},
	}
	header, data, err := requested.Encode()
	if err != nil {
		d.t.Fatal(err)
	}
	m := &nats.Msg{Subject: "dead.validator.0." + requested.Subject.String(), Data: data, Header: nats.Header(header)}
	m.Header.Set(bus.HeaderReason, "INTERNAL")
	m.Header.Set(bus.HeaderDetail, "decode rules: unexpected end of file")
	if err := b.Publish(d.t.Context(), cloudVault, id, events.Failed{Service: events.Validator, Stage: events.StepRequested, Code: "INTERNAL"}); err != nil {
		d.t.Fatal(err)
	}
	stored, err := b.JetStream().PublishMsg(d.t.Context(), m)
	if err != nil {
		d.t.Fatal(err)
	}
	return stored.Sequence
}

// opens publishes a case of a customer as risk does, with the person.
func (d *dev) opens(c events.CaseOpened) {
	d.t.Helper()
	ring, err := keys.Open(filepath.Join(d.command.Data, "keys"))
	if err != nil {
		d.t.Fatal(err)
	}
	b := d.bus(events.Risk)
	person := events.Registration{Channel: "native", Applicant: events.Applicant{Type: "INDIVIDUAL", GivenName: "Marcus", FamilyName: "Jensen", BirthDate: "1990-05-15"}}
	if c.Vault, err = vault.New(b.JetStream(), ring).Put(d.t.Context(), cloudVault, vault.CaseOf(c.Registration), vault.Entry{Registration: person}); err != nil {
		d.t.Fatal(err)
	}
	if err := b.Publish(d.t.Context(), cloudVault, "", c); err != nil {
		d.t.Fatal(err)
	}
}

// told reports whether there is a fact of a kind about the tenant.
func (d *dev) told(kind events.Step) bool {
	for _, m := range readAll(d.t, d.jetStream(d.t), bus.Tenants) {
		if s, err := events.ParseSubject(m.Subject); err == nil && s.Tenant == cloudVault && s.Step == kind {
			return true
		}
	}
	return false
}

func TestEveryPageOfTheConsoleIsReadableInEveryLook(t *testing.T) {
	d := startDesk(t, "")
	s := newScreen(d)
	s.signIn("ada")
	id := d.register(person("Marcus", "Jensen", "1990-05-15", "marcus@example.com"))
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	for i := range 12 {
		d.register(person("Marcus", "Jensen", fmt.Sprintf("1990-05-%02d", i+1), fmt.Sprintf("marcus%d@example.com", i)))
	}
	review := d.queued(d.suspect("arkady@example.com"), 2)
	d.as("rita", "POST", "/v1/reviews/"+review+"/notes", `{"text":"Called the number of the application; the voice gave another birth date."}`)
	letter := d.letter("0b1e7c52-30cd-8f4b-9c55-1d2f3a4b5c6d", "ingrid@example.com")
	d.eventually(waitLong, "the failure is known", func() bool {
		return d.as("ada", "GET", "/v1/registrations?status=FAILED", "").json(t)["registrations"].([]any) != nil
	})
	made := d.as("olga", "POST", "/v1/webhooks", `{"url":"https://core.bank.invalid/usher","description":"Core banking","after":""}`)
	if made.status != http.StatusCreated {
		t.Fatalf("%d %s", made.status, made.body)
	}
	hook := made.json(t)["id"].(string)
	d.as("olga", "POST", "/v1/webhooks/"+hook+"/replay", `{"event":"reg.`+cloudVault+`.`+id+`.requested.1"}`)
	if err := d.bus(events.Risk).Publish(t.Context(), cloudVault, "", events.CustomersScreening{Run: 1, Lists: "demo=1", Tenths: 3, Looked: 4000, Customers: 12000, Opened: 1}); err != nil {
		t.Fatal(err)
	}
	d.opens(events.CaseOpened{Case: "c1f0a2", Version: 1, NextVersion: 2, Registration: id, Hit: events.Hit{List: "demo", Entry: "demo-2", Score: 930}, Lists: "demo=1"})
	d.eventually(waitLong, "lists are in use and the case is open", func() bool {
		return d.listed("ada", "?state=OPEN") != nil && d.as("rita", "GET", "/v1/cases/c1f0a2", "").status == http.StatusOK && d.told(events.FactList)
	})
	pages := map[string]string{
		"pipeline": "pipeline", "registrations": "registrations", "registration": "registrations/" + id, "reviews": "reviews", "review": "reviews/" + review,
		"cases": "cases", "case": "cases/c1f0a2", "deadletters": "deadletters", "deadletter": "deadletters/" + strconv.FormatUint(letter, 10), "webhooks": "webhooks", "webhook": "webhooks/" + hook, "lists": "lists", "mailbox": "mailbox",
	}
	for _, l := range looks {
		s.become(l)
		for name, path := range pages {
			s.open(path)
			if name == "pipeline" {
				s.says(`document.getElementById("connection").textContent`, "live")
			}
			if problems := s.evaluate(s.ctx, readable); problems != "" {
				t.Errorf("%s, %s, %d wide:\n%s", name, l.scheme, l.width, problems)
			}
			s.shoot(name, l)
		}
	}
	s.click(".out button")
	s.says(`String(document.getElementById("token") !== null)`, "true")
	for _, l := range looks {
		s.become(l)
		s.run(s.ctx, chromedp.Navigate(s.ledger("/console/login")), chromedp.WaitReady(chromedp.CSS("#token")))
		if problems := s.evaluate(s.ctx, readable); problems != "" {
			t.Errorf("login, %s, %d wide:\n%s", l.scheme, l.width, problems)
		}
		s.shoot("login", l)
	}
}

func TestAReviewerDecidesByClicksAndByKeys(t *testing.T) {
	d := startDesk(t, "")
	s := newScreen(d)
	first, second := d.suspect("first@example.com"), d.suspect("second@example.com")
	d.queued(first, 2)
	d.queued(second, 2)
	s.signIn("rita")

	s.open("reviews")
	s.click(`a[href$="/reviews/` + first + `-2"]`)
	s.says(`document.querySelector("h1 code")?.textContent ?? ""`, first+"-2")
	if text := s.evaluate(s.ctx, `document.querySelector("main").textContent`); !strings.Contains(text, "Volkharin") {
		t.Error("the case does not show who it is about")
	}
	s.run(s.ctx, chromedp.SendKeys(chromedp.CSS("#text"), "Not the same person."), chromedp.Click(chromedp.CSS(`form[action$="/note"] button`)))
	s.says(`document.querySelector(".note .words")?.textContent ?? ""`, "Not the same person.")
	s.click(`form[data-key="a"] input[value="VERIFIED"]`)
	s.click(`form[data-key="a"] button`)
	s.says(`document.querySelector(".done")?.textContent ?? ""`, "The case is approved.")
	d.reaches(cloudVault, first, "ACTIVATION_SENT")

	// Only the other one is left: j goes to it, Enter opens it, r goes to the reasons, Enter rejects.
	s.press("j")
	s.says(`document.activeElement.textContent`, second+"-2")
	s.press("\r")
	s.says(`document.querySelector("h1 code")?.textContent ?? ""`, second+"-2")
	s.press("r")
	s.says(`document.activeElement.value ?? ""`, "TRUE_MATCH")
	s.press("\r")
	s.says(`document.querySelector(".done")?.textContent ?? ""`, "The case is rejected.")
	d.reaches(cloudVault, second, "REJECTED")
	if text := s.evaluate(s.ctx, `document.querySelector("main").textContent`); !strings.Contains(text, "No case is open.") {
		t.Error("the queue is not empty")
	}
	accesses := 0
	for _, m := range readAll(t, d.jetStream(t), bus.Tenants) {
		if r, err := events.Decode(m.Subject, m.Header, m.Data); err == nil && r.Event.Type() == "person.accessed" {
			accesses++
		}
	}
	if accesses != 3 { // twice the first, since its note was shown
		t.Errorf("%d accesses are logged, want 3", accesses)
	}
}

func TestAnOperatorGivesDeadLettersBackByClickAndByKey(t *testing.T) {
	d := startDesk(t, "")
	s := newScreen(d)
	const first, second = "0b1e7c52-30cd-8f4b-9c55-1d2f3a4b5c6d", "1b1e7c52-30cd-8f4b-9c55-1d2f3a4b5c6d"
	for id, email := range map[string]string{first: "first@example.com", second: "second@example.com"} {
		d.letter(id, email)
		d.reaches(cloudVault, id, "FAILED")
	}
	s.signIn("olga")
	s.open("deadletters")
	s.press("j")
	s.press("j")
	s.press("k")
	s.says(`document.activeElement.textContent`, "1")
	s.press("\r")
	s.says(`document.querySelector("h1").textContent`, "Dead letter 1")
	s.press("r")
	s.says(`document.activeElement.tagName`, "BUTTON")
	s.press("\r")
	s.says(`document.querySelector(".done")?.textContent ?? ""`, "The dead letter is given back to its stage.")
	s.open("deadletters/2")
	if facts := s.evaluate(s.ctx, `document.querySelector("pre").textContent`); !strings.Contains(facts, `"channel": "native"`) || strings.Contains(facts, "Solveig") {
		t.Errorf("the letter shows %s", facts)
	}
	s.click(`form[data-key="r"] button`)
	s.says(`document.querySelector(".done")?.textContent ?? ""`, "The dead letter is given back to its stage.")
	d.reaches(cloudVault, first, "ACTIVATION_SENT")
	d.reaches(cloudVault, second, "ACTIVATION_SENT")
}

func TestTheNumbersOfThePipelineMoveWhileRegistrationsFlow(t *testing.T) {
	d := startDesk(t, "")
	s := newScreen(d)
	s.signIn("carl")
	s.says(`document.getElementById("connection").textContent`, "live")
	const all = 40
	for i := range all {
		d.register(person("Marcus", "Jensen", fmt.Sprintf("19%02d-05-15", 40+i), fmt.Sprintf("m%d@example.com", i)))
	}
	for _, stage := range []string{"gateway", "validator", "risk", "accounts", "notifier", "ledger"} {
		s.says(`String(Number(document.querySelector('[data-stage="`+stage+`"] [data-is="rate"]').textContent) > 0)`, "true")
	}
	s.says(`document.querySelector('[data-count="ACTIVATION_SENT"]').textContent`, strconv.Itoa(all))
	if points := s.evaluate(s.ctx, `document.querySelector('[data-stage="validator"] polyline').getAttribute("points")`); len(strings.Fields(points)) < 3 {
		t.Errorf("the curve has only %s", points)
	}
	s.shoot("pipeline-flowing", looks[0])
}

// stoppable makes a service stop while the others go on.
type stoppable struct{ stop, restart chan struct{} }

func (h stoppable) run(service app.Service) func(context.Context, *app.Env) error {
	return func(ctx context.Context, env *app.Env) error {
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- service.Run(running, env) }()
		select {
		case <-ctx.Done():
		case <-h.stop:
		}
		stop()
		err := <-done
		select {
		case <-ctx.Done():
			return err
		case <-h.restart:
			return service.Run(ctx, env)
		}
	}
}

func TestAStageThatStopsIsSeenInTheConsoleAndTheReadinessWithinHalfAMinute(t *testing.T) {
	cheapHash(t)
	held := stoppable{make(chan struct{}), make(chan struct{})}
	d := startDev(t, t.TempDir(), devOptions{alter: func(services []app.Service) { run(services, events.Validator, held.run(validator.Service)) }})
	s := newScreen(&desk{dev: d})
	s.signIn(testToken)
	s.says(`document.querySelector('[data-stage="validator"] [data-is="state"]')?.textContent ?? ""`, "working")
	close(held.stop)
	stopped := time.Now()
	id := d.register(person("Marcus", "Jensen", "1990-05-15", "late@example.com"))
	readiness := func() string { return string(d.do(http.MethodGet, d.ledger("/readyz"), "", nil).body) }
	d.eventually(30*time.Second, "the readiness names the stage", func() bool { return strings.Contains(readiness(), "warning: stages: validator is stopped") })
	told := time.Since(stopped)
	s.says(`document.querySelector('[data-stage="validator"]').dataset.state`, "stopped")
	s.says(`String(document.getElementById("alerts").textContent.includes("No validator has asked for work"))`, "true")
	seen := time.Since(stopped)
	t.Logf("in /readyz after %v, in the console after %v", told.Round(100*time.Millisecond), seen.Round(100*time.Millisecond))
	if seen > 30*time.Second {
		t.Errorf("it takes %v", seen)
	}
	s.shoot("pipeline-stopped", looks[0])
	close(held.restart)
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	s.says(`document.querySelector('[data-stage="validator"]').dataset.state`, "working")
	d.eventually(waitLong, "the readiness is quiet", func() bool { return !strings.Contains(readiness(), "stages") })
}

func TestTheConsoleOfATenantShowsNothingOfAnother(t *testing.T) {
	d := startDesk(t, "")
	id := d.register(person("Marcus", "Jensen", "1990-05-15", "marcus@example.com"))
	letter := d.letter("0b1e7c52-30cd-8f4b-9c55-1d2f3a4b5c6d", "ingrid@example.com")
	review := d.queued(d.suspect("arkady@example.com"), 2)
	cookie := d.cookie("finn")
	ask := func(path string) (int, string) {
		request, err := http.NewRequest(http.MethodGet, d.ledger(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.AddCookie(cookie)
		a, err := send(request)
		if err != nil {
			t.Fatal(err)
		}
		return a.status, string(a.body)
	}
	for _, path := range []string{"pipeline", "registrations", "registrations/" + id, "reviews/" + review, "deadletters/" + strconv.FormatUint(letter, 10)} {
		if status, _ := ask("/console/t/" + cloudVault + "/" + path); status != http.StatusForbidden {
			t.Errorf("%s of another tenant: %d", path, status)
		}
		status, body := ask("/console/t/" + finsei + "/" + path)
		if status != http.StatusOK && status != http.StatusNotFound && status != http.StatusForbidden || strings.Contains(body, "Volkharin") || status == http.StatusOK && strings.Contains(body, id) {
			t.Errorf("%s under the own tenant: %d", path, status)
		}
	}
}

// cookie signs somebody in without a browser.
func (d *dev) cookie(token string) *http.Cookie {
	d.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.PostForm(d.ledger("/console/login"), map[string][]string{"token": {token}})
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	if len(response.Cookies()) != 1 {
		d.t.Fatalf("%s cannot sign in: %d", token, response.StatusCode)
	}
	return response.Cookies()[0]
}
