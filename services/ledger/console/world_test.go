package console

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/tenant"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const letterSubject = "reg.acme.r1.requested.1"

// backend stands for the ledger, and keeps what was done to it.
type backend struct {
	mu      sync.Mutex
	done    []string
	fails   error
	stopped bool
}

func (b *backend) do(what string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = append(b.done, what)
	return b.fails
}

func (b *backend) Picture(string) Picture {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := Picture{At: noon}
	for _, s := range events.Services {
		p.Stages = append(p.Stages, Stage{Service: s, State: StageWorking, Rate: 12.5, Pending: 7})
	}
	if b.stopped {
		p.Stages[1].State, p.Stages[1].Why = StageStopped, "No validator has asked for work for 12 s."
	}
	return p
}
func (b *backend) Watch(string) (func(), bool) { return func() {}, true }
func (b *backend) Counts(context.Context, string) (Counts, error) {
	return Counts{Statuses: map[events.Status]int64{events.StatusFailed: 41}}, b.fails
}

type registrationsOf struct{ *backend }

func (b registrationsOf) List(_ context.Context, _ string, q url.Values) ([]Registration, string, error) {
	return []Registration{{"r1", events.StatusFailed, "", noon}}, "c2", b.do("list " + q.Encode())
}
func (b registrationsOf) History(_ context.Context, t, id string, _ tenant.Principal) (History, error) {
	if id != "r1" {
		return History{}, NotFound("The tenant has no such registration.")
	}
	return History{
		RegistrationView: app.RegistrationView{ID: id, Tenant: t, Channel: "native", Status: events.StatusFailed, TraceID: "0af7651916cd43dd8448eb211c80319c", Risk: &events.Assessment{Score: 77, Level: "HIGH", By: "policy", Reasons: []events.Reason{{Rule: "listed", Points: 60}}}},
		Steps:            []Step{{"registration.requested", events.Gateway, "requested.1", noon, ""}, {"registration.validated", events.Validator, "validation.1", noon.Add(90 * time.Millisecond), ""}},
		Mails:            []Mail{{Cause: "created", State: "FAILED", Attempts: 3, Answer: "550 5.1.1", AskedAt: noon}},
	}, b.fails
}
func (b registrationsOf) Resend(_ context.Context, t, id, actor string) error {
	return b.do("resend " + t + " " + id + " " + actor)
}

type reviewsOf struct{ *backend }

func aReview(id string) Review {
	return Review{ID: id, Registration: "r1", State: "OPEN", OpenedAt: &noon, Score: 77, Level: "HIGH", Hits: 1}
}
func (b reviewsOf) List(_ context.Context, _ string, q url.Values) ([]Review, string, error) {
	return []Review{aReview("r1-2")}, "", b.do("reviews " + q.Encode())
}
func (b reviewsOf) Open(_ context.Context, t, id, actor string) (OpenReview, error) {
	o := OpenReview{Review: aReview(id), Person: &events.Applicant{GivenName: "Ingrid", FamilyName: "<b>Solveig"}, Written: []Note{{noon, "sam", "called <script>"}}}
	o.Listed = []Listed{{"un", "e1", 990, &lists.Entry{Names: []lists.Name{{Text: "Solveig I."}}}, "v1"}}
	return o, b.do("open " + t + " " + id + " " + actor)
}
func (b reviewsOf) Take(_ context.Context, t, id, actor string) error {
	return b.do("take " + t + " " + id + " " + actor)
}
func (b reviewsOf) Note(_ context.Context, t, id, actor, text string) error {
	return b.do("note " + t + " " + id + " " + actor + " " + text)
}
func (b reviewsOf) Decide(_ context.Context, t, id string, approved bool, actor, reason string) error {
	if approved {
		return b.do("approve " + t + " " + id + " " + actor + " " + reason)
	}
	return b.do("reject " + t + " " + id + " " + actor + " " + reason)
}

type casesOf struct{ *backend }

