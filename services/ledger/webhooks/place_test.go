package webhooks

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestAReplayFromBeforeAllThatIsPendingIsSent(t *testing.T) {
	for sentence, wait := range map[string]time.Duration{"what is pending is due": 0, "what is pending waits": time.Hour} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.receives("a.test", nil)
				w.happens("acme", mostPending+200)
				e := w.endpoint("acme", "a.test", false)
				for n := range uint64(mostPending) {
					d := Delivery{Endpoint: e.ID, Sequence: n + 1, State: Pending, NextAt: time.Now().Add(wait).UnixMilli(), At: 1}
					if err := w.deliveries.Insert(t.Context(), deliveryID(e.ID, d.Sequence), d); err != nil {
						t.Fatal(err)
					}
				}
				if err := changeCourse(t.Context(), w.courses, e, func(c *course) { c.After, c.DueAt = mostPending+200, 1 }); err != nil {
					t.Fatal(err)
				}
				if err := w.ReplayAfter(t.Context(), e, "operator", 0); err != nil {
					t.Fatal(err)
				}
				p := w.start()
				defer p.end()
				w.gets(r, mostPending+200, time.Minute)
				if n := len(r.requests()); n != mostPending+200 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

func TestAFeedThatWasMadeAnewIsSentFromItsBeginning(t *testing.T) {
	for _, types := range [][]string{nil, {"account.created"}, {"account.activated"}} {
		t.Run(fmt.Sprintf("to a webhook of %q", types), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.receives("a.test", nil)
				e := w.endpoint("acme", "a.test", false, types...)
				p := w.start()
				defer p.end()
				w.happens("acme", 100)
				w.happens("acme", 1, "account.activated")
				time.Sleep(time.Minute)
				before := len(r.requests())
				w.mu.Lock()
				w.feeds["acme"] = nil
				w.mu.Unlock()
				w.happens("acme", 30)
				time.Sleep(time.Minute)
				if h := w.health(e); h.After > 30 {
					t.Errorf("its place in a feed of 30 is %d", h.After)
				}
				w.happens("acme", 3, "account.activated")
				time.Sleep(time.Minute)
				want := 0
				for _, of := range w.feeds["acme"] {
					if e.wants(first(of.Header["ce-type"])) {
						want++
					}
				}
				if n := len(r.requests()) - before; n != want {
					t.Errorf("%d of the %d new events were sent; it is %+v", n, want, w.health(e))
				}
			})
		})
	}
}
