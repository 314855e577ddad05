package usher

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
)

// known are the values of a customer, written as nobody else has them.
var known = []string{"Quillonda", "Marrowquist", "quillonda@marrowquist.example", "1961-03-17", "+37061234567", "Zibelstrasse 91", "a hidden marrow phrase"}

func knownBody() []byte {
	body, err := json.Marshal(map[string]any{
		"applicant": map[string]any{
			"givenName": known[0], "familyName": known[1], "email": known[2], "birthDate": known[3], "phone": known[4],
			"addresses": []any{map[string]any{"lines": []string{known[5]}, "country": "LT"}},
		},
		"credentials": map[string]any{"password": known[6]},
	})
	if err != nil {
		panic(err)
	}
	return body
}

// registerKnown sends the customer's request under a key and returns the answer.
func (d *dev) registerKnown() answer {
	return d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, knownBody(), "Idempotency-Key", "the known customer")
}

func (d *dev) erase(id string) answer {
	return d.do(http.MethodDelete, d.gateway("/v1/registrations/"+id+"/personal-data"), cloudVault, nil, "Prefer", "wait=20")
}

func TestAnErasedCustomerIsNowhereAndStaysErased(t *testing.T) {
	cheapHash(t)
	for name, handlers := range map[string]devOptions{"once": {}, "every handler twice": {twice: true}} {
		t.Run(name, func(t *testing.T) {
			dir, logs := t.TempDir(), &lockedBuffer{}
			handlers.logs = logs
			d := startDev(t, dir, handlers)
			id := d.registerKnown().json(t)["id"].(string)
			d.reaches(cloudVault, id, "ACTIVATION_SENT")
			code := d.code(known[2])
			other := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody("other@example.com")).json(t)["id"].(string)
			d.reaches(cloudVault, other, "ACTIVATION_SENT")
			if found := findIn(t, dir, known[2]); len(found) == 0 {
				t.Fatal("the files hold no captured mail: the test is blind")
			}
			erased := d.erase(id)
			if erased.status != http.StatusOK || erased.json(t)["status"] != "ERASED" || len(erased.json(t)["awaiting"].([]any)) != 0 {
				t.Fatalf("the erasure answers %d %s", erased.status, erased.body)
			}
			checkGone(t, d, dir, logs)

			if again := d.registerKnown(); again.status != http.StatusUnprocessableEntity || !strings.Contains(string(again.body), "erased") {
				t.Errorf("the request that comes again answers %d %s", again.status, again.body)
			}
			activation := d.gateway("/v1/registrations/" + id + "/activation")
			if a := d.do(http.MethodPost, activation, cloudVault, []byte(`{"code":"`+code+`"}`)); a.status != http.StatusGone {
				t.Errorf("the code answers %d %s", a.status, a.body)
			}
			if a := d.do(http.MethodPost, activation+"/resend", cloudVault, nil); a.status != http.StatusGone {
				t.Errorf("a resend answers %d %s", a.status, a.body)
			}
			if a := d.erase(id); a.status != http.StatusOK {
				t.Errorf("a second erasure answers %d %s", a.status, a.body)
			}
			d.eventually(waitLong, "the ledger says so", func() bool {
				return d.do(http.MethodGet, d.ledger("/v1/registrations/"+id), cloudVault, nil).json(t)["status"] == "ERASED"
			})
			checkGone(t, d, dir, logs)
			if len(d.mails("other@example.com")) != 1 || d.status(cloudVault, other)["status"] != "ACTIVATION_SENT" {
				t.Error("another customer's mail or registration is gone")
			}
			if a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, knownBody(), "Idempotency-Key", "a new one"); a.status != http.StatusAccepted {
				t.Errorf("the same person under another key answers %d %s", a.status, a.body)
			} else {
				d.reaches(cloudVault, a.json(t)["id"].(string), "ACTIVATION_SENT")
			}
		})
	}
}

// checkGone searches the streams, all files but the broker's and the logs for the customer's values.
func checkGone(t *testing.T, d *dev, dir string, logs *lockedBuffer) {
	t.Helper()
	js := d.jetStream(t)
	for _, stream := range []string{bus.Registrations, bus.VaultStream, bus.DeadLetters, bus.Replays, bus.Tenants, bus.FeedStream(cloudVault)} {
		for _, m := range readAll(t, js, stream) {
			if strings.HasPrefix(m.Subject, "vault."+cloudVault) {
				t.Errorf("the vault still has entry %d", m.Sequence)
			}
			for _, value := range known {
				if bytes.Contains(bytes.ToLower(m.Data), []byte(strings.ToLower(value))) {
					t.Errorf("message %s of %s holds %q", m.Subject, stream, value)
				}
			}
		}
	}
	for _, value := range known {
		if found := findIn(t, dir, value); len(found) > 0 {
			t.Errorf("%q is still in %v", value, found)
		}
		if strings.Contains(logs.String(), value) {
			t.Errorf("%q is in the logs", value)
		}
	}
}

