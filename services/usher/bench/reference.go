package bench

import (
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
)

// ServeNoOp answers registrations after decoding their JSON and doing nothing else: what HTTP
// and JSON cost by themselves. It never returns but with an error.
func ServeNoOp(addr string) error {
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		raw, err := io.ReadAll(r.Body)
		var decoded any
		if err != nil || json.Unmarshal(raw, &decoded) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"code":202,"message":"Accepted"}`))
	}))
}

// hash is OWASP's default for argon2id: 19 MiB, two passes, one lane.
func hash(password, salt []byte) { argon2.IDKey(password, salt, 2, 19456, 1, 32) }

// hashRate is how many passwords all processors hash in a second when they do nothing else.
func hashRate(during time.Duration) float64 {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		total int
	)
	started := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			n := 0
			for ; time.Since(started) < during; n++ {
				hash([]byte("Granite-Harbour7"), make([]byte, 16))
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	wg.Wait()
	return float64(total) / time.Since(started).Seconds()
}

// hashTime is the median time of one hash on an idle machine.
func hashTime() time.Duration {
	times := make([]time.Duration, 15)
	for i := range times {
		started := time.Now()
		hash([]byte("Granite-Harbour7"), make([]byte, 16))
		times[i] = time.Since(started)
	}
	return quantile(times, 0.5)
}
