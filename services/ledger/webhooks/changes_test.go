package webhooks

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/events"
)

// slowTeller takes its time to record an order.
type slowTeller struct {
	teller
	takes time.Duration
}

func (s slowTeller) Publish(ctx context.Context, tenant, registration string, e events.Event) error {
	time.Sleep(s.takes)
	return s.teller.Publish(ctx, tenant, registration, e)
}

func TestAWebhookWhoseOrderIsRecordedSlowlyIsDeliveredToAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.receives("a.test", nil)
		p := w.start()
		defer p.end()
		w.teller = slowTeller{w.teller, 2 * changeTakes}
		w.endpoint("acme", "a.test", false)
		w.happens("acme", 10)
		w.gets(r, 10, 2*refreshAfter*usualPace)
	})
}

func TestAChangeThatIsStoredLongAfterItsStampIsFound(t *testing.T) {
	for sentence, test := range map[string]struct{ late, found time.Duration }{
		"half a minute": {changeTakes / 2, 2 * refreshAfter * usualPace},
		"an hour":       {time.Hour, rereadEvery + time.Second},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.receives("a.test", nil)
				e := w.endpoint("acme", "a.test", false)
				p := w.start()
				defer p.end()
				time.Sleep(time.Minute)
				s, err := w.endpoints.Get(t.Context(), e.ID)
				if err != nil {
					t.Fatal(err)
				}
				s.Value.State, s.Value.Secrets, s.Value.ChangedAt = Deleted, nil, time.Now().UnixMilli()
				time.Sleep(test.late)
				if _, err := w.endpoints.Update(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				time.Sleep(test.found)
				w.happens("acme", 5)
				time.Sleep(time.Minute)
				if n := len(r.requests()); n != 0 {
					t.Errorf("a deleted webhook got %d", n)
				}
			})
		})
	}
}

func TestAChangeActsOnWhatIsUnderWay(t *testing.T) {
	for sentence, change := range map[string]func(p *process, e Endpoint) error{
		"one that is deleted": func(p *process, e Endpoint) error { return p.Delete(context.Background(), "acme", e.ID, "operator") },
		"one that is paused": func(p *process, e Endpoint) error {
			paused := Paused
			_, err := p.Change(context.Background(), "acme", e.ID, "operator", Patch{State: &paused})
			return err
		},
		"one whose secret ends": func(p *process, e Endpoint) error {
			_, _, err := p.AddSecret(context.Background(), "acme", e.ID, "operator", HMAC, 0)
			return err
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.receives("a.test", func(int, *http.Request) (int, http.Header) { time.Sleep(time.Second); return 200, nil })
				e := w.endpoint("acme", "a.test", false)
				old, err := openSecrets(w.keys, e)
				if err != nil {
					t.Fatal(err)
				}
				p := w.start()
				defer p.end()
				w.happens("acme", 300)
				time.Sleep(3500 * time.Millisecond)
				if n := len(r.requests()); n == 0 || n > batch {
					t.Fatalf("before, it got %d", n)
				}
				changed := time.Now()
				if err := change(p, e); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				late := slices.DeleteFunc(r.requests(), func(q received) bool {
					return q.at.Before(changed) || q.signature != old.sign(q.id, q.at, []byte(q.body))
				})
				if len(late) > 0 {
					t.Errorf("it got %d afterwards, as if nothing had happened; the last %v later", len(late), late[len(late)-1].at.Sub(changed))
				}
				if now, err := p.Get(t.Context(), "acme", e.ID); err == nil && now.State == Enabled && len(r.taken()) != 300 {
					t.Errorf("it has %d of 300", len(r.taken()))
				}
			})
		})
	}
}

func TestALeaseOfAClockThatWasAheadDoesNotCount(t *testing.T) {
	for ahead, within := range map[time.Duration]time.Duration{0: leaseTime + 2*otherPause, clocksDiffer - time.Second: leaseTime + clocksDiffer + otherPause, 24 * time.Hour: otherPause} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.receives("a.test", nil)
				e := w.endpoint("acme", "a.test", false)
				err := changeCourse(t.Context(), w.courses, e, func(c *course) {
					c.Holder, c.Until = "killed", time.Now().Add(ahead+leaseTime).UnixMilli()
				})
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				p := w.start()
				defer p.end()
				w.happens("acme", 10)
				w.gets(r, 10, within)
				if took := time.Since(begun); ahead < clocksDiffer && took < leaseTime {
					t.Errorf("a lease that counts was broken after %v", took)
				}
			})
		})
	}
}
