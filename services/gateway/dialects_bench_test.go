package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkDialects measures the whole handler of each JSON dialect with the vault and the
// publish in place, each registration answered 202 at once, beside the native one. Rounds of the dialects alternate, so that both meet the same machine.
func BenchmarkDialects(b *testing.B) {
	nested, err := os.ReadFile("finhub/testdata/nested.request.json")
	if err != nil {
		b.Fatal(err)
	}
	complete, err := os.ReadFile("native/testdata/complete.request.json")
	if err != nil {
		b.Fatal(err)
	}
	handler := newWorld(b).gateway.routes()
	requests := map[string]func() *http.Request{
		"native": func() *http.Request { return benchRequest("/v1/registrations", complete) },
		"finhub": func() *http.Request { return benchRequest("/api/v2.1/customer/individual/registration", nested) },
	}
	var spent [2]float64
	for b.Loop() {
		for i, name := range []string{"native", "finhub"} {
			seconds, failed := round(handler, requests[name])
			if failed > 0 {
				b.Fatalf("%s: %d of %d were not accepted", name, failed, roundSize)
			}
			spent[i] += seconds
		}
	}
	b.ReportMetric(roundSize*float64(b.N)/spent[0], "native/s")
	b.ReportMetric(roundSize*float64(b.N)/spent[1], "finhub/s")
	ratio := spent[0] / spent[1]
	b.ReportMetric(ratio, "finhub:native")
	if ratio < leastRatio {
		b.Errorf("the throughput of FinHub is %.2f of native, must be %.2f", ratio, leastRatio)
	}
}

const (
	roundSize = 2000 // registrations
	clients   = 64
	// leastRatio is the part of the native throughput that every JSON dialect must reach.
	leastRatio = 0.75
)

var benchNumber atomic.Int64

func benchRequest(path string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	for name, value := range map[string]string{
		"Authorization": "Bearer admin", "X-Tenant-ID": cloudVault, "Content-Type": "application/json", "Prefer": "respond-async",
		"Idempotency-Key": fmt.Sprint("bench-", benchNumber.Add(1)), "User-Agent": "bench", "X-Forwarded-From": "bench", "platform": "web", "deviceId": "1",
	} {
		r.Header.Set(name, value)
	}
	return r
}

// round sends requests from all clients and returns the seconds it took and how many were not
// accepted.
func round(handler http.Handler, request func() *http.Request) (seconds float64, failed int64) {
	var left, refused atomic.Int64
	left.Store(roundSize)
	var all sync.WaitGroup
	began := time.Now()
	for range clients {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				answer := httptest.NewRecorder()
				if handler.ServeHTTP(answer, request()); answer.Code != http.StatusAccepted {
					refused.Add(1)
				}
			}
		})
	}
	all.Wait()
	return time.Since(began).Seconds(), refused.Load()
}
