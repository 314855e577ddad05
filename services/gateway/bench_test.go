package gateway

import (
	"context"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/keys"
)

// intakeCase is a request of BenchmarkIntake; least is how many registrations there must be for
// each native one, with the same processor's time.
type intakeCase struct {
	name, path string
	body       []byte
	headers    []string
	least      float64
}

func intakeCases(b *testing.B, w *world) []intakeCase {
	read := func(file string) []byte {
		body, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		return body
	}
	key, err := keys.AddRSA(w.keys, remitJunction, 2048)
	if err != nil {
		b.Fatal(err)
	}
	finhub := []string{"User-Agent", "b", "X-Forwarded-From", "b", "platform", "b", "deviceId", "b"}
	remit := []string{"X-Tenant-ID", remitJunction, "platform", "fincode", "uuid", "200"}
	return []intakeCase{
		{"native", "/v1/registrations", read("native/testdata/complete.request.json"), nil, 0},
		{"finhub", "/api/v2.1/customer/individual/registration", read("finhub/testdata/nested.request.json"), finhub, 0.75},
		{"fincode", fincodePath, read("fincode/testdata/plain.request.json"), remit, 0.75},
		{"candescent JSON", institutionPath, sample(b, "json"), customerHeaders("json"), 0.75},
		{"candescent XML", institutionPath, sample(b, "xml"), customerHeaders("xml"), 0.60},
		{"fincode RSA", fincodePath, w.sealed(key, "sealed@example.com", "SecurePass123!"), remit, 0},
	}
}

// BenchmarkIntake stores registrations, each in one request that does not wait for an outcome,
// from many clients at once. cpu-µs/op is the processor's time of the process, clients and broker
// included. Bursts of native registrations alternate with those of a dialect, so that whatever
// else the machine does and however full the streams are strikes both: of-native is how many of
// the dialect go for each native one. A run that is long enough to tell fails below least. Both
// passwords of "fincode RSA" are ciphertexts of 2048 bits; what crypto/rsa alone costs is
// measured in package fincode.
func BenchmarkIntake(b *testing.B) {
	w := newWorld(b)
	w.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: intakeClients}}
	cases := intakeCases(b, w)
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			const burst = 250
			var own, native time.Duration
			for sent := 0; sent < b.N; sent += burst {
				n := min(burst, b.N-sent)
				own += w.burst(b, c, n)
				b.StopTimer()
				native += w.burst(b, cases[0], n)
				b.StartTimer()
			}
			share := float64(native) / float64(own)
			b.ReportMetric(float64(own.Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(share, "of-native")
			if b.N >= enoughToTell && share < c.least {
				b.Errorf("%.2f of native registrations, must be %.2f", share, c.least)
			}
		})
	}
}

const (
	intakeClients = 64
	// enoughToTell is from how many registrations on a share is held against its bound.
	enoughToTell = 2000
)

// burst sends a request n times and returns the processor's time that it took.
func (w *world) burst(b *testing.B, c intakeCase, n int) time.Duration {
	before := processorTime(b)
	var left atomic.Int64
	left.Store(int64(n))
	var clients sync.WaitGroup
	for range intakeClients {
		clients.Go(func() {
			for left.Add(-1) >= 0 {
				a, err := w.try(context.Background(), http.MethodPost, c.path, c.body, append(slices.Clone(c.headers), "Prefer", "respond-async")...)
				if err != nil || a.status != http.StatusAccepted {
					b.Errorf("%d %s %v", a.status, a.body, err)
					return
				}
			}
		})
	}
	clients.Wait()
	return processorTime(b) - before
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
