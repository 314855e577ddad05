package usher

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/tenant"
)

// startDevWith starts a pipeline whose first tenant has more settings.
func startDevWith(t *testing.T, settings string) *dev {
	t.Helper()
	return startDevIn(t, t.TempDir(), devOptions{twice: true}, settings)
}

func startDevIn(t *testing.T, dir string, o devOptions, settings string) *dev {
	t.Helper()
	cheapHash(t)
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	mail := "    mail: {from: no-reply@cloudvault.example"
	text := strings.Replace(string(tenant.DemoFile()), mail, settings+mail+", duplicateNotice: true", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startDev(t, dir, o, func(c *devCommand) { c.Config = file })
}

// account registers and waits for the mail.
func (d *dev) account(email string) (id, code string) {
	d.t.Helper()
	id = d.register(nativeBody(email))
	code = d.code(email)
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	return id, code
}

func (d *dev) present(tenant, id, code string) answer {
	d.t.Helper()
	return d.do(http.MethodPost, d.gateway("/v1/registrations/"+id+"/activation"), tenant, fmt.Appendf(nil, `{"code":%q}`, code))
}

func (d *dev) resend(id string) answer {
	d.t.Helper()
	return d.do(http.MethodPost, d.gateway("/v1/registrations/"+id+"/activation/resend"), cloudVault, nil)
}

// resendWhenAllowed asks for another mail until it is granted, as often as it is told to.
func (d *dev) resendWhenAllowed(id string) {
	d.t.Helper()
	d.eventually(waitLong, "a resend is granted", func() bool { return d.resend(id).status == http.StatusAccepted })
}

const wrongCode = "AAAAAAAAAAAAAAAA"

func TestResendsInARowGiveOneMailAndTheFirstCodeGoesOn(t *testing.T) {
	const cooldown = 6 * time.Second
	d := startDevWith(t, "    activation: {resendCooldown: 6s}\n")
	const email = "resend@example.com"
	id, code := d.account(email)
	begun := time.Now()
	d.resendWhenAllowed(id)
	var wg sync.WaitGroup
	answers := make(chan answer, 20)
	granted := time.Now()
	for range 20 {
		wg.Go(func() {
			a, err := d.try(http.MethodPost, d.gateway("/v1/registrations/"+id+"/activation/resend"), cloudVault, nil)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	wg.Wait()
	close(answers)
	for a := range answers {
		switch {
		case a.status == http.StatusAccepted && time.Since(granted) > cooldown-time.Second: // a machine that is very busy
		case a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "":
			t.Errorf("pressed again: %d, Retry-After %q, %s", a.status, a.header.Get("Retry-After"), a.body)
		}
	}
	d.resendWhenAllowed(id)
	d.eventually(waitLong, "two more mails have arrived", func() bool { return len(d.mails(email)) >= 3 })
	mails := d.mails(email)
	if most := 2 + int(time.Since(begun)/cooldown); len(mails) > most {
		t.Errorf("%d mails were sent, at most %d may be", len(mails), most)
	}
	for _, m := range mails {
		if codePattern.FindString(m.Text) != code {
			t.Error("another mail has another code")
		}
	}
	if a := d.present(cloudVault, id, code); a.status != http.StatusOK {
		t.Errorf("the code of the first mail answers %d %s", a.status, a.body)
	}
	if a := d.resend(id); a.status != http.StatusConflict {
		t.Errorf("a resend to an active customer answers %d %s", a.status, a.body)
	}
}

func TestTenWrongCodesLockTheCodeAndAResendBringsANewOne(t *testing.T) {
	d := startDevWith(t, "    activation: {resendCooldown: 1s, triesPerDay: 12}\n")
	const email = "locked@example.com"
	id, code := d.account(email)
	for i := range 10 {
		if a := d.present(cloudVault, id, wrongCode); a.status != http.StatusBadRequest {
			t.Fatalf("try %d answers %d %s", i+1, a.status, a.body)
		}
	}
	if a := d.present(cloudVault, id, code); a.status != http.StatusTooManyRequests || !strings.Contains(string(a.body), "code-locked") {
		t.Errorf("the right code after ten wrong ones answers %d %s", a.status, a.body)
	}
	d.resendWhenAllowed(id)
	d.eventually(waitLong, "another mail has arrived", func() bool { return len(d.mails(email)) == 2 })
	next := codePattern.FindString(d.mails(email)[1].Text)
	if next == code {
		t.Fatal("the code is the locked one")
	}
	for range 2 {
		if a := d.present(cloudVault, id, code); a.status != http.StatusBadRequest {
			t.Errorf("the locked code answers %d %s", a.status, a.body)
		}
	}
	a := d.present(cloudVault, id, next)
	if a.status != http.StatusTooManyRequests || !strings.Contains(string(a.body), "too-many-tries") || a.header.Get("Retry-After") == "" {
		t.Errorf("the new code after 12 tries of a day answers %d, Retry-After %q, %s", a.status, a.header.Get("Retry-After"), a.body)
	}
}

func TestACodeThatDoesNotWorkIsAnsweredByItsReasonAndOnThePublicPageAlike(t *testing.T) {
	d := startDevWith(t, "    activation: {codeValidity: 3s, resendCooldown: 1s}\n")
	id, code := d.account("own@example.com")
	_, othersCode := d.account("other@example.com")
	mine := d.do(http.MethodPost, d.gateway("/v1/registrations"), finsei, nativeBody("finsei@example.com"))
	foreign := mine.json(t)["id"].(string)
	foreignCode := d.code("finsei@example.com")
	mailed := time.Now()
	d.eventually(waitLong, "the code has expired", func() bool { return time.Since(mailed) > 4*time.Second })
	pages := map[string]bool{}
	for name, test := range map[string]struct {
		id, code, kind string
		status         int
	}{
		"expired":                             {id, code, "code-expired", http.StatusGone},
		"mistyped":                            {id, wrongCode, "wrong-code", http.StatusBadRequest},
		"someone else's":                      {id, othersCode, "wrong-code", http.StatusBadRequest},
		"of another tenant's registration":    {foreign, foreignCode, "not-found", http.StatusNotFound},
		"of a registration that is not there": {"11111111-2222-8333-8444-555555555555", code, "not-found", http.StatusNotFound},
	} {
		if a := d.present(cloudVault, test.id, test.code); a.status != test.status || !strings.Contains(string(a.body), test.kind) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		page := d.page(test.id, test.code)
		pages[page] = true
		if strings.Contains(page, "is active") {
			t.Errorf("%s: the page says %s", name, page)
		}
	}
	if len(pages) != 1 {
		t.Errorf("the public page tells %d cases apart", len(pages))
	}
}

// page presents a code on the public page of the link in a mail.
func (d *dev) page(id, code string) string {
	d.t.Helper()
	response, err := http.PostForm(d.gateway("/activate/"+cloudVault+"/"+id), url.Values{"code": {code}})
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusUnprocessableEntity {
		d.t.Fatalf("the page answers %d, %v", response.StatusCode, err)
	}
	return nonce.ReplaceAllString(string(body), "nonce")
}

// nonce is what differs from page to page.
var nonce = regexp.MustCompile(`nonce="[^"]+"`)

func TestARegistrationThatNobodyActivatesRemindsAndEndsAndItsAddressIsFree(t *testing.T) {
	d := startDevWith(t, "    activation: {codeValidity: 2s, expireAfter: 8s, remindBefore: 4s}\n")
	const email = "late@example.com"
	id, code := d.account(email)
	d.reaches(cloudVault, d.register(nativeBody(email)), "REJECTED")
	d.eventually(waitLong, "the owner is reminded", func() bool { return len(d.mails(email)) == 2 })
	if m := d.mails(email)[1]; codePattern.FindString(m.Text) == code || !strings.Contains(m.Subject, "removed") {
		t.Errorf("the reminder has the code that ran out, or is about %q", m.Subject)
	}
	d.reaches(cloudVault, id, "EXPIRED")
	for what, a := range map[string]answer{"a code": d.present(cloudVault, id, code), "a resend": d.resend(id)} {
		if a.status != http.StatusGone || !strings.Contains(string(a.body), "registration-expired") {
			t.Errorf("%s answers %d %s", what, a.status, a.body)
		}
	}
	d.eventually(waitLong, "the mails that were captured are gone with their person", func() bool { return len(d.mails(email)) == 0 })
	next := d.register(nativeBody(email))
	d.eventually(waitLong, "the next mail has arrived", func() bool { return len(d.mails(email)) == 1 })
	d.reaches(cloudVault, next, "ACTIVATION_SENT")
	d.eventually(waitLong, "the ledger knows the end", func() bool {
		a := d.do(http.MethodGet, d.ledger("/v1/registrations?outcome=EXPIRED"), cloudVault, nil)
		return strings.Contains(string(a.body), id)
	})
}

func TestTheOwnerOfAnAccountIsToldOnceThatSomebodyTriedToRegister(t *testing.T) {
	d := startDevWith(t, "")
	const email = "owner@example.com"
	id, code := d.account(email)
	if a := d.present(cloudVault, id, code); a.status != http.StatusOK {
		t.Fatalf("the code answers %d %s", a.status, a.body)
	}
	for range 3 {
		d.reaches(cloudVault, d.register(nativeBody(email)), "REJECTED")
	}
	d.eventually(waitLong, "the owner is told", func() bool { return len(d.mails(email)) > 1 })
	mails := d.mails(email)
	if subject := mails[1].Subject; !strings.Contains(subject, "Somebody tried") || codePattern.MatchString(mails[1].Text) {
		t.Errorf("the mail is about %q", subject)
	}
	days := map[string]bool{}
	for _, m := range mails[1:] {
		days[m.Headers["Message-Id"]] = true
	}
	if len(days) != len(mails)-1 || len(mails) > 3 { // the day may have changed
		t.Errorf("%d mails were sent, %d Message-IDs", len(mails), len(days))
	}
	if status := d.status(cloudVault, id)["status"]; status != "ACTIVATED" {
		t.Errorf("the owner's status is %v", status)
	}
}
