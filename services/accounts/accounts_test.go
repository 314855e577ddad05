package accounts

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

const cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// people is a vault by registration.
type people map[string]vault.Entry

func (p people) Get(_ context.Context, _, registration string, _ uint64) (vault.Entry, error) {
	e, ok := p[registration]
	if !ok {
		return e, vault.ErrMissing
	}
	return e, nil
}

// world is an accounts service with real documents and keys.
type world struct {
	*service
	t      *testing.T
	people people
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b, err := store.Open(t.Context(), "sqlite://"+t.TempDir(), "accounts", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := b.Ensure(t.Context(), accountSchema); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := keys.Generate(dir); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHasher(settings{"ACCOUNTS_INSECURE_HASH": "true", "ACCOUNTS_ARGON2": "m=8,t=1,p=1"}.get, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	p := people{}
	return &world{&service{config: tenant.Demo(), keys: ring, persons: p, hasher: h, accounts: store.NewDocs(b, accountSchema, account.fields)}, t, p}
}

type settings map[string]string

func (s settings) get(name string) string { return s[name] }

// register puts a person into the vault.
func (w *world) register(id, email, password string) {
	w.t.Helper()
	e := vault.Entry{Registration: events.Registration{Applicant: events.Applicant{Email: email, CanonicalEmail: strings.ToLower(email)}}}
	if password != "" {
		sealed, err := w.keys.SealCredential(cloudVault, id, []byte(password))
		if err != nil {
			w.t.Fatal(err)
		}
		e.Credential = sealed
	}
	w.people[id] = e
}

func record(id string, e events.Event, at time.Time) events.Record {
	return events.Record{Subject: events.SubjectOf(cloudVault, id, e), Event: e, Stored: at}
}

func (w *world) categorize(id, mac string) (events.Event, error) {
	e := events.Categorized{Carried: events.Carried{MAC: mac, Vault: 7}}
	return w.onRegistrationCategorized(w.t.Context(), bus.In[events.Categorized]{Record: record(id, e, noon), Data: e})
}

func (w *world) create(id, email string) events.Event {
	w.t.Helper()
	w.register(id, email, "seven quiet lanterns")
	e, err := w.categorize(id, "mac")
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) stored(id string) account {
	w.t.Helper()
	s, err := w.accounts.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Value
}

func TestAnAccountIsCreatedOnceAndADuplicateIsTurnedDown(t *testing.T) {
	w := newWorld(t)
	first, ok := w.create("r1", "One@Example.com").(events.AccountCreated)
	if !ok || first.Epoch != 1 || first.ValiditySeconds != 86400 || first.PasswordRequired {
		t.Fatalf("got %+v", first)
	}
	phc := w.stored("r1").Password
	if again := w.create("r1", "One@Example.com"); again != events.Event(first) || w.stored("r1").Password != phc {
		t.Errorf("a redelivery gave %v", again)
	}
	rejected, ok := w.create("r2", "oNE@example.COM").(events.Rejected)
	if !ok || rejected.Violations[0].Code != events.CodeDuplicateEmail || w.stored("r2").Password != "" || w.stored("r2").Person != nil {
		t.Errorf("got %v, stored %+v", rejected, w.stored("r2").State)
	}
	if again, ok := w.create("r2", "oNE@example.COM").(events.Rejected); !ok || again.Violations[0] != rejected.Violations[0] {
		t.Errorf("a redelivery gave %v", again)
	}
	if other, ok := mustEvent(w.categorize("r1", "other")).(events.Rejected); !ok || other.Violations[0].Code != events.CodeIdempotencyKeyReused {
		t.Errorf("other content under the same id gave %v", other)
	}
	verify(t, phc, "seven quiet lanterns")
}

func mustEvent(e events.Event, err error) events.Event {
	if err != nil {
		panic(err)
	}
	return e
}

// verify hashes the password again as the PHC string says.
func verify(t *testing.T, phc, password string) {
	t.Helper()
	parts := strings.Split(phc, "$")
	var m, n uint32
	var p uint8
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &n, &p); err != nil || parts[1] != "argon2id" || parts[2] != "v=19" {
		t.Fatalf("not a PHC string: %s", phc)
	}
	salt, _ := base64.RawStdEncoding.DecodeString(parts[4])
	if got := base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(password), salt, n, m, p, 32)); got != parts[5] {
		t.Error("the password does not verify")
	}
}

