package webhooks

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkThousandEndpoints measures how long after an event all receivers of 1,000 endpoints have it:
// p99-ms where each answers, and where one of them hangs. The second is to be at most twice the first.
func BenchmarkThousandEndpoints(b *testing.B) {
	for _, dead := range []int{0, 1} {
		b.Run(fmt.Sprintf("dead=%d", dead), func(b *testing.B) {
			w := newWorld(b)
			w.pace = 50 * time.Millisecond
			var mu sync.Mutex
			var took []time.Duration
			var begun time.Time
			all := sync.WaitGroup{}
			for i := range 1000 {
				host := fmt.Sprintf("%d.test", i)
				if i < dead {
					w.receives(host, hangs)
				} else {
					w.receives(host, func(int, *http.Request) (int, http.Header) {
						mu.Lock()
						defer mu.Unlock()
						took = append(took, time.Since(begun))
						all.Done()
						return 200, nil
					})
				}
				w.endpoint("acme", host, false)
			}
			p := w.start()
			defer p.kill()
			for len(p.watchedNow()) < 1000 {
				time.Sleep(10 * time.Millisecond)
			}
			for b.Loop() {
				all.Add(1000 - dead)
				mu.Lock()
				begun = time.Now()
				mu.Unlock()
				w.happens("acme", 1)
				all.Wait()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// watchedNow are the endpoints that a process has looked at.
func (p *process) watchedNow() (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, w := range p.byID {
		if !w.due && !w.running {
			ids = append(ids, id)
		}
	}
	return ids
}
