package usher

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

func TestACustomerWhoComesOntoAListBecomesACaseOfTheTenant(t *testing.T) {
	d := startDesk(t, "")
	id := d.register(person("Jane Margaret", "Appleby", "1990-05-15", "jane@example.com"))
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
	list := filepath.Join(d.command.Data, "lists", "demo.csv")
	content, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(content), "# entries: 8", "# entries: 9", 1) + "demo-9,individual,Jane Margaret Appleby,,,1990-05-15,,DEMO-PEP,Invented for the test\n"
	if err := os.WriteFile(list, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	facts := func() (told map[string]events.Record) {
		told = map[string]events.Record{}
		for _, m := range readAll(t, d.jetStream(t), bus.Tenants) {
			validateEvent(t, m.Subject, m.Header, m.Data)
			r, err := events.Decode(m.Subject, m.Header, m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if r.Subject.Tenant == cloudVault {
				told[r.Event.Type()] = r
			}
			if strings.Contains(string(m.Data), "Appleby") {
				t.Errorf("%s names the person", m.Subject)
			}
		}
		return told
	}
	// Whoever became a customer in the last half minute is looked at when that is over.
	d.eventually(2*time.Minute, "the customer is screened again", func() bool {
		screened, is := facts()["customers.screened"].Event.(events.CustomersScreened)
		return is && screened.Opened == 1
	})
	opened := facts()["case.opened"].Event.(events.CaseOpened)
	if opened.Registration != id || opened.Hit.Entry != "demo-9" {
		t.Errorf("opened %+v", opened)
	}
	d.reaches(cloudVault, id, "ACTIVATION_SENT") // still
	d.eventually(waitLong, "nothing is left to screen", d.metric(`usher_risk_rescreening_left{service="risk",tenant="`+cloudVault+`"} 0`))
	fed := 0
	for _, m := range readAll(t, d.jetStream(t), bus.FeedStream(cloudVault)) {
		if slices.Equal(m.Header["ce-type"], []string{"case.opened"}) {
			fed++
		}
	}
	if fed != 1 {
		t.Errorf("the feed tells of %d cases", fed)
	}
	d.decidesCase(opened)
	d.eventually(waitLong, "the decision has taken effect", func() bool {
		closed, is := facts()["case.closed"].Event.(events.CaseClosed)
		return is && closed.Cleared
	})
	t.Setenv("STORE_URL", d.command.Store)
	if code, out, errs := command(t, "risk", "rescreening"); code != 0 || !strings.Contains(out, cloudVault) || !strings.Contains(out, "completed") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	if a := d.do(http.MethodGet, d.ledger("/readyz"), "", nil); a.status != http.StatusOK {
		t.Errorf("ready: %d %s", a.status, a.body)
	}
}

// decidesCase has reviewers clear a case, and holds what they are answered to the ledger's document.
func (d *desk) decidesCase(opened events.CaseOpened) {
	d.t.Helper()
	path := "/v1/cases/" + opened.Case
	d.eventually(waitLong, "the case is listed", func() bool {
		return strings.Contains(string(d.as("ada", "GET", "/v1/cases?state=OPEN", "").body), opened.Case)
	})
	shown := d.as("rita", "GET", path, "")
	if shown.status != http.StatusOK || strings.Count(string(shown.body), "Appleby") != 2 {
		d.t.Errorf("not shown beside the entry: %d %s", shown.status, shown.body)
	}
	if log := d.accesses(); len(log) != 1 || log[0].Actor != "rita" || log[0].Purpose != "case" || log[0].Registration != opened.Registration {
		d.t.Errorf("logged %+v", log)
	}
	for _, step := range []struct {
		who, decision, body string
		status              int
	}{
		{"finn", "clear", positive, http.StatusNotFound},
		{"olga", "clear", positive, http.StatusForbidden},
		{"rita", "clear", approve, http.StatusBadRequest},
		{"rita", "clear", positive, http.StatusOK},
		{"rita", "clear", positive, http.StatusOK},
		{"sam", "confirm", reject, http.StatusConflict},
	} {
		if a := d.as(step.who, "POST", path+"/"+step.decision, step.body); a.status != step.status {
			d.t.Errorf("%s: %s: %d %s", step.who, step.decision, a.status, a.body)
		}
	}
	if a := d.as("sam", "GET", path, ""); a.json(d.t)["state"] != "CLEARED" || a.json(d.t)["person"] != nil {
		d.t.Errorf("a decided case shows %s", a.body)
	}
}