func TestFiftyRegistrationsOfOneAddressGiveOneAccount(t *testing.T) {
	w := newWorld(t)
	const n = 50
	for i := range n {
		w.register(fmt.Sprint("r", i), "same@example.com", "seven quiet lanterns")
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		created int
	)
	for i := range n {
		wg.Go(func() {
			e, err := w.categorize(fmt.Sprint("r", i), "mac")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if _, ok := e.(events.AccountCreated); ok {
				created++
			}
		})
	}
	wg.Wait()
	if created != 1 {
		t.Errorf("%d accounts", created)
	}
}

func TestACrashBetweenClaimAndHashIsResumed(t *testing.T) {
	w := newWorld(t)
	w.register("r1", "a@example.com", "seven quiet lanterns")
	e := events.Categorized{Carried: events.Carried{MAC: "mac", Vault: 7}}
	in := bus.In[events.Categorized]{Record: record("r1", e, noon), Data: e}
	if _, err := w.claim(t.Context(), in, w.reader(t.Context(), in)); err != nil {
		t.Fatal(err)
	}
	if w.stored("r1").State != creating {
		t.Fatal("the claim is not stored")
	}
	if _, ok := w.create("r1", "a@example.com").(events.AccountCreated); !ok || w.stored("r1").State != created {
		t.Errorf("state %s", w.stored("r1").State)
	}
}

func TestACredentialThatNeverOpensIsNoReasonToTurnACustomerDown(t *testing.T) {
	w := newWorld(t)
	w.register("r1", "a@example.com", "")
	w.register("r2", "b@example.com", "x")
	damaged := w.people["r2"]
	damaged.Credential = []byte("{}x")
	w.people["r2"] = damaged
	for _, id := range []string{"r1", "r2"} {
		if e, ok := mustEvent(w.categorize(id, "mac")).(events.AccountCreated); !ok || !e.PasswordRequired {
			t.Errorf("%s: got %v", id, e)
		}
	}
	stranger := newWorld(t)
	stranger.register("r3", "c@example.com", "x")
	w.people["r3"] = stranger.people["r3"]
	if _, err := w.categorize("r3", "mac"); !errors.Is(err, keys.ErrUnknownKey) {
		t.Errorf("an unknown key is not tried again: %v", err)
	}
}

// present presents a code and returns "" where it activated, else the refusal.
func (w *world) present(id, request, code string, at time.Time) string {
	w.t.Helper()
	e := events.ActivationRequested{RequestID: request, CodeHash: keys.HashCode(id, code)}
	out := mustEvent(w.onActivationRequested(w.t.Context(), bus.In[events.ActivationRequested]{Record: record(id, e, at), Data: e}))
	if refused, ok := out.(events.ActivationRefused); ok {
		return refused.Code
	}
	return ""
}