// findIn names the files under a directory that hold a text, in whatever case.
func findIn(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(bytes.ToLower(raw), []byte(strings.ToLower(text))) {
			found = append(found, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return found
}

// Whom nobody activates is erased like anybody who asks for it, and the registration still says why.
func TestWhomNobodyActivatesIsNowhereAndTheRegistrationStaysExpired(t *testing.T) {
	for name, o := range map[string]devOptions{"once": {}, "every handler twice": {twice: true}} {
		t.Run(name, func(t *testing.T) {
			dir, logs := t.TempDir(), &lockedBuffer{}
			o.logs = logs
			d := startDevIn(t, dir, o, "    activation: {codeValidity: 2s, expireAfter: 3s}\n")
			id := d.registerKnown().json(t)["id"].(string)
			d.reaches(cloudVault, id, "EXPIRED")
			d.eventually(waitLong, "every service has erased", func() bool {
				answers := 0
				for _, m := range readAll(t, d.jetStream(t), bus.Registrations) {
					if strings.HasPrefix(m.Subject, "reg."+cloudVault+"."+id+".erased.") && strings.HasSuffix(m.Subject, "-"+events.AfterExpiry) {
						answers++
					}
				}
				return answers == len(events.Services)
			})
			checkGone(t, d, dir, logs)
			report, _ := prove(t, d, dir, id)
			for line := range strings.Lines(report) {
				if strings.HasPrefix(line, "LEFT") && !strings.Contains(line, "an entry of the vault that a key at hand opens") || strings.Contains(line, "has not ended") {
					t.Errorf("expired, and %s", line)
				}
			}
			again := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, knownBody(), "Idempotency-Key", "the known customer", "Prefer", "wait=20")
			if again.status != http.StatusCreated || again.json(t)["status"] != "EXPIRED" {
				t.Errorf("the request that comes again answers %d %s", again.status, again.body)
			}
			d.eventually(waitLong, "the ledger says so", func() bool {
				return d.do(http.MethodGet, d.ledger("/v1/registrations/"+id), cloudVault, nil).json(t)["status"] == "EXPIRED"
			})
			if a := d.erase(id); a.status != http.StatusOK || a.json(t)["status"] != "ERASED" {
				t.Errorf("an erasure that is asked for answers %d %s", a.status, a.body)
			}
		})
	}
}

func TestAnErasureEndsAtEveryMomentOfThePipeline(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	// However far each is when its erasure comes, it ends ERASED and leaves no entry in the vault.
	var ids []string
	for i := range 40 {
		a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody("moment"+string(rune('a'+i%26))+string(rune('a'+i/26))+"@example.com"))
		id := a.json(t)["id"].(string)
		<-time.After(time.Duration(i) * time.Millisecond)
		if a := d.do(http.MethodDelete, d.gateway("/v1/registrations/"+id+"/personal-data"), cloudVault, nil); a.status != http.StatusAccepted {
			t.Fatalf("the erasure answers %d %s", a.status, a.body)
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		d.reaches(cloudVault, id, "ERASED")
	}
	d.eventually(waitLong, "the vault is empty", func() bool { return len(readAll(t, d.jetStream(t), bus.VaultStream)) == 0 })
	for i := range ids {
		address := "moment" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "@example.com"
		if mails := d.mails(address); len(mails) != 0 {
			t.Errorf("%s has captured mail", address)
		}
	}
	if dead := readAll(t, d.jetStream(t), bus.DeadLetters); len(dead) != 0 {
		t.Errorf("%d dead letters, the first because of %s", len(dead), dead[0].Header.Get(bus.HeaderReason))
	}
}

// An erased registration that its client sends again after the stream has forgotten it stays
// erased: so does one whose dead letter is replayed then.
func TestWhatTheStreamForgotStaysErased(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	t.Setenv("NATS_URL", "nats://"+d.command.NATS)
	id := d.registerKnown().json(t)["id"].(string)
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	if a := d.erase(id); a.status != http.StatusOK {
		t.Fatalf("the erasure answers %d %s", a.status, a.body)
	}
	ledger := func() bool {
		return d.do(http.MethodGet, d.ledger("/v1/registrations/"+id), cloudVault, nil).json(t)["status"] == "ERASED"
	}
	d.eventually(waitLong, "the ledger says so", ledger)
	stream, err := d.jetStream(t).Stream(t.Context(), bus.Registrations)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, knownBody(), "Idempotency-Key", "the known customer", "Prefer", "wait=20")
	if again.status != http.StatusUnprocessableEntity || !strings.Contains(string(again.body), "erased") || again.header.Get("X-Registration-ID") != id {
		t.Errorf("the request that comes again answers %d %s", again.status, again.body)
	}
	d.reaches(cloudVault, id, "ERASED")
	d.eventually(waitLong, "its entry is taken out of the vault", func() bool { return len(readAll(t, d.jetStream(t), bus.VaultStream)) == 0 })
	replays(t, d, id)
	if mails := d.mails(known[2]); len(mails) != 0 {
		t.Errorf("%d mails are captured", len(mails))
	}
	if !ledger() {
		t.Error("the ledger has it as something else")
	}
}

