package webhooks

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnEndpointThatFailsForAnHourGetsEverythingAfterwards(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprintf("ordered %v", ordered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.receives("a.test", always(503))
				e := w.endpoint("acme", "a.test", ordered)
				p := w.start()
				defer p.end()
				for range 60 {
					w.happens("acme", 5)
					time.Sleep(time.Minute)
				}
				if n := len(r.requests()); n > 100 {
					t.Errorf("an endpoint that fails for an hour was asked %d times", n)
				}
				r.answers(always(200))
				w.gets(r, 1, 90*time.Minute)
				w.gets(r, 300, time.Minute) // what failed does not wait for its own time
				if got := r.taken(); ordered && !slices.Equal(got, w.ids("acme")) {
					t.Errorf("the order is %q", got)
				}
				time.Sleep(time.Minute)
				if h := w.health(e); h.Failures != 0 || !h.RetryAt.IsZero() || h.After != 300 {
					t.Errorf("afterwards it is %+v", h)
				}
			})
		})
	}
}

func (w *world) health(e Endpoint) Health {
	w.t.Helper()
	all, err := w.Health(w.t.Context(), e)
	if err != nil {
		w.t.Fatal(err)
	}
	return all[e.ID]
}

func TestADeadEndpointDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const endpoints, events = 1000, 5
		var others []*receiver
		for i := range endpoints - 1 {
			host := fmt.Sprintf("%d.test", i)
			others = append(others, w.receives(host, nil))
			w.endpoint("acme", host, i%2 == 0)
		}
		dead := w.receives("dead.test", hangs)
		w.endpoint("acme", "dead.test", false)
		p := w.start()
		defer p.end()
		time.Sleep(5 * time.Second)
		w.happens("acme", events)
		begun := time.Now()
		for _, r := range others {
			w.gets(r, events, SendTimeout/2)
		}
		if took := time.Since(begun); took >= SendTimeout {
			t.Errorf("the others took %v", took)
		}
		if len(dead.requests()) == 0 || len(dead.taken()) > 0 {
			t.Errorf("the dead one got %d requests", len(dead.requests()))
		}
	})
}

func TestADeadEndpointCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.receives("dead.test", hangs)
		w.endpoint("acme", "dead.test", false)
		p := w.start()
		defer p.end()
		for range 24 {
			w.happens("acme", 1000)
			time.Sleep(time.Hour)
		}
		if n := len(r.requests()); n == 0 || n > 2*width+2*mostAttempts {
			t.Errorf("in a day with 24,000 events it was asked %d times", n)
		}
	})
}

func TestWhatEndsDeliveriesToAnEndpointIsToldAndLosesNothing(t *testing.T) {
	for sentence, test := range map[string]struct {
		answer int
		after  time.Duration
		reason string
	}{
		"410 at once":                      {410, time.Minute, "the receiver answered 410 Gone"},
		"three days without a success":     {500, 4 * 24 * time.Hour, "nothing was delivered"},
		"three days of redirects":          {302, 4 * 24 * time.Hour, "nothing was delivered"},
		"three days of what it cannot use": {400, 4 * 24 * time.Hour, "nothing was delivered"},
	} {
		for _, ordered := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, ordered %v", sentence, ordered), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.pace = 10 * time.Second
					r := w.receives("a.test", always(test.answer))
					e := w.endpoint("acme", "a.test", ordered)
					p := w.start()
					defer p.end()
					w.happens("acme", 20)
					time.Sleep(test.after)
					now, err := w.Get(t.Context(), "acme", e.ID)
					if err != nil || now.State != Disabled || !strings.Contains(now.Reason, test.reason) {
						t.Fatalf("it is %s: %q, %v", now.State, now.Reason, err)
					}
					if last := w.told[len(w.told)-1]; last.Change != "disabled" || last.Actor != "policy" || last.Webhook != e.ID {
						t.Errorf("told is %+v", last)
					}
					asked := len(r.requests())
					w.happens("acme", 20)
					time.Sleep(24 * time.Hour)
					if n := len(r.requests()) - asked; n != 0 {
						t.Errorf("a disabled endpoint was asked %d times", n)
					}
					r.answers(always(200))
					enabled := Enabled
					if _, err := w.Change(t.Context(), "acme", e.ID, "operator", Patch{State: &enabled}); err != nil {
						t.Fatal(err)
					}
					w.gets(r, 40, 2*time.Minute)
					if got := r.taken(); ordered && !slices.Equal(got, w.ids("acme")) {
						t.Errorf("the order is %q", got)
					}
				})
			})
		}
	}
}

