package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/pkg/store"
)

func TestWhatIsDueOfATenantThatIsNotServedKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.unserved.Store("gone", true)
		for i := range 1100 {
			e := Endpoint{ID: fmt.Sprintf("gone%d", i), Tenant: "gone", State: Enabled, CreatedAt: 1, ChangedAt: 1}
			if err := w.endpoints.Insert(t.Context(), e.ID, e); err != nil {
				t.Fatal(err)
			}
			if err := changeCourse(t.Context(), w.courses, e, func(c *course) { c.DueAt = 1 }); err != nil {
				t.Fatal(err)
			}
		}
		r := w.receives("a.test", func(n int, _ *http.Request) (int, http.Header) {
			if n == 1 {
				return 503, nil
			}
			return 200, nil
		})
		w.endpoint("acme", "a.test", false)
		p := w.start()
		defer p.end()
		w.happens("acme", 1)
		w.gets(r, 1, time.Minute)
		due := store.Query{Range: &store.Range{Field: "dueAt", From: 1, To: time.Now().UnixMilli()}, Order: "dueAt", Limit: 10}
		if page, _, err := w.courses.Find(t.Context(), due); err != nil || len(page) > 0 {
			t.Errorf("still due are %d courses or more, %v", len(page), err)
		}
	})
}

func TestACourseWithoutAnEndpointIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		e := Endpoint{ID: "lost", Tenant: "acme"}
		if err := changeCourse(t.Context(), w.courses, e, func(c *course) { c.DueAt = 1 }); err != nil {
			t.Fatal(err)
		}
		p := w.start()
		defer p.end()
		time.Sleep(2 * refreshAfter * usualPace)
		if _, err := w.courses.Get(t.Context(), e.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("it is still there: %v", err)
		}
	})
}

func TestATenantThatIsServedLaterIsDeliveredToFromThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.unserved.Store("acme", true)
		r := w.receives("a.test", nil)
		w.endpoint("acme", "a.test", false)
		p := w.start()
		defer p.end()
		w.happens("acme", 3)
		time.Sleep(time.Hour)
		if n := len(r.requests()); n != 0 {
			t.Errorf("before, it got %d", n)
		}
		w.unserved.Delete("acme")
		w.gets(r, 3, 2*refreshAfter*usualPace)
	})
}

func TestATenantsSlowReceiversDelayNoOtherTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 2 * mostRequests / width {
			host := fmt.Sprintf("slow%d.test", i)
			w.receives(host, func(int, *http.Request) (int, http.Header) { time.Sleep(SendTimeout - time.Second); return 200, nil })
			w.endpoint("slow", host, false)
		}
		r := w.receives("a.test", nil)
		w.endpoint("acme", "a.test", false)
		p := w.start()
		defer p.end()
		w.happens("slow", 100)
		time.Sleep(40 * time.Second)
		w.happens("acme", 20)
		w.gets(r, 20, 2*time.Second)
	})
}

func TestATenantsProbesTakeNoMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hung := w.receives("hung.test", hangs)
		w.receives("a.test", nil)
		e, other := w.endpoint("acme", "hung.test", false), w.endpoint("other", "a.test", false)
		p := w.start()
		defer p.end()
		var busy atomic.Int64
		for range 10 * mostOfTenant {
			go func() {
				if _, err := p.Probe(context.Background(), e); errors.Is(err, ErrBusy) {
					busy.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := len(hung.requests()); n != mostOfTenant || busy.Load() != 9*mostOfTenant {
			t.Errorf("%d are under way, %d were refused", n, busy.Load())
		}
		if _, err := p.Probe(t.Context(), other); err != nil {
			t.Errorf("another tenant's: %v", err)
		}
		time.Sleep(SendTimeout + time.Second)
		w.receives("hung.test", nil)
		if a, err := p.Probe(t.Context(), e); err != nil || a.Status != 204 {
			t.Errorf("afterwards: %+v, %v", a, err)
		}
	})
}

func TestAProbeThatIsRefusedTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.receives("a.test", nil)
		e := w.endpoint("acme", "a.test", false)
		p := w.start()
		defer p.end()
		for range mostRequests {
			p.slots <- struct{}{}
		}
		for range 2 * mostOfTenant {
			if _, err := p.Probe(t.Context(), e); !errors.Is(err, ErrBusy) {
				t.Fatalf("with all taken: %v", err)
			}
		}
		<-p.slots
		if _, err := p.Probe(t.Context(), e); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
