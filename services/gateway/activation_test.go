package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
)

// account registers and makes the account.
func (w *world) account(name string) string {
	w.t.Helper()
	id := w.do("POST", "/v1/registrations", person(name+"@example.com")).field("id")
	w.publish(w.bus(events.Accounts), id, events.AccountCreated{Epoch: 1})
	return id
}

func (w *world) stored() uint64 {
	w.t.Helper()
	s, err := w.bus(events.Ledger).JetStream().Stream(w.t.Context(), bus.Registrations)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func TestParallelCodesDoNotOutrunTheBound(t *testing.T) {
	w := newWorld(t)
	id := w.account("parallel")
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 60 {
		wg.Go(func() {
			a, err := w.try(t.Context(), "POST", "/v1/registrations/"+id+"/activation", []byte(`{"code":"AAAAAAAAAAAAAAAA"}`))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	wg.Wait()
	// Nobody decides here: who is let in waits, and the others are refused at once.
	if statuses[http.StatusServiceUnavailable] > mostPresenting || statuses[http.StatusTooManyRequests]+statuses[http.StatusServiceUnavailable] != 60 {
		t.Errorf("answers by status: %v", statuses)
	}
	if n := w.stored(); n > 2+mostPresenting {
		t.Errorf("%d events are stored", n)
	}
}

func TestAnActiveCustomersCodeIsAnsweredFromTheHistory(t *testing.T) {
	w := newWorld(t)
	id := w.account("active")
	const code = "ABCDEFGHABCDEFGH"
	w.publish(w.bus(events.Gateway), id, events.ActivationRequested{RequestID: "r1", CodeHash: keys.HashCode(id, code)})
	w.publish(w.bus(events.Accounts), id, events.AccountActivated{RequestID: "r1"})
	before := w.stored()
	for sent, status := range map[string]int{code: 200, "AAAAAAAAAAAAAAAA": 400} {
		for _, path := range []string{"/v1/registrations/" + id + "/activation", "/api/v2.1/customer/individual/" + id + "/activation"} {
			if a := w.do("POST", path, fmt.Appendf(nil, `{"code":%q}`, sent)); a.status != status {
				t.Errorf("%s: %d %s, want %d", path, a.status, a.body, status)
			}
		}
	}
	if n := w.stored() - before; n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

func TestARefusedResendAnswersForTheNextOnes(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		refusal events.ResendRefused
		status  int
		kind    string
	}{
		"cooldown": {events.ResendRefused{K: 1, Code: events.ResendCooldown, RetrySeconds: 60}, 429, events.ResendCooldown},
		"daily":    {events.ResendRefused{K: 1, Code: events.ResendDailyCap, RetrySeconds: 86400}, 429, events.ResendDailyCap},
		"closed":   {events.ResendRefused{K: 1, Code: events.ResendClosed}, 409, "not-awaiting-activation"},
	} {
		id := w.account(name)
		w.publish(w.bus(events.Gateway), id, events.ResendRequested{K: 1})
		w.publish(w.bus(events.Accounts), id, test.refusal)
		before := w.stored()
		a := w.do("POST", "/v1/registrations/"+id+"/activation/resend", nil)
		if a.status != test.status || !strings.Contains(string(a.body), test.kind) || (a.header.Get("Retry-After") == "") != (test.status == 409) {
			t.Errorf("%s: %d, Retry-After %q, %s", name, a.status, a.header.Get("Retry-After"), a.body)
		}
		if w.stored() != before {
			t.Errorf("%s: another request is stored", name)
		}
	}
}

func TestAResendMayBeAskedForWhenARefusalIsOver(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		last    events.Event
		age     time.Duration
		refused bool
	}{
		"within its time":                   {events.ResendRefused{K: 2, Code: events.ResendCooldown, RetrySeconds: 60}, 59 * time.Second, true},
		"after its time":                    {events.ResendRefused{K: 2, Code: events.ResendCooldown, RetrySeconds: 60}, 61 * time.Second, false},
		"a day's, within the hour":          {events.ResendRefused{K: 2, Code: events.ResendDailyCap, RetrySeconds: 86400}, 59 * time.Minute, true},
		"a day's, later: accounts decides":  {events.ResendRefused{K: 2, Code: events.ResendDailyCap, RetrySeconds: 86400}, 61 * time.Minute, false},
		"of an earlier one than the last":   {events.CodeIssued{K: 2}, time.Second, false},
		"an account that waits for no code": {events.ResendRefused{K: 2, Code: events.ResendClosed}, 100 * time.Hour, true},
	} {
		var history []events.Record
		for _, e := range []events.Event{events.ResendRefused{K: 1, Code: events.ResendCooldown, RetrySeconds: 60}, test.last} {
			history = append(history, events.Record{Subject: events.SubjectOf(cloudVault, "r", e), Event: e, Stored: now.Add(-test.age)})
		}
		if f := resendRefused(history, 3, now); (f != nil) != test.refused {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestNoFurtherResendIsAskedForWhileOneIsNotDecided(t *testing.T) {
	w := newWorld(t)
	id := w.account("waits")
	page, resend := "/activate/"+cloudVault+"/"+id, "/v1/registrations/"+id+"/activation/resend"
	before := w.stored()
	w.form(page, "resend", "1")
	neutral := bodyOf(w.form("/activate/"+cloudVault+"/nobody", "resend", "1"))
	for range 3 {
		if a := w.form(page, "resend", "1"); a.status != http.StatusOK || bodyOf(a) != neutral {
			t.Errorf("the page tells that one is under way: %d %s", a.status, a.body)
		}
		a := w.do("POST", resend, nil)
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "another resend is under way") {
			t.Errorf("the API answers %d %s", a.status, a.body)
		}
	}
	if n := w.stored() - before; n != 1 {
		t.Errorf("%d resends are asked for", n)
	}
	w.publish(w.bus(events.Accounts), id, events.CodeIssued{K: 1, Epoch: 1})
	w.form(page, "resend", "1")
	if n := w.stored() - before; n != 3 {
		t.Errorf("after the decision %d events are stored, not 3", n)
	}
}

func TestOneCallerTooManyIsNotKeptWaiting(t *testing.T) {
	w := newWorldOf(t, func(g *gateway) { g.waiting.Store(mostWaiting) })
	a := w.do("POST", "/v1/registrations", person("many@example.com"), "Prefer", "wait=60")
	if a.status != http.StatusAccepted || a.header.Get("Location") == "" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	if n := w.gateway.waiting.Load(); n != mostWaiting {
		t.Errorf("%d wait, want %d", n, mostWaiting)
	}
}

func TestCodesThatWouldBeRefusedAreNotStored(t *testing.T) {
	now := time.Now()
	refused := func(code string, retry int, ago time.Duration) events.Record {
		return events.Record{Event: events.ActivationRefused{RequestID: "r", Code: code, RetrySeconds: retry}, Stored: now.Add(-ago)}
	}
	issued := events.Record{Event: events.CodeIssued{K: 1, Epoch: 2}, Stored: now}
	for name, test := range map[string]struct {
		history []events.Record
		kind    string
		wait    int
	}{
		"none was refused":                       {nil, "", 0},
		"a wrong one":                            {[]events.Record{refused(events.WrongCode, 0, 0)}, "", 0},
		"it is locked":                           {[]events.Record{refused(events.CodeLocked, 0, time.Hour)}, "code-locked", 0},
		"another was issued since":               {[]events.Record{refused(events.CodeLocked, 0, time.Hour), issued}, "", 0},
		"a wrong one of the other":               {[]events.Record{refused(events.CodeLocked, 0, time.Hour), issued, refused(events.WrongCode, 0, 0)}, "", 0},
		"too many today":                         {[]events.Record{refused(events.TooManyTries, 3600, time.Minute)}, "too-many-tries", 3540},
		"too many, and another was issued since": {[]events.Record{refused(events.TooManyTries, 3600, time.Minute), issued}, "too-many-tries", 3540},
		"too many, and that is over":             {[]events.Record{refused(events.TooManyTries, 3600, time.Hour)}, "", 0},
	} {
		f := triesClosed(test.history, now)
		switch {
		case f == nil && test.kind != "", f != nil && (f.kind != test.kind || f.status != http.StatusTooManyRequests || f.retrySeconds() != test.wait):
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestTheAnswerOfALockedCodeIsThatOfItsRequestAndStoresNothing(t *testing.T) {
	w := newWorld(t)
	id := w.account("locked")
	w.publish(w.bus(events.Gateway), id, events.ActivationRequested{RequestID: "r1", CodeHash: keys.HashCode(id, "AAAAAAAAAAAAAAAA")})
	w.publish(w.bus(events.Accounts), id, events.ActivationRefused{RequestID: "r1", Code: events.TooManyTries, RetrySeconds: 3600})
	before := w.stored()
	for _, path := range []string{"/v1/registrations/" + id + "/activation", "/api/v2.1/customer/individual/" + id + "/activation"} {
		a := w.do("POST", path, []byte(`{"code":"BBBBBBBBBBBBBBBB"}`))
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") < "3500" {
			t.Errorf("%s: %d, Retry-After %q, %s", path, a.status, a.header.Get("Retry-After"), a.body)
		}
	}
	if w.stored() != before {
		t.Error("a code is stored in vain")
	}
}