func (b casesOf) List(context.Context, string, url.Values) ([]Case, string, error) {
	return []Case{{ID: "c1", Registration: "r1", State: "OPEN", OpenedAt: noon, Hit: &events.Hit{List: "un", Entry: "e1", Score: 990}}}, "", nil
}
func (b casesOf) Open(_ context.Context, t, id, actor string) (OpenCase, error) {
	return OpenCase{Case: Case{ID: id, Registration: "r1", State: "OPEN", OpenedAt: noon}, Person: &events.Applicant{GivenName: "Ingrid"}}, b.do("opencase " + t + " " + id + " " + actor)
}
func (b casesOf) Decide(_ context.Context, t, id string, cleared bool, actor, reason string) error {
	if cleared {
		return b.do("clear " + t + " " + id + " " + actor + " " + reason)
	}
	return b.do("confirm " + t + " " + id + " " + actor + " " + reason)
}

func (b *backend) DeadLettersOf(context.Context, string, uint64, int) ([]bus.DeadLetter, error) {
	return []bus.DeadLetter{{Sequence: 3, Service: events.Validator, Subject: letterSubject, Reason: "TEST", Detail: "on purpose", At: noon}}, b.fails
}
func (b *backend) DeadLetter(_ context.Context, t string, sequence uint64) (bus.DeadLetter, error) {
	if t != "acme" || sequence != 3 {
		return bus.DeadLetter{}, bus.ErrAbsent
	}
	return bus.DeadLetter{Sequence: 3, Service: events.Validator, Subject: letterSubject, Reason: "TEST", Detail: "on purpose", At: noon}, nil
}
func (b *backend) Replayed(context.Context, bus.DeadLetter) (bool, error) { return false, nil }
func (b *backend) Replay(context.Context, uint64) error                   { return b.do("replay 3") }

type webhooksOf struct{ *backend }

func (b webhooksOf) List(context.Context, string, string) ([]Webhook, string, error) {
	hook, err := b.Get(context.Background(), "acme", "h1")
	return []Webhook{hook}, "", err
}
func (b webhooksOf) Get(_ context.Context, _, id string) (Webhook, error) {
	if id != "h1" {
		return Webhook{}, NotFound("The tenant has no such webhook.")
	}
	return Webhook{ID: id, URL: "https://hooks.example.com/in", State: "enabled", Behind: 17}, b.fails
}
func (b webhooksOf) Deliveries(context.Context, string, string, url.Values) ([]Delivery, string, error) {
	return []Delivery{{Event: letterSubject, Type: "registration.requested", State: "failed", Sequence: 9, At: noon, Attempts: []Attempt{{noon, time.Second, 502, "bad gateway"}}}}, "", nil
}
func (b webhooksOf) Of(_ context.Context, _, registration string) ([]Sent, error) {
	return []Sent{{Delivery: Delivery{Event: "reg.acme." + registration + ".requested.1", Type: "registration.requested", State: "failed", At: noon, Attempts: []Attempt{{noon, time.Second, 503, "the receiver is away"}}}, Webhook: "h1", URL: "https://core.bank.example/usher"}}, nil
}
func (b webhooksOf) Replay(_ context.Context, t, id, actor string, sequence uint64) error {
	return b.do("resend " + t + " " + id + " " + actor + " " + strconv.FormatUint(sequence, 10))
}

func (b *backend) Loaded() []List { return []List{{ID: "un", Version: "v1", Entries: 8}} }
func (b *backend) Screening(context.Context, string) (Screening, error) {
	return Screening{
		Used:  []ListUse{{events.ListActivated{List: "un", Version: "v2"}, noon.Add(time.Hour)}},
		Runs:  []Run{{events.CustomersScreened{Run: 1, Lists: "un=v1"}, noon}},
		Under: &RunUnderWay{events.CustomersScreening{Run: 2, Looked: 4000, Customers: 12000, Opened: 2}, noon},
	}, nil
}
func (b *backend) Newest(string, int) ([]DevMail, error) {
	return []DevMail{{To: "a@example.com", Subject: "Welcome", Text: "go to http://127.0.0.1/activate/x"}}, nil
}