func TestADeliveryIsTriedTwelveTimesInAboutThreeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pace = 10 * time.Second
		poison := ""
		r := w.receives("a.test", func(_ int, r *http.Request) (int, http.Header) {
			if r.Header.Get("webhook-id") == poison {
				return 422, nil
			}
			return 200, nil
		})
		e := w.endpoint("acme", "a.test", false)
		w.happens("acme", 1)
		poison = w.ids("acme")[0]
		p := w.start()
		defer p.end()
		for i := range 5 * 24 {
			w.happens("acme", 1)
			time.Sleep(time.Hour)
			if n := len(r.taken()); n != i+1 {
				t.Fatalf("after %d hours it has %d of the other events", i+1, n)
			}
		}
		var tries []time.Time
		for _, got := range r.requests() {
			if got.id == poison {
				tries = append(tries, got.at)
			}
		}
		if len(tries) != mostAttempts {
			t.Fatalf("tried %d times", len(tries))
		}
		if took := tries[len(tries)-1].Sub(tries[0]); took < 56*time.Hour || took > 88*time.Hour {
			t.Errorf("within %v", took)
		}
		failed, _, err := w.Deliveries(t.Context(), e, Failed, "", 10)
		if err != nil || len(failed) != 1 || len(failed[0].Attempts) != mostAttempts || failed[0].Attempts[11].Error != "the receiver answered 422 Unprocessable Entity" {
			t.Fatalf("the log has %+v, %v", failed, err)
		}
		if now, _ := w.Get(t.Context(), "acme", e.ID); now.State != Enabled || len(r.taken()) != 120 {
			t.Errorf("it is %s and took %d", now.State, len(r.taken()))
		}
		poison = ""
		if _, err := w.ReplayOne(t.Context(), e, "operator", 1); err != nil {
			t.Fatal(err)
		}
		w.gets(r, 121, 2*time.Minute)
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		until := time.Now().Add(2 * time.Hour)
		r := w.receives("a.test", func(int, *http.Request) (int, http.Header) {
			if time.Now().Before(until) {
				return 429, http.Header{"Retry-After": {until.UTC().Format(http.TimeFormat)}}
			}
			return 200, nil
		})
		w.endpoint("acme", "a.test", false)
		p := w.start()
		defer p.end()
		w.happens("acme", 50)
		time.Sleep(time.Until(until) - time.Second)
		if n := len(r.requests()); n > width {
			t.Errorf("asked %d times before", n)
		}
		w.gets(r, 50, time.Minute)
	})
}

func TestProcessesShareEndpointsAndAKilledOneLosesNothing(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			rng := rand.New(rand.NewPCG(seed, 3))
			var all []*receiver
			for i := range 10 {
				host := fmt.Sprintf("%d.test", i)
				all = append(all, w.receives(host, func(int, *http.Request) (int, http.Header) { time.Sleep(20 * time.Millisecond); return 200, nil }))
				w.endpoint("acme", host, i%2 == 0)
			}
			processes := []*process{w.start(), w.start()}
			for range 20 {
				w.happens("acme", 25)
				time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				i := rng.IntN(2)
				if rng.IntN(4) == 0 {
					processes[i].end()
				} else {
					processes[i].kill()
				}
				processes[i] = w.start()
			}
			for i, r := range all {
				w.gets(r, 500, 10*time.Minute)
				if got := r.taken(); i%2 == 0 && !slices.Equal(got, w.ids("acme")) {
					t.Errorf("seed %d: %d.test got them in another order", seed, i)
				}
				bodies := map[string]string{}
				for _, got := range r.requests() {
					if before, known := bodies[got.id]; known && before != got.body {
						t.Errorf("seed %d: %s came with two bodies", seed, got.id)
					}
					bodies[got.id] = got.body
				}
			}
			for _, p := range processes {
				p.end()
			}
		})
	}
}

func TestTwoProcessesSendNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.receives("a.test", nil)
		w.endpoint("acme", "a.test", false)
		first, second := w.start(), w.start()
		for range 100 {
			w.happens("acme", 3)
			time.Sleep(300 * time.Millisecond)
		}
		w.gets(r, 300, time.Minute)
		first.end()
		second.end()
		if n := len(r.requests()); n != 300 {
			t.Errorf("%d requests for 300 events", n)
		}
	})
}