func TestErasureIsForAdministratorsAndTheCommandLine(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	id := d.registerKnown().json(t)["id"].(string)
	for url, want := range map[string]int{
		d.gateway("/v1/registrations/" + id + "/personal-data"):                           http.StatusNotFound, // of another tenant
		d.ledger("/v1/registrations/" + id + "/personal-data"):                            http.StatusNotFound,
		d.gateway("/v1/registrations/00000000-0000-8000-8000-000000000000/personal-data"): http.StatusNotFound,
	} {
		if a := d.do(http.MethodDelete, url, finsei, nil); a.status != want {
			t.Errorf("%s answers %d %s", url, a.status, a.body)
		}
	}
	t.Setenv("NATS_URL", "nats://"+d.command.NATS)
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"erase", "no-such-registration"}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "--tenant") {
		t.Errorf("an unknown id: %d %s", code, errs.String())
	}
	for _, more := range [][]string{nil, {"--verify"}} {
		errs.Reset()
		wrong := append([]string{"erase", id, "--tenant", finsei}, more...)
		if code := execute(t.Context(), wrong, &out, &errs); code != 1 || !strings.Contains(errs.String(), "it is one of tenant "+cloudVault) {
			t.Errorf("under another tenant %v: %d %s", more, code, errs.String())
		}
	}
	if got := d.status(cloudVault, id)["status"]; got == "ERASED" || out.Len() > 0 {
		t.Errorf("under another tenant: it is %v; %s", got, out.String())
	}
	if code := execute(t.Context(), []string{"erase", id}, &out, &errs); code != 0 {
		t.Fatalf("%d %s", code, errs.String())
	}
	for _, s := range events.Services {
		if !strings.Contains(out.String(), string(s)+" has erased\n") {
			t.Errorf("%s is not told of:\n%s", s, out.String())
		}
	}
	if d.status(cloudVault, id)["status"] != "ERASED" {
		t.Errorf("status is %v", d.status(cloudVault, id)["status"])
	}
}

