package accounts

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/crypto/argon2"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/keys/keystest"
	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

const cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"

var quiet = slog.New(slog.DiscardHandler)

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// people is a vault by registration.
type people map[string]vault.Entry

func (p people) PutBack(_ context.Context, _, registration, _ string, e vault.Entry) (uint64, error) {
	p[registration] = e
	return 8, nil
}

func (p people) Delete(_ context.Context, _, registration string, _ uint64) error {
	delete(p, registration)
	return nil
}

func (p people) Get(_ context.Context, _, registration string, _ uint64) (vault.Entry, error) {
	e, ok := p[registration]
	if !ok {
		return e, vault.ErrMissing
	}
	return e, nil
}

// published are the events of a stream by registration; a follower that lags knows none.
type published struct {
	all     map[string][]events.Record
	lagging bool
	away    bool
}

func (p *published) History(_ context.Context, _, registration string) ([]events.Record, error) {
	if p.lagging {
		return nil, nil
	}
	return p.all[registration], nil
}

func (p *published) StoredAt(_ context.Context, s events.Subject) (events.Record, error) {
	for _, r := range p.all[s.Registration] {
		if r.Subject == s {
			return r, nil
		}
	}
	return events.Record{}, bus.ErrAbsent
}

func (p *published) Publish(_ context.Context, tenant, registration string, e events.Event) error {
	if p.away {
		return errors.New("the broker is away")
	}
	for _, r := range p.all[registration] {
		if r.Subject == events.SubjectOf(tenant, registration, e) {
			return bus.ErrExists
		}
	}
	p.all[registration] = append(p.all[registration], record(registration, e, noon))
	return nil
}

func (p *published) LeaderHistory(_ context.Context, _, registration string) ([]events.Record, error) {
	return p.all[registration], nil
}