// desk is a console and who may sign in.
type desk struct {
	t       *testing.T
	handler http.Handler
	back    *backend
	config  *tenant.Config
	auth    *tenant.Authenticator
	cookies map[string]*http.Cookie // by token
}

// tokens are their own subjects, all of tenant acme but the last.
var tokens = map[string]tenant.Principal{
	"carl":   {Subject: "carl", Tenants: []string{"acme"}, Roles: []tenant.Role{tenant.Compliance}},
	"rita":   {Subject: "rita", Tenants: []string{"acme"}, Roles: []tenant.Role{tenant.Reviewer}},
	"olga":   {Subject: "olga", Tenants: []string{"acme"}, Roles: []tenant.Role{tenant.Operator}},
	"ada":    {Subject: "ada", Tenants: []string{"*"}, Roles: []tenant.Role{tenant.Admin}},
	"chan":   {Subject: "chan", Tenants: []string{"acme"}, Roles: []tenant.Role{tenant.Channel}},
	"policy": {Subject: events.ByPolicy, Tenants: []string{"acme"}, Roles: []tenant.Role{tenant.Reviewer}},
	"gina":   {Subject: "gina", Tenants: []string{"globex"}, Roles: []tenant.Role{tenant.Admin}},
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	dir := t.TempDir()
	if err := keys.Generate(dir); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, back: &backend{}, cookies: map[string]*http.Cookie{}}
	d.config = &tenant.Config{Tenants: []*tenant.Tenant{{ID: "acme", Name: "Acme & Sons"}, {ID: "globex", Name: "Globex"}}}
	if d.auth, err = tenant.NewAuthenticator(tenant.Auth{}); err != nil {
		t.Fatal(err)
	}
	for token, p := range tokens {
		d.auth.AddToken(token, p)
	}
	guard := tenant.NewGuard(d.auth)
	d.handler = New(Config{
		Tenants: func() *tenant.Config { return d.config }, Keys: ring, Log: slog.New(slog.DiscardHandler), Ending: t.Context().Done(),
		Authenticate: func(r *http.Request) (tenant.Principal, error) { return guard.Authenticate(r, d.config) },
		Pipeline:     d.back, Registrations: registrationsOf{d.back}, Reviews: reviewsOf{d.back}, Cases: casesOf{d.back}, DeadLetters: d.back, Webhooks: webhooksOf{d.back}, Lists: d.back, Mailbox: d.back,
	})
	return d
}

func (d *desk) send(r *http.Request) *http.Response {
	d.t.Helper()
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Result()
}

func post(path string, form url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// signIn returns the cookie of somebody.
func (d *desk) signIn(token string) *http.Cookie {
	d.t.Helper()
	if c := d.cookies[token]; c != nil {
		return c
	}
	answer := d.send(post("/console/login", url.Values{"token": {token}}))
	if answer.StatusCode != http.StatusSeeOther || len(answer.Cookies()) != 1 {
		d.t.Fatalf("%s cannot sign in: %d", token, answer.StatusCode)
	}
	d.cookies[token] = answer.Cookies()[0]
	return d.cookies[token]
}

// get is a page as somebody sees it.
func (d *desk) get(token, path string) (status int, body string) {
	d.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.AddCookie(d.signIn(token))
	answer := d.send(r)
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return answer.StatusCode, string(raw)
}

var formPattern = regexp.MustCompile(`name="form" value="([^"]+)"`)

// act sends a form of a page of the session.
func (d *desk) act(token, path string, form url.Values) (status int, location string) {
	d.t.Helper()
	_, page := d.get(token, "/console/t/acme/pipeline")
	form.Set("form", formPattern.FindStringSubmatch(page)[1])
	r := post(path, form)
	r.AddCookie(d.signIn(token))
	answer := d.send(r)
	return answer.StatusCode, answer.Header.Get("Location")
}
