package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
)

func capped(t *testing.T, most int) *world {
	t.Helper()
	const settings = "    mail: {from: no-reply@cloudvault.example}"
	return newWorld(t, settings, fmt.Sprintf("    limits: {maxUnfinished: %d}\n%s", most, settings))
}

func TestACapOnUnfinishedRegistrationsHoldsInEveryDialect(t *testing.T) {
	w := capped(t, 3)
	register := func(name string) answer {
		return w.do("POST", "/v1/registrations", person(name+"@example.com"), "Idempotency-Key", name)
	}
	var ids []string
	for _, name := range []string{"a", "b", "c"} {
		a := register(name)
		if a.status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
		ids = append(ids, a.field("id"))
	}
	refused := register("d")
	if refused.status != http.StatusTooManyRequests || refused.header.Get("Retry-After") == "" || !strings.Contains(string(refused.body), "unfinished") {
		t.Errorf("the fourth: %d %v %s", refused.status, refused.header, refused.body)
	}
	vendor := w.do("POST", "/api/v2.1/customer/individual/registration", []byte(finhubPerson), "X-Forwarded-From", "web", "platform", "web", "deviceId", "d")
	if vendor.status != http.StatusTooManyRequests || vendor.header.Get("Retry-After") == "" || !strings.Contains(string(vendor.body), `"code":429`) {
		t.Errorf("in the vendor's words: %d %s", vendor.status, vendor.body)
	}
	for _, r := range w.batch(batchLineOf("e@example.com", "e")) {
		if r.Problem == nil || r.Problem.Status != http.StatusTooManyRequests || r.Problem.RetryAfter == 0 {
			t.Errorf("as a line: %+v", r)
		}
	}
	if a := w.do("POST", "/v1/registrations", person("f@example.com"), "X-Tenant-ID", finsei); a.status != http.StatusAccepted {
		t.Errorf("another tenant: %d %s", a.status, a.body)
	}

	stored, err := w.bus(events.Ledger).History(t.Context(), cloudVault, ids[0])
	if err != nil || len(stored) != 1 {
		t.Fatal(stored, err)
	}
	entry := events.Fold(stored).Carried.Vault
	if err := w.gateway.env.Vault.Withdraw(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	w.eventually("a place is free when nobody needs a person any more", func() bool { return register("d").status == http.StatusAccepted })
	if a := register("e"); a.status != http.StatusTooManyRequests {
		t.Errorf("the place was taken: %d %s", a.status, a.body)
	}
}

func TestABatchDoesNotExceedTheCap(t *testing.T) {
	const most, lines = 40, 400
	w := capped(t, most)
	var all []string
	for i := range lines {
		all = append(all, batchLineOf(fmt.Sprintf("c%d@example.com", i), fmt.Sprint("c", i)))
	}
	stored := 0
	for _, r := range w.batch(strings.Join(all, "\n")) {
		if r.ID != "" {
			stored++
		}
	}
	if stored == 0 || stored > most {
		t.Errorf("%d of %d lines are stored, want at most %d", stored, lines, most)
	}
}

func TestARetryDoesNotTakeAPlace(t *testing.T) {
	w := capped(t, 2)
	for range 5 {
		w.eventually("the same key is accepted again", func() bool {
			return w.do("POST", "/v1/registrations", person("same@example.com"), "Idempotency-Key", "same").status == http.StatusAccepted
		})
	}
	w.eventually("another has the second place", func() bool {
		return w.do("POST", "/v1/registrations", person("other@example.com"), "Idempotency-Key", "other").status == http.StatusAccepted
	})
}

func TestTheCountIsTheBrokersAndOutlivesAGateway(t *testing.T) {
	w := capped(t, 100)
	for i := range 7 {
		if a := w.do("POST", "/v1/registrations", person(fmt.Sprintf("n%d@example.com", i))); a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	another := newUnfinished(w.gateway.env)
	if another.err() == nil {
		t.Error("ready before it has counted")
	}
	if _, f := another.admit(w.gateway.env.Config.Current().Tenants[0]); f == nil || f.status != http.StatusServiceUnavailable {
		t.Errorf("before it has counted: %v", f)
	}
	w.eventually("another gateway counts the same", func() bool {
		b := another.backlog(cloudVault)
		return another.read(t.Context(), b) == nil && b.counted == 7
	})
	if err := another.err(); err != nil {
		t.Error(err)
	}
}

const finhubPerson = `{"firstName":"Ingrid","lastName":"Solveig","email":"i@example.com","phone":"+37060012345","password":"SecurePassword123!","matchingPassword":"SecurePassword123!",
	"roleIds":["USER"],"individualCustomer":{"person":{"firstName":"Ingrid","lastName":"Solveig","email":"i@example.com"}}}`