func (w *world) code(id string, epoch int) string {
	w.t.Helper()
	code, err := w.keys.ActivationCode(id, epoch)
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

func (w *world) sent(id string, epoch int, at time.Time) {
	w.t.Helper()
	e := events.ActivationSent{Cause: "created", Epoch: epoch}
	mustEvent(w.onActivationSent(w.t.Context(), bus.In[events.ActivationSent]{Record: record(id, e, at), Data: e}))
}

func (w *world) resend(id string, k int, at time.Time) events.Event {
	w.t.Helper()
	e := events.ResendRequested{K: k}
	return mustEvent(w.onResendRequested(w.t.Context(), bus.In[events.ResendRequested]{Record: record(id, e, at), Data: e}))
}

func TestTheRightCodeActivatesOnce(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	for _, step := range []struct {
		request, code, want string
		after               time.Duration
	}{
		{"w1", "AAAA", events.WrongCode, time.Minute},
		{"q1", w.code("r1", 1), "", time.Hour},
		{"q1", w.code("r1", 1), "", 48 * time.Hour},                  // the same request again
		{"w1", "AAAA", events.WrongCode, time.Hour},                  // the wrong one again
		{"q2", w.code("r1", 1), events.AlreadyActive, 2 * time.Hour}, // another with the right code
		{"w2", w.code("r1", 2), events.WrongCode, 2 * time.Hour},     // another with a wrong one
	} {
		if got := w.present("r1", step.request, step.code, noon.Add(step.after)); got != step.want {
			t.Errorf("%s after %v: got %q, want %q", step.request, step.after, got, step.want)
		}
	}
	if got := w.present("absent", "q", "AAAA", noon); got != events.WrongCode {
		t.Errorf("an unknown registration: %q", got)
	}
}

func TestTheCodeExpires24HoursAfterItsSendingAndAResendRenewsIt(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	if got := w.present("r1", "early", "AAAA", noon.Add(-time.Hour)); got != events.WrongCode {
		t.Errorf("before its sending: %q", got)
	}
	w.sent("r1", 1, noon)
	late := noon.Add(24*time.Hour + time.Second)
	if got := w.present("r1", "late", w.code("r1", 1), late); got != events.CodeExpired {
		t.Errorf("after 24 h: %q", got)
	}
	issued, ok := w.resend("r1", 1, late).(events.CodeIssued)
	if !ok || issued.Epoch != 2 {
		t.Fatalf("resend gave %v", issued)
	}
	w.sent("r1", 2, late)
	if got := w.present("r1", "old", w.code("r1", 1), late); got != events.WrongCode {
		t.Errorf("the old code: %q", got)
	}
	if got := w.present("r1", "new", w.code("r1", 2), late.Add(time.Hour)); got != "" {
		t.Errorf("the new code: %q", got)
	}
}

func TestTenWrongCodesLockAndAResendUnlocks(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	for i := range 10 {
		if got := w.present("r1", fmt.Sprint("w", i), "AAAA", noon); got != events.WrongCode {
			t.Fatalf("try %d: %q", i+1, got)
		}
	}
	if got := w.present("r1", "q", w.code("r1", 1), noon); got != events.CodeLocked {
		t.Errorf("the right code after ten wrong ones: %q", got)
	}
	if got := w.present("r1", "w3", "AAAA", noon); got != events.WrongCode {
		t.Errorf("a repeated wrong one: %q", got)
	}
	if issued, ok := w.resend("r1", 1, noon.Add(time.Hour)).(events.CodeIssued); !ok || issued.Epoch != 2 {
		t.Fatalf("resend gave %v", issued)
	}
	if got := w.present("r1", "q2", w.code("r1", 2), noon.Add(time.Hour)); got != "" {
		t.Errorf("the new code: %q", got)
	}
}

func TestResendsHaveACooldownAndADailyCapAndKeepALiveCode(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	refusal := func(e events.Event) string {
		if r, ok := e.(events.ResendRefused); ok {
			return r.Code
		}
		return ""
	}
	if got := refusal(w.resend("r1", 1, noon.Add(30*time.Second))); got != events.ResendCooldown {
		t.Errorf("after 30 s: %q", got)
	}
	for k := 2; k <= 6; k++ {
		e := w.resend("r1", k, noon.Add(time.Duration(k)*2*time.Minute))
		if issued, ok := e.(events.CodeIssued); !ok || issued.Epoch != 1 {
			t.Fatalf("resend %d gave %v", k, e)
		}
		if again := w.resend("r1", k, noon.Add(time.Hour)); again != e {
			t.Errorf("resend %d again gave %v, first %v", k, again, e)
		}
	}
	if got := refusal(w.resend("r1", 7, noon.Add(time.Hour))); got != events.ResendDailyCap {
		t.Errorf("the sixth of a day: %q", got)
	}
	if got := w.present("r1", "q", w.code("r1", 1), noon.Add(time.Hour)); got != "" {
		t.Errorf("the code of the first mail: %q", got)
	}
	if got := refusal(w.resend("r1", 8, noon.Add(48*time.Hour))); got != events.ResendClosed {
		t.Errorf("after activation: %q", got)
	}
}

func TestWeakHashParametersNeedTheSwitch(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for name, test := range map[string]struct {
		env settings
		ok  bool
	}{
		"none are given":            {settings{}, true},
		"the default":               {settings{"ACCOUNTS_ARGON2": "m=19456,t=2,p=1"}, true},
		"another of OWASP's":        {settings{"ACCOUNTS_ARGON2": "m=47104,t=1,p=1"}, true},
		"weak ones":                 {settings{"ACCOUNTS_ARGON2": "m=8,t=1,p=1"}, false},
		"weak ones with the switch": {settings{"ACCOUNTS_ARGON2": "m=8,t=1,p=1", "ACCOUNTS_INSECURE_HASH": "true"}, true},
		"rubbish":                   {settings{"ACCOUNTS_ARGON2": "fast"}, false},
	} {
		if _, err := newHasher(test.env.get, log); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
