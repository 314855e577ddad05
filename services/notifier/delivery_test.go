package notifier

import (
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/notifier/mail"
)

// delivers makes the tenant's messages go to a webhook.
func (w *world) delivers() {
	config := tenant.Demo()
	t, _ := config.Tenant(cloudVault)
	t.Delivery.By = tenant.ByWebhook
	w.config = config
}

func TestALetterGoesTheWayThatItsTenantHasChosen(t *testing.T) {
	for sentence, webhook := range map[string]bool{"by mail, without the number": false, "to a webhook, with the number": true} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t)
			other := &server{}
			w.sender = channels{w.server, other}
			by, phone, answer := w.server, "", "250"
			if webhook {
				w.delivers()
				by, phone, answer = other, "+37061234567", "HTTP 2xx"
			}
			e, err := w.created()
			if told, ok := e.(events.ActivationSent); err != nil || !ok || told.Answer != answer || told.Attempts != 1 {
				t.Fatalf("got %+v, %v", e, err)
			}
			if len(w.server.taken)+len(other.taken) != 1 || len(by.taken) != 1 || by.taken[0].Phone != phone || by.taken[0].Registration != "r1" || by.taken[0].TenantID != cloudVault {
				t.Fatalf("%d mails, %d messages", len(w.server.taken), len(other.taken))
			}
			if kept, err := w.open(w.stored("created").Value); err != nil || kept.Phone != phone {
				t.Errorf("of the number is kept %d digits, %v", len(kept.Phone), err)
			}
		})
	}
}

func TestAWebhookThatRefusesForGoodFailsTheMessageAndOneThatAsksForTimeGetsIt(t *testing.T) {
	w := newWorld(t)
	w.delivers()
	w.server.answer = &mail.NotTakenError{Code: 429, By: "HTTP", To: "POST", After: 10 * time.Minute}
	if _, err := w.created(); !isLater(err) {
		t.Fatalf("not parked: %v", err)
	}
	if l := w.stored("created").Value; l.NextTry != w.now.Add(10*time.Minute).UnixMilli() || l.Answer != "HTTP 429" || l.Attempts != 1 {
		t.Errorf("it waits until %d after %q", l.NextTry, l.Answer)
	}
	w.now = w.now.Add(10 * time.Minute)
	w.server.answer = &mail.NotTakenError{Code: 503, By: "HTTP", To: "POST", After: 240 * time.Hour}
	if _, err := w.created(); !isLater(err) || w.stored("created").Value.NextTry != w.now.Add(4*time.Hour).UnixMilli() {
		t.Errorf("it waits longer than any letter: %v", err)
	}
	w.now = w.now.Add(4 * time.Hour)
	w.server.answer = &mail.PermanentError{Code: 422, By: "HTTP"}
	for range 2 {
		e, err := w.created()
		if told, ok := e.(events.ActivationFailed); err != nil || !ok || told.Code != "HTTP_422" || told.Answer != "HTTP 422" || told.Attempts != 3 {
			t.Fatalf("got %+v, %v", e, err)
		}
	}
}

func TestALetterOfATenantThatIsConfiguredLaterHasTheNumber(t *testing.T) {
	w := newWorld(t)
	webhook := &server{}
	w.sender = channels{w.server, webhook}
	w.config = noTenants{}
	if _, err := w.created(); !isLater(err) {
		t.Fatalf("not parked: %v", err)
	}
	w.delivers()
	w.now = w.now.Add(2 * tenantWait)
	if _, err := w.created(); err != nil {
		t.Fatal(err)
	}
	if len(webhook.taken) != 1 || webhook.taken[0].Phone == "" {
		t.Errorf("the webhook has %d messages", len(webhook.taken))
	}
}

type noTenants struct{}

func (noTenants) Tenant(string) (*tenant.Tenant, bool) { return nil, false }