func TestAProcessThatEndsFinishesItsRequestsAndLeavesTheRestToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.receives("a.test", func(int, *http.Request) (int, http.Header) { time.Sleep(2 * time.Second); return 200, nil })
		w.endpoint("acme", "a.test", true)
		first := w.start()
		w.happens("acme", 5)
		time.Sleep(3 * time.Second)
		begun := time.Now()
		first.end()
		if took := time.Since(begun); took > drainTime {
			t.Errorf("the end took %v", took)
		}
		second := w.start()
		defer second.end()
		w.gets(r, 5, 15*time.Second) // less than a lease
		if n := len(r.requests()); n != 5 {
			t.Errorf("%d requests for 5 events", n)
		}
	})
}

func TestOnlyTheTypesAskedForAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.receives("a.test", nil)
		e := w.endpoint("acme", "a.test", false, "account.activated")
		p := w.start()
		defer p.end()
		for range 10 {
			w.happens("acme", 99)
			w.happens("acme", 1, "account.activated")
			w.happens("other", 7, "account.activated")
		}
		w.gets(r, 10, time.Minute)
		time.Sleep(time.Minute)
		if n := len(r.requests()); n != 10 {
			t.Errorf("%d requests", n)
		}
		if h := w.health(e); 1000-h.After > skipped {
			t.Errorf("its place is %d", h.After)
		}
	})
}

func TestAReplaySendsAllThatFollowsAgainWithTheSameIds(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			r := w.receives("a.test", nil)
			e := w.endpoint("acme", "a.test", ordered)
			p := w.start()
			defer p.end()
			w.happens("acme", 200)
			w.gets(r, 200, time.Minute)
			if err := w.ReplayAfter(t.Context(), e, "operator", 150); err != nil {
				t.Fatal(err)
			}
			w.happens("acme", 10)
			w.gets(r, 210, time.Minute)
			again := map[string]int{}
			for _, got := range r.requests() {
				again[got.id]++
			}
			for i, id := range w.ids("acme") {
				want := 1
				if i >= 150 && i < 200 {
					want = 2
				}
				if again[id] != want {
					t.Errorf("event %d came %d times", i+1, again[id])
				}
			}
		})
	}
}

func TestAReplayThatMeetsARunIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.receives("a.test", func(int, *http.Request) (int, http.Header) { time.Sleep(100 * time.Millisecond); return 200, nil })
		e := w.endpoint("acme", "a.test", true)
		p := w.start()
		defer p.end()
		w.happens("acme", 200)
		time.Sleep(12 * time.Second) // it is under way
		if err := w.ReplayAfter(t.Context(), e, "operator", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n := len(r.requests()); n < 250 || len(r.taken()) != 200 {
			t.Errorf("%d requests for %d events, of which about 100 were to be sent twice", n, len(r.taken()))
		}
	})
}

func TestAPausedEndpointGetsNothingUntilItIsEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.receives("a.test", nil)
		e := w.endpoint("acme", "a.test", false)
		p := w.start()
		defer p.end()
		paused, enabled := Paused, Enabled
		if _, err := w.Change(t.Context(), "acme", e.ID, "operator", Patch{State: &paused}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * refreshAfter * usualPace)
		w.happens("acme", 10)
		time.Sleep(time.Hour)
		if n := len(r.requests()); n != 0 {
			t.Errorf("paused, it got %d", n)
		}
		if _, err := w.Change(t.Context(), "acme", e.ID, "operator", Patch{State: &enabled}); err != nil {
			t.Fatal(err)
		}
		w.gets(r, 10, time.Minute)
	})
}

func TestTheLogIsForgottenInTimeAndADeletedEndpointAltogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.receives("a.test", nil)
		e := w.endpoint("acme", "a.test", false)
		p := w.start()
		defer p.end()
		w.happens("acme", 100)
		time.Sleep(keepDelivered - time.Hour)
		if n, _ := w.deliveries.Count(t.Context(), nil); n != 100 {
			t.Errorf("the log has %d", n)
		}
		w.happens("acme", 3)
		time.Sleep(2 * time.Hour)
		if n, _ := w.deliveries.Count(t.Context(), nil); n != 3 {
			t.Errorf("after a day the log has %d", n)
		}
		if err := w.Delete(t.Context(), "acme", e.ID, "operator"); err != nil {
			t.Fatal(err)
		}
		w.happens("acme", 3)
		time.Sleep(deletedRest + 2*sweepEvery)
		deliveries, _ := w.deliveries.Count(t.Context(), nil)
		courses, _ := w.courses.Count(t.Context(), nil)
		endpoints, _ := w.endpoints.Count(t.Context(), nil)
		if deliveries+courses+endpoints != 0 {
			t.Errorf("of a deleted endpoint are left: %d deliveries, %d courses, %d endpoints", deliveries, courses, endpoints)
		}
	})
}