// Where the broker has forgotten whose a registration is, only those who have it know.
func TestAnErasureUnderAnotherTenantOfWhatTheBrokerForgotIsNotToldAsDone(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	t.Setenv("NATS_URL", "nats://"+d.command.NATS)
	id := d.registerKnown().json(t)["id"].(string)
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	ledger := func() any {
		return d.do(http.MethodGet, d.ledger("/v1/registrations/"+id), cloudVault, nil).json(t)["status"]
	}
	d.eventually(waitLong, "the ledger says so", func() bool { return ledger() == "ACTIVATION_SENT" })
	stream, err := d.jetStream(t).Stream(t.Context(), bus.Registrations)
	if err == nil {
		err = stream.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	code, _, errs := command(t, "erase", id, "--tenant", finsei, "--wait", "5s")
	if code != 1 || !strings.Contains(errs, "[gateway validator risk accounts notifier ledger], who never answer") {
		t.Errorf("under another tenant: %d %s", code, errs)
	}
	if got := ledger(); got != "ACTIVATION_SENT" || len(d.mails(known[2])) != 1 {
		t.Errorf("it is %v, with %d mails", got, len(d.mails(known[2])))
	}
	if code, out, errs := command(t, "erase", id, "--tenant", cloudVault); code != 0 {
		t.Errorf("under its own: %d %s%s", code, out, errs)
	}
	d.eventually(waitLong, "the ledger says so", func() bool { return ledger() == "ERASED" })
}

// prove runs the command that searches everything of a dev directory for the customer.
func prove(t *testing.T, d *dev, dir, id string) (report string, clean bool) {
	t.Helper()
	values := filepath.Join(t.TempDir(), "values")
	if err := os.WriteFile(values, []byte(strings.Join(known, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_URL", "nats://"+d.command.NATS)
	if strings.HasPrefix(d.command.Store, "mongodb://") { // else the documents are in the directory
		t.Setenv("STORE_URL", d.command.Store)
	}
	var out, errs bytes.Buffer
	code := execute(t.Context(), []string{"erase", id, "--tenant", cloudVault, "--verify", "--values", values, "--data", dir}, &out, &errs)
	if code != 0 && !strings.Contains(errs.String(), "findings") {
		t.Fatalf("the search fails: %s%s", out.String(), errs.String())
	}
	for _, value := range known {
		if strings.Contains(out.String()+errs.String(), value) {
			t.Errorf("the report tells the value %q", value)
		}
	}
	return out.String() + errs.String(), code == 0
}

func TestTheProofFindsWhatIsLeftAndNothingWhenAllIsErased(t *testing.T) {
	cheapHash(t)
	dir := t.TempDir()
	d := startDev(t, dir, devOptions{})
	// Who waits for a review keeps the broker from throwing away the file of the vault's entries.
	d.reaches(cloudVault, d.register(person("Ignacio Efrain", "Trejoblanco Zuritaval", "1968-11-30", "listed@example.com")), "IN_REVIEW")
	id := d.registerKnown().json(t)["id"].(string)
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	report, clean := prove(t, d, dir, id)
	for _, want := range []string{
		"its erasure has not ended",
		"stream VAULT:", "documents ledger registrations:",
		"LEFT in documents accounts accounts: value 3 as a keyed hash",
		"LEFT in documents accounts accounts: a document of the registration with something sealed or hashed: claims.u_email",
		"LEFT in documents accounts accounts: a sealed field that a key at hand opens",
		"LEFT in documents accounts accounts: a document of the registration with something sealed or hashed: password",
		"LEFT in documents notifier mails: a sealed field that a key at hand opens",
		"mails.ndjson: value 3 in clear",
		"an entry of the vault that a key at hand opens", // in the broker's files, though the entry is deleted
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if clean || t.Failed() {
		t.Fatalf("the report is\n%s", report)
	}

	if a := d.erase(id); a.status != http.StatusOK {
		t.Fatalf("the erasure answers %d %s", a.status, a.body)
	}
	report, clean = prove(t, d, dir, id)
	for line := range strings.Lines(report) {
		if strings.HasPrefix(line, "LEFT") && !strings.Contains(line, "an entry of the vault that a key at hand opens") {
			t.Errorf("erased, and %s", line)
		}
	}
	if clean {
		t.Error("the deleted entry of the vault is in the broker's files until its key is destroyed, and was not found")
	}
	ring := filepath.Join(dir, "keys")
	maxAge := time.Duration(tenant.Demo().Broker.MaxAge)
	for day := time.Now(); time.Until(day) < maxAge+48*time.Hour; day = day.Add(24 * time.Hour) {
		if _, _, err := keys.Renew(ring, keys.Vault, day, 0, maxAge); err != nil {
			t.Fatal(err)
		}
	}
	if report, clean := prove(t, d, dir, id); !clean {
		t.Errorf("after its key was destroyed:\n%s", report)
	}
}

// replays checks that a dead letter of an erased registration cannot be replayed, and that one which
// was given back already changes nothing.
func replays(t *testing.T, d *dev, id string) {
	t.Helper()
	js := d.jetStream(t)
	var request *jetstream.RawStreamMsg
	for _, m := range readAll(t, js, bus.Registrations) {
		if m.Subject == "reg."+cloudVault+"."+id+".requested.1" {
			request = m
		}
	}
	if request == nil {
		t.Fatal("there is no request")
	}
	header := nats.Header{}
	for name, values := range request.Header {
		if !strings.HasPrefix(name, "Nats-") {
			header[name] = values
		}
	}
	for _, prefix := range []string{"dead.validator.0.", "replay.validator.1."} {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: prefix + request.Subject, Header: header, Data: request.Data}); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, errs := command(t, "deadletters", "replay", "1"); code != 1 || !strings.Contains(errs, "ERASED") {
		t.Errorf("a replay: %d %s", code, errs)
	}
	d.eventually(waitLong, "the replay is handled", func() bool {
		consumer, err := js.Consumer(t.Context(), bus.Replays, "validator-replay")
		return err == nil && consumer.CachedInfo().NumPending == 0 && consumer.CachedInfo().NumAckPending == 0
	})
	if dead := readAll(t, js, bus.DeadLetters); len(dead) != 1 {
		t.Errorf("%d dead letters", len(dead))
	}
	stream, err := js.Stream(t.Context(), bus.Registrations)
	if err == nil {
		err = stream.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "deadletters", "replay", "1"); code != 1 || !strings.Contains(errs, "forgotten") {
		t.Errorf("a replay after the broker has forgotten it: %d %s", code, errs)
	}
}

func TestWhoWaitsForAReviewIsErased(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	id := d.register(person("Ignacio Efrain", "Trejoblanco Zuritaval", "1968-11-30", "listed@example.com"))
	d.reaches(cloudVault, id, "IN_REVIEW")
	if a := d.erase(id); a.status != http.StatusOK {
		t.Fatalf("the erasure answers %d %s", a.status, a.body)
	}
	if entries := readAll(t, d.jetStream(t), bus.VaultStream); len(entries) != 0 {
		t.Errorf("%d entries are left in the vault", len(entries))
	}
}
