package gateway

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// form posts the activation page's form, as a browser that prefers English and waits where one
// address tries too many codes.
func (w *world) form(path string, values ...string) answer {
	w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(values); i += 2 {
		form.Set(values[i], values[i+1])
	}
	for {
		a := w.do("POST", path, []byte(form.Encode()), "Authorization", "", "X-Tenant-ID", "", "Content-Type", "application/x-www-form-urlencoded", "Accept-Language", "en")
		if a.status != http.StatusTooManyRequests {
			return a
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func TestTooManyCodesOfOneAddressAreToldToComeLater(t *testing.T) {
	w := newWorld(t)
	path := "/activate/" + cloudVault + "/nobody"
	var last answer
	w.eventually("one is too many", func() bool {
		last = w.do("POST", path, []byte("code=AAAA"), "Authorization", "", "Content-Type", "application/x-www-form-urlencoded")
		return last.status == http.StatusTooManyRequests
	})
	if last.header.Get("Retry-After") == "" || !strings.Contains(string(last.body), "try again in a moment") {
		t.Errorf("%v %s", last.header, last.body)
	}
}

var nonces = regexp.MustCompile(`nonce="[A-Z2-7]+"`)

func bodyOf(a answer) string { return nonces.ReplaceAllString(string(a.body), "") }

// unopened registers and makes an account whose password nobody could open.
func (w *world) unopened(name, channel string) string {
	w.t.Helper()
	id := w.do("POST", "/v1/registrations", person(name+"@example.com")).field("id")
	w.publish(w.bus(events.Accounts), id, events.AccountCreated{Carried: events.Carried{Channel: channel}, Epoch: 1, PasswordRequired: true})
	return id
}

func TestThePageSpeaksTheBrowsersLanguageElseTheTenants(t *testing.T) {
	w := newWorld(t, "    mail: {from: no-reply@finsei.example}", "    mail: {from: no-reply@finsei.example, language: de}\n    page: {accent: \"#ffdd00\"}")
	for name, c := range map[string]struct{ tenant, accept, language string }{
		"nothing is asked for":        {cloudVault, "", "en"},
		"nothing, of a German tenant": {finsei, "", "de"},
		"German":                      {cloudVault, "de-AT,de;q=0.9,en;q=0.5", "de"},
		"English, of a German tenant": {finsei, "en-GB", "en"},
		"neither, of a German tenant": {finsei, "fr,it;q=0.5", "de"},
		"rubbish":                     {cloudVault, "&&&;;q=x", "en"},
		"far too much":                {cloudVault, strings.Repeat("de,", 3000), "en"},
	} {
		a := w.do("GET", "/activate/"+c.tenant+"/x", nil, "Authorization", "", "Accept-Language", c.accept)
		if a.status != 200 || a.header.Get("Content-Language") != c.language || !strings.Contains(string(a.body), `<html lang="`+c.language+`"`) {
			t.Errorf("%s: %d in %q", name, a.status, a.header.Get("Content-Language"))
		}
	}
	if a := w.do("GET", "/activate/"+finsei+"/x", nil); !strings.Contains(string(a.body), "--accent: #ffdd00; --on-accent: #000;") || !strings.Contains(string(a.body), "Finsei") {
		t.Errorf("the tenant's name and colour are not there: %s", a.body)
	}
}

func TestOpeningThePageTellsAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.account("opened")
	before := w.stored()
	known := w.do("GET", "/activate/"+cloudVault+"/"+id, nil, "Authorization", "")
	if other := w.do("GET", "/activate/"+cloudVault+"/nobody", nil, "Authorization", ""); bodyOf(other) != bodyOf(known) {
		t.Error("the page tells whether there is such a registration")
	}
	if w.stored() != before {
		t.Error("something was stored")
	}
	for name, want := range map[string]string{"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Language"} {
		if !slices.Contains(known.header.Values(name), want) {
			t.Errorf("%s is %q", name, known.header.Values(name))
		}
	}
	policy := known.header.Get("Content-Security-Policy")
	nonce := regexp.MustCompile(`<style nonce="([A-Z2-7]+)"`).FindStringSubmatch(string(known.body))
	if len(nonce) != 2 || !strings.Contains(policy, "style-src 'nonce-"+nonce[1]+"'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the page may load %q", policy)
	}
}

func TestThePublicPageReadsTheSameWhateverIsWrongWithACode(t *testing.T) {
	w := newWorld(t)
	gate, accounts := w.bus(events.Gateway), w.bus(events.Accounts)
	refused := func(name, code string) string {
		id := w.account(name)
		w.publish(gate, id, events.ActivationRequested{RequestID: "r", CodeHash: keys.HashCode(id, "AAAAAAAAAAAAAAAA")})
		w.publish(accounts, id, events.ActivationRefused{RequestID: "r", Code: code})
		return id
	}
	active := w.account("active")
	w.publish(gate, active, events.ActivationRequested{RequestID: "r", CodeHash: keys.HashCode(active, "ABCDEFGHABCDEFGH")})
	w.publish(accounts, active, events.AccountActivated{RequestID: "r"})
	pages := map[string]string{}
	for name, path := range map[string]string{
		"a locked account":                     "/activate/" + cloudVault + "/" + refused("locked", events.CodeLocked),
		"a wrong code of an active account":    "/activate/" + cloudVault + "/" + active,
		"a registration nobody knows":          "/activate/" + cloudVault + "/nobody",
		"a registration without an account":    "/activate/" + cloudVault + "/" + w.do("POST", "/v1/registrations", person("none@example.com")).field("id"),
		"a registration of another tenant":     "/activate/" + finsei + "/" + active,
		"no code at all, which browsers avert": "/activate/" + cloudVault + "/" + active + "?empty",
	} {
		code := "AAAAAAAAAAAAAAAA"
		if strings.HasSuffix(path, "?empty") {
			code = ""
		}
		a := w.form(path, "code", code)
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), `role="alert"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		pages[strings.ReplaceAll(bodyOf(a), "Finsei", "CloudVault")] = name
	}
	for _, code := range []string{events.WrongCode, events.CodeExpired, events.CodeLocked} { // that accounts decides now
		id := w.account(strings.ToLower(code))
		answers := make(chan answer, 1)
		go func() { answers <- w.form("/activate/"+cloudVault+"/"+id, "code", "AAAAAAAAAAAAAAAA") }()
		w.publish(accounts, id, events.ActivationRefused{RequestID: w.presented(id).RequestID, Code: code})
		pages[bodyOf(<-answers)] = code
	}
	if len(pages) != 1 {
		t.Errorf("the pages differ: %v", slices.Collect(maps.Values(pages)))
	}
	if a := w.form("/activate/nowhere/x", "code", "AAAA"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a tenant that is not there: %d", a.status)
	}
	if a := w.form("/activate/"+cloudVault+"/"+active, "code", " abcd-efgh abcdefgh\t"); a.status != 200 || !strings.Contains(string(a.body), `role="status"`) {
		t.Errorf("the right code, typed: %d %s", a.status, a.body)
	}
}

func TestAResendOnThePublicPageReadsTheSameWhateverBecomesOfItAndAsksOnce(t *testing.T) {
	w := newWorld(t)
	gate, accounts := w.bus(events.Gateway), w.bus(events.Accounts)
	active, ended, erased, waits := w.account("active"), w.account("ended"), w.account("erased"), w.account("waits")
	w.publish(gate, active, events.ActivationRequested{RequestID: "r", CodeHash: keys.HashCode(active, "ABCDEFGHABCDEFGH")})
	w.publish(accounts, active, events.AccountActivated{RequestID: "r"})
	w.publish(accounts, ended, events.Expired{Reason: events.NotActivated})
	w.publish(gate, erased, events.ErasureRequested{Actor: "admin"})
	none := w.do("POST", "/v1/registrations", person("none@example.com")).field("id")
	before := w.stored()
	pages := map[string]string{}
	for name, path := range map[string]string{
		"an active account":                 "/activate/" + cloudVault + "/" + active,
		"an account that has ended":         "/activate/" + cloudVault + "/" + ended,
		"one that is erased":                "/activate/" + cloudVault + "/" + erased,
		"a registration nobody knows":       "/activate/" + cloudVault + "/nobody",
		"a registration without an account": "/activate/" + cloudVault + "/" + none,
		"a registration of another tenant":  "/activate/" + finsei + "/" + waits,
	} {
		a := w.form(path, "resend", "1")
		if a.status != http.StatusOK || !strings.Contains(string(a.body), `role="status"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		pages[strings.ReplaceAll(bodyOf(a), "Finsei", "CloudVault")] = name
	}
	if w.stored() != before {
		t.Error("something was stored of whom no mail can help")
	}
	for range 20 { // accounts has not decided yet, then refuses
		a := w.form("/activate/"+cloudVault+"/"+waits, "resend", "1")
		pages[bodyOf(a)] = "one that waits"
		if w.stored() == before+1 {
			w.publish(accounts, waits, events.ResendRefused{K: 1, Code: events.ResendCooldown, RetrySeconds: 60})
		}
	}
	if w.stored() != before+2 {
		t.Errorf("%d events were stored, not one and its answer", w.stored()-before)
	}
	if len(pages) != 1 {
		t.Errorf("the pages differ: %v", slices.Collect(maps.Values(pages)))
	}
	german := w.do("GET", "/activate/"+cloudVault+"/nobody", nil, "Authorization", "", "Accept-Language", "de")
	if !strings.Contains(string(german.body), "Neuen Code zusenden") {
		t.Errorf("to a German: %s", german.body)
	}
}

