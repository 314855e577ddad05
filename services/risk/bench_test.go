package risk

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

// The whole of what risk does for a registration, with its store, 64 at a time.
func BenchmarkRegistrationsAreDecided(b *testing.B) {
	counts := []string{"deviceLastDay > 3", "addressLastHour > 20", "emailDomainLastHour > 50", "tenantLastMinute > 900"}
	for name, bench := range map[string]struct {
		rules []string
		who   func(n int64) events.Registration
	}{
		"strangers":                 {nil, stranger},
		"strangers who are counted": {counts, stranger},
		"always the same person": {counts, func(n int64) events.Registration {
			r := ingrid()
			r.Applicant.CanonicalEmail = fmt.Sprintf("i%d@solveig.example", n)
			return r
		}},
	} {
		b.Run(name, func(b *testing.B) {
			c := newComparing(b)
			for i, when := range bench.rules {
				policy := c.config.(*tenant.Config).Tenants[0].Policy
				policy.Rules = append(policy.Rules, rule(fmt.Sprint(i), when, 1, ""))
			}
			var next atomic.Int64
			begun := processor(b)
			var wg sync.WaitGroup
			b.ResetTimer()
			for range 64 {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						c.handle(cloudVault, fmt.Sprint("registration-", n), bench.who(n), noon.Add(time.Duration(n)*time.Millisecond))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((processor(b)-begun).Microseconds())/float64(b.N), "µs-of-cpu/registration")
		})
	}
}

func stranger(n int64) events.Registration {
	r := ingrid(func(a *events.Applicant) {
		a.GivenName, a.Phone, a.CanonicalEmail = fmt.Sprintf("Ingrid%d", n), fmt.Sprintf("+3706%07d", n), fmt.Sprintf("i@mail%d.example", n%100)
	})
	r.Client = events.Client{Address: fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255), DeviceID: fmt.Sprint("device-", n)}
	return r
}