// world is an accounts service with real documents and keys.
type world struct {
	*service
	t       *testing.T
	people  people
	stream  *published
	backend store.Backend
	time    time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b := storetest.Embedded(t, accountSchema, upgradeSchema)
	ring := keystest.Ring(t)
	h, err := newHasher(settings{"ACCOUNTS_INSECURE_HASH": "true", "ACCOUNTS_ARGON2": "m=8,t=1,p=1"}.get, quiet, noop.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	p := people{}
	w := &world{&service{config: tenant.Demo(), keys: ring, persons: p, hasher: h, blocklist: &passwords.Blocklist{}, documents: b, accounts: store.NewDocs(b, accountSchema, account.fields), upgrades: store.NewDocs(b, upgradeSchema, upgraded.fields), log: quiet}, t, p, &published{all: map[string][]events.Record{}}, b, noon}
	w.service.stream, w.service.now = w.stream, func() time.Time { return w.time }
	return w
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
	w.stream.all[id] = append(w.stream.all[id], record(id, e, noon))
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

func TestAnAccountThatWasChangedWhileItsPasswordWasHashedIsCompletedAllTheSame(t *testing.T) {
	w := newWorld(t)
	w.register("r1", "a@example.com", "seven quiet lanterns")
	e := events.Categorized{Carried: events.Carried{MAC: "mac", Vault: 7}}
	in := bus.In[events.Categorized]{Record: record("r1", e, noon), Data: e}
	read := w.reader(t.Context(), in)
	claimed, err := w.claim(t.Context(), in, read)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.accounts.Update(t.Context(), claimed); err != nil {
		t.Fatal(err)
	}
	if completed, err := w.complete(t.Context(), in, claimed, read); err != nil || completed.Value.State != created || completed.Value.Password == "" {
		t.Errorf("it is %s, has a password: %t, %v", completed.Value.State, completed.Value.Password != "", err)
	}
	if a := w.stored("r1"); a.State != created || a.Password == "" || a.NoPassword {
		t.Errorf("stored is an account that is %s", a.State)
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
	w.stream.all[id] = append(w.stream.all[id], record(id, e, at))
}

func (w *world) resend(id string, k int, at time.Time) events.Event {
	w.t.Helper()
	e := events.ResendRequested{K: k}
	out := mustEvent(w.onResendRequested(w.t.Context(), bus.In[events.ResendRequested]{Record: record(id, e, at), Data: e}))
	w.stream.all[id] = append(w.stream.all[id], record(id, out, at))
	return out
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

func TestACodeWhoseMailsTheStreamForgotHasExpired(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	delete(w.stream.all, "r1")
	if got := w.present("r1", "late", w.code("r1", 1), noon.Add(8*24*time.Hour)); got != events.CodeExpired {
		t.Errorf("got %q", got)
	}
}

func TestEventsThatComeAgainAfterTheStreamForgotRenewNoCode(t *testing.T) {
	const validity = 24 * time.Hour
	at := noon.Add(8 * 24 * time.Hour)
	created := func(vault uint64) events.Record {
		return record("r1", events.AccountCreated{Carried: events.Carried{Vault: vault}}, at)
	}
	sent := func(epoch int, at time.Time) events.Record {
		return record("r1", events.ActivationSent{Cause: "created", Epoch: epoch}, at)
	}
	issued := func(epoch int) events.Record { return record("r1", events.CodeIssued{K: 1, Epoch: epoch}, at) }
	for name, test := range map[string]struct {
		history []events.Record
		epoch   int
		expired bool
	}{
		"the account's own events":                   {[]events.Record{created(7), sent(1, at)}, 1, false},
		"those of another run":                       {[]events.Record{created(8), sent(1, at)}, 1, true},
		"another run, a later epoch":                 {[]events.Record{created(8), sent(1, at)}, 2, true},
		"an epoch that another run issued":           {[]events.Record{created(8), sent(1, at), issued(2), sent(2, at)}, 2, false},
		"one that is issued and not mailed yet":      {[]events.Record{created(7), issued(2)}, 2, false},
		"the mail outlives the account's event":      {[]events.Record{sent(1, at)}, 1, false},
		"the mail outlives it and is too old":        {[]events.Record{sent(1, noon)}, 1, true},
		"nothing is left":                            {nil, 1, true},
		"the mail of an earlier epoch alone is left": {[]events.Record{sent(1, at)}, 2, true},
	} {
		if got := lifetimeOf(test.history, 7, test.epoch, validity).expired(at.Add(time.Hour)); got != test.expired {
			t.Errorf("%s: expired %v", name, got)
		}
	}
}

func TestACodeHasNotExpiredBecauseAFollowerLags(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	w.stream.lagging = true
	if got := w.present("r1", "q", w.code("r1", 1), noon.Add(time.Second)); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestTheCodesDayBeginsWithTheFirstOfItsMails(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	w.sent("r1", 1, noon.Add(23*time.Hour))
	if got := w.present("r1", "late", w.code("r1", 1), noon.Add(25*time.Hour)); got != events.CodeExpired {
		t.Errorf("got %q", got)
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
	resent := noon.Add(time.Hour)
	if issued, ok := w.resend("r1", 1, resent).(events.CodeIssued); !ok || issued.Epoch != 2 {
		t.Fatalf("resend gave %v", issued)
	}
	for request, want := range map[string]string{"w3": events.WrongCode, "q": events.CodeLocked} {
		for range 10 {
			if got := w.present("r1", request, w.code("r1", 1), resent); got != want {
				t.Errorf("a redelivery of %s after the resend: %q, want %q", request, got, want)
			}
		}
	}
	if got := w.present("r1", "q2", w.code("r1", 2), resent); got != "" {
		t.Errorf("the new code: %q", got)
	}
}

func TestACodeThatWasTooOldStaysSoWhenItIsDeliveredAgain(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	late := noon.Add(25 * time.Hour)
	for range 2 {
		if got := w.present("r1", "q", w.code("r1", 1), late); got != events.CodeExpired {
			t.Errorf("too late: %q", got)
		}
		w.stream.all["r1"] = w.stream.all["r1"][:1] // a replica knows nothing of the mail
	}
}

func TestSoManyCodesADayAreLookedAtWhateverIsResent(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	tries, at := 0, noon
	for epoch := 1; epoch <= 3; epoch++ {
		for range 10 {
			tries++
			at = at.Add(time.Minute)
			if got := w.present("r1", fmt.Sprint("w", tries), "AAAA", at); got != events.WrongCode {
				t.Fatalf("try %d: %q", tries, got)
			}
		}
		at = at.Add(time.Hour)
		if issued, ok := w.resend("r1", epoch, at).(events.CodeIssued); !ok || issued.Epoch != epoch+1 {
			t.Fatalf("resend %d gave %v", epoch, issued)
		}
	}
	e := events.ActivationRequested{RequestID: "q", CodeHash: keys.HashCode("r1", w.code("r1", 4))}
	in := bus.In[events.ActivationRequested]{Record: record("r1", e, at), Data: e}
	opens := noon.Add(24*time.Hour + time.Minute) // a day after the first try
	for range 2 {
		refused, ok := mustEvent(w.onActivationRequested(t.Context(), in)).(events.ActivationRefused)
		if !ok || refused.Code != events.TooManyTries || time.Duration(refused.RetrySeconds)*time.Second != opens.Sub(at) {
			t.Errorf("the right code after 30 wrong ones: %+v", refused)
		}
	}
	if got := w.present("r1", "q2", w.code("r1", 4), opens); got != "" {
		t.Errorf("the right code when the time is over: %q", got)
	}
}

func TestAResendWaitsForTheFirstMailToo(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	for after, want := range map[time.Duration]string{0: events.ResendCooldown, 59 * time.Second: events.ResendCooldown} {
		refused, _ := w.resend("r1", int(after.Seconds())+1, noon.Add(after)).(events.ResendRefused)
		if refused.Code != want || refused.RetrySeconds != 60-int(after.Seconds()) {
			t.Errorf("%v after the account was made: %+v", after, refused)
		}
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

func TestAnOperatorsResendIsNotBoundByTheDailyCap(t *testing.T) {
	w := newWorld(t)
	w.create("r1", "a@example.com")
	w.sent("r1", 1, noon)
	for k := 1; k <= 6; k++ {
		w.resend("r1", k, noon.Add(time.Duration(k)*2*time.Minute))
	}
	e := events.ResendRequested{K: 7, Actor: "operator"}
	for from, granted := range map[events.Service]bool{events.Gateway: false, events.Ledger: true} {
		e.K++
		in := bus.In[events.ResendRequested]{Record: record("r1", e, noon.Add(time.Hour)), Data: e}
		in.Source = from
		if _, ok := mustEvent(w.onResendRequested(t.Context(), in)).(events.CodeIssued); ok != granted {
			t.Errorf("from %s: granted %v", from, ok)
		}
	}
}

func TestWeakHashParametersNeedTheSwitch(t *testing.T) {
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
		"a memory of its own":       {settings{"ACCOUNTS_HASH_MEMORY": "64"}, true},
		"a memory with a unit":      {settings{"ACCOUNTS_HASH_MEMORY": "64MiB"}, false},
		"hardly any memory":         {settings{"ACCOUNTS_HASH_MEMORY": "1"}, false},
	} {
		if _, err := newHasher(test.env.get, quiet, noop.NewMeterProvider()); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