func TestAPasswordIsAskedForAndReachesAccountsSealed(t *testing.T) {
	w := newWorld(t)
	id := w.unopened("open", "fincode")
	path, code := "/activate/"+cloudVault+"/"+id, "ABCDEFGHABCDEFGH"
	before := w.stored()
	for name, c := range map[string]struct {
		password string
		status   int
		want     string
	}{
		"the code alone":                   {"", 200, "Your account has no password yet"},
		"too short":                        {"Aa1!", 422, "This password is too short."},
		"too weak for the dialect":         {"seven quiet lanterns", 422, "lacks a kind of characters"},
		"a common one":                     {"Password123!", 422, "Too many people use this password"},
		"one with the name of the service": {"my-CloudVault-1", 422, "too close to your name"},
	} {
		a := w.form(path, "code", code, "password", c.password)
		if a.status != c.status || !strings.Contains(string(a.body), c.want) || !strings.Contains(string(a.body), `name="code" value="`+code+`"`) ||
			!strings.Contains(string(a.body), "a digit and a special character") || c.password != "" && strings.Contains(string(a.body), c.password) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if w.stored() != before {
		t.Error("a password that is refused was presented to accounts")
	}
	ring, err := keys.Open(w.keys)
	if err != nil {
		t.Fatal(err)
	}
	accounts := w.bus(events.Accounts)
	answers := make(chan answer, 1)
	go func() { answers <- w.form(path, "code", code, "password", "Seven-quiet-lanterns-1") }()
	requested := w.presented(id)
	entry, err := vault.New(accounts.JetStream(), ring).Get(t.Context(), cloudVault, id, requested.Vault)
	if err != nil {
		t.Fatal(err)
	}
	if password, err := ring.OpenCredential(cloudVault, id, entry.Credential); err != nil || string(password) != "Seven-quiet-lanterns-1" {
		t.Errorf("accounts cannot open the password: %v", err)
	}
	w.publish(accounts, id, events.AccountActivated{RequestID: requested.RequestID, Vault: requested.Vault})
	if a := <-answers; a.status != 200 || !strings.Contains(string(a.body), "Your account is active") {
		t.Errorf("after the activation: %d %s", a.status, a.body)
	}
}

// presented waits for a code that is presented and not decided.
func (w *world) presented(id string) (found events.ActivationRequested) {
	w.t.Helper()
	ledger := w.bus(events.Ledger)
	w.eventually("a code is presented", func() bool {
		history, err := ledger.History(w.t.Context(), cloudVault, id)
		if err != nil {
			return false
		}
		for _, r := range history {
			if e, ok := r.Event.(events.ActivationRequested); ok && decisionOn(history, e.RequestID) == nil {
				found = e
			}
		}
		return found.RequestID != ""
	})
	return found
}

func TestWhatAccountsSaysOfAPasswordIsToldInEachPlace(t *testing.T) {
	w := newWorld(t)
	accounts := w.bus(events.Accounts)
	for code, kind := range map[string]string{events.CodePasswordResembles: "password-resembles", events.PasswordRequired: "password-required"} {
		id := w.unopened(strings.ToLower(code), "native")
		answers := make(chan answer, 1)
		go func() {
			answers <- w.do("POST", "/v1/registrations/"+id+"/activation", []byte(`{"code":"ABCDEFGHABCDEFGH","password":"seven quiet lanterns"}`), "Idempotency-Key", code)
		}()
		requested := w.presented(id)
		w.publish(accounts, id, events.ActivationRefused{RequestID: requested.RequestID, Code: code, Vault: requested.Vault})
		if a := <-answers; a.status != 422 || a.field("type") != "urn:usher:problem:"+kind {
			t.Errorf("%s: %d %s", code, a.status, a.body)
		}
	}
}

func TestAPasswordComesOnlyWhereOneIsAskedFor(t *testing.T) {
	w := newWorld(t)
	open, closed := w.unopened("open", "native"), w.account("closed")
	for name, c := range map[string]struct {
		path, body, kind string
		status           int
	}{
		"none where one is asked for":            {"/v1/registrations/" + open, `{"code":"ABCDEFGH"}`, "password-required", 422},
		"one that is too common":                 {"/v1/registrations/" + open, `{"code":"ABCDEFGH","password":"Password123"}`, "password-common", 422},
		"one where none is asked for":            {"/v1/registrations/" + closed, `{"code":"ABCDEFGH","password":"seven quiet lanterns"}`, "malformed", 400},
		"a vendor's client, which can send none": {"/api/v2.1/customer/individual/" + open, `{"code":"ABCDEFGH"}`, "", 422},
	} {
		a := w.do("POST", c.path+"/activation", []byte(c.body))
		if a.status != c.status || c.kind != "" && a.field("type") != "urn:usher:problem:"+c.kind {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestARepeatedActivationLeavesOnePasswordInTheVault(t *testing.T) {
	w := newWorld(t)
	id := w.unopened("repeated", "native")
	accounts := w.bus(events.Accounts)
	inVault := func() jetstream.StreamState {
		s, err := accounts.JetStream().Stream(t.Context(), vault.Stream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State
	}
	before := inVault().Msgs
	answers := make(chan answer, 2)
	activate := func() {
		answers <- w.do("POST", "/v1/registrations/"+id+"/activation", []byte(`{"code":"ABCDEFGHABCDEFGH","password":"seven quiet lanterns"}`), "Idempotency-Key", "same")
	}
	go activate()
	requested := w.presented(id)
	go activate()
	w.eventually("the second password is withdrawn", func() bool { s := inVault(); return s.LastSeq > requested.Vault && s.Msgs == before+1 })
	w.publish(accounts, id, events.AccountActivated{RequestID: requested.RequestID, Vault: requested.Vault})
	for range 2 {
		if a := <-answers; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	ring, err := keys.Open(w.keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vault.New(accounts.JetStream(), ring).Get(t.Context(), cloudVault, id, requested.Vault); err != nil {
		t.Errorf("the password that is named is gone: %v", err)
	}
}

func TestAClientThatGoesAwayLeavesOnePasswordInTheVault(t *testing.T) {
	w := newWorld(t)
	id := w.unopened("gone", "native")
	history, err := w.bus(events.Ledger).History(t.Context(), cloudVault, id)
	if err != nil {
		t.Fatal(err)
	}
	before := w.entries()
	demo, _ := tenant.Demo().Tenant(cloudVault)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		presented := events.ActivationRequested{RequestID: "q", CodeHash: keys.HashCode(id, "ABCDEFGHABCDEFGH")}
		if f := w.gateway.present(gone, demo, id, history, presented, "seven quiet lanterns"); f != nil {
			t.Errorf("refused with %s", f.kind)
		}
	}
	if n := w.entries() - before; n != 1 {
		t.Errorf("%d passwords are in the vault", n)
	}
}

func TestTextOnTheAccentIsReadable(t *testing.T) {
	for colour, want := range map[string]string{"#1f4e79": "#fff", "#ffffff": "#000", "#000000": "#fff", "#ffdd00": "#000", "#b3261e": "#fff", "#777777": "#000", "#747474": "#fff"} {
		if got := readableOn(colour); string(got) != want {
			t.Errorf("on %s: %s, want %s", colour, got, want)
		}
	}
}
