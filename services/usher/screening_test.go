package usher

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// person is a native registration of somebody by name.
func person(given, family, birth, email string) []byte {
	return fmt.Appendf(nil, `{"applicant":{"givenName":%q,"familyName":%q,"birthDate":%q,"email":%q},"credentials":{"password":"four dry apples"}}`, given, family, birth, email)
}

func (d *dev) register(body []byte) (id string) {
	d.t.Helper()
	a := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, body)
	if a.status != http.StatusAccepted {
		d.t.Fatalf("answer %d %s", a.status, a.body)
	}
	return a.json(d.t)["id"].(string)
}

// explains checks what the command line says of a registration: from the stream, and from the
// documents alone.
func (d *dev) explains(id string, wants ...string) {
	d.t.Helper()
	d.t.Setenv("NATS_URL", "nats://"+d.command.NATS)
	code, out, errs := command(d.t, "risk", "explain", id)
	for _, want := range wants {
		if code != 0 || !strings.Contains(out, want) || strings.Contains(out, "Volkharin") {
			d.t.Errorf("code %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	d.t.Setenv("NATS_URL", "")
	d.t.Setenv("STORE_URL", d.command.Store)
	if code, out, errs := command(d.t, "risk", "explain", id); code != 0 || !strings.Contains(out, wants[0]) {
		d.t.Errorf("from the documents: code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := command(d.t, "risk", "explain", "nobody"); code != 1 || !strings.Contains(errs, "risk has not decided") {
		d.t.Errorf("of nobody: code %d, %s", code, errs)
	}
}

func TestRegistrationsWaitWhileAListIsAwayAndResumeByThemselves(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{twice: true})
	list := filepath.Join(d.command.Data, "lists", "demo.csv")
	d.reaches(cloudVault, d.register(person("Jane", "Appleby", "1990-05-15", "before@example.com")), "ACTIVATION_SENT")
	if err := os.Rename(list, list+".md"); err != nil {
		t.Fatal(err)
	}
	d.eventually(waitLong, "risk notices", func() bool {
		return strings.Contains(string(d.do(http.MethodGet, d.ledger("/readyz"), "", nil).body), "warning: lists: policy standard has not all its lists, demo is missing")
	})
	d.eventually(waitLong, "an alarm is measured", d.metric(`usher_risk_policies_without_lists{service="risk"} 1`))
	var waiting []string
	for i := range 5 {
		waiting = append(waiting, d.register(person("Jane", "Appleby", "1990-05-15", fmt.Sprintf("waits%d@example.com", i))))
	}
	for _, id := range waiting {
		d.reaches(cloudVault, id, "SCREENING_WAIT")
	}
	dir := d.command.Data
	d.close()
	d = startDev(t, dir, devOptions{twice: true})
	for _, id := range waiting {
		d.reaches(cloudVault, id, "SCREENING_WAIT")
	}
	if err := os.Rename(list+".md", list); err != nil {
		t.Fatal(err)
	}
	for i, id := range waiting {
		d.reaches(cloudVault, id, "ACTIVATION_SENT")
		if mails := d.mails(fmt.Sprintf("waits%d@example.com", i)); len(mails) != 1 {
			t.Errorf("%d mails were sent", len(mails))
		}
	}
	for _, m := range readAll(t, d.jetStream(t), bus.Registrations) {
		validateEvent(t, m.Subject, m.Header, m.Data)
	}
}

func TestAReviewEndsByThePolicyOfTheTenant(t *testing.T) {
	cheapHash(t)
	for unreviewed, status := range map[string]string{"refuse": "REJECTED", "approve": "ACTIVATION_SENT"} {
		t.Run(unreviewed, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tenants.yaml")
			config := strings.Replace(string(tenant.DemoFile()), "    screening: {lists: [demo]}\n", "    screening: {lists: [demo]}\n    maxReview: 4s\n    unreviewed: "+unreviewed+"\n", 1)
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			d := startDev(t, t.TempDir(), devOptions{twice: true}, func(c *devCommand) { c.Config = file })
			id := d.register(person("Arkady Zorinovich", "Volkharin", "1961-03-09", "listed@example.com"))
			d.reaches(cloudVault, id, "IN_REVIEW")
			d.reaches(cloudVault, id, status)
			var decided []string
			js := d.jetStream(t)
			for _, m := range readAll(t, js, bus.Registrations) {
				validateEvent(t, m.Subject, m.Header, m.Data)
				r, err := events.Decode(m.Subject, m.Header, m.Data)
				if err != nil {
					t.Fatal(err)
				}
				if r.Subject.Step == events.StepRisk || r.Subject.Step == events.StepReview {
					decided = append(decided, r.Event.Type()+" "+r.Subject.N)
				}
				if strings.Contains(string(m.Data), "Volkharin") {
					t.Errorf("%s names the person", m.Subject)
				}
			}
			last := map[string]string{"refuse": "registration.rejected 2", "approve": "registration.categorized 2"}[unreviewed]
			if want := "registration.review_required 1, registration.review_decided 2, " + last; strings.Join(decided, ", ") != want {
				t.Errorf("decided %v", decided)
			}
			d.explains(id, "screening-hit demands a review: someone on a list has the name.", "Entry demo-1 of list demo fits with ", "by policy, for case 2: nobody decided within 4s.")
			d.eventually(waitLong, "nobody is left in the vault", func() bool { return len(readAll(t, js, bus.VaultStream)) == 0 })
		})
	}
}

func TestWhoRegistersTwiceIsReviewedWhereThePolicySaysSo(t *testing.T) {
	cheapHash(t)
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	config := strings.Replace(string(tenant.DemoFile()), "    rules:\n", "    rules:\n      - {id: same-person, when: possibleDuplicates > 0 && addressLastHour > 1, outcome: review}\n", 1)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDev(t, t.TempDir(), devOptions{twice: true}, func(c *devCommand) { c.Config = file })
	told := func(email string) []byte {
		return []byte(strings.Replace(string(person("Jane", "Appleby", "1990-05-15", email)), `"email"`, `"phone":"+37060012345","email"`, 1))
	}
	first := d.register(told("first@example.com"))
	d.reaches(cloudVault, first, "ACTIVATION_SENT")
	second := d.register(told("second@example.com"))
	d.reaches(cloudVault, second, "IN_REVIEW")
	risk, _ := d.status(cloudVault, second)["risk"].(map[string]any)
	if got := fmt.Sprint(risk["possibleDuplicateOf"], risk["facts"]); got != "["+first+"] map[addressLastHour:2 possibleDuplicates:1]" {
		t.Errorf("the decision says %v", got)
	}
	d.explains(second, "same-person demands a review.", "It may be of the same person as "+first+".")
	for _, m := range readAll(t, d.jetStream(t), bus.Registrations) {
		validateEvent(t, m.Subject, m.Header, m.Data)
	}
}
