package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

//go:embed body.json
var body string

// load sends requests from several clients over kept connections.
type load struct {
	client  *http.Client
	clients int
	serial  atomic.Int64 // of the next customer
}

func newLoad(clients int) *load {
	return &load{clients: clients, client: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConns: clients, MaxIdleConnsPerHost: clients, DisableCompression: true},
	}}
}

// registration is a FinHub request of a customer nobody has seen.
func (l *load) registration(addr string, headers ...string) (*http.Request, error) {
	request, err := http.NewRequest(http.MethodPost, "http://"+addr+"/api/v2.1/customer/individual/registration",
		strings.NewReader(customer(l.serial.Add(1)).Replace(body)))
	if err != nil {
		return nil, err
	}
	authorize(request)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return request, nil
}

// customer fills the n-th customer in, who shares no mark of a person with another.
func customer(n int64) *strings.Replacer {
	letters := strings.Map(func(digit rune) rune { return 'a' + digit - '0' }, strconv.FormatInt(n, 10))
	return strings.NewReplacer("{{family}}", "Lind"+letters,
		"{{email}}", fmt.Sprintf("amelie.%d@bench.example.com", n), "{{phone}}", fmt.Sprintf("+4670%07d", n), "{{house}}", strconv.FormatInt(n, 10))
}

func authorize(r *http.Request) {
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("X-Tenant-ID", finsei)
}

// send returns the body of an answer that has the status.
func (l *load) send(request *http.Request, status int) ([]byte, error) {
	response, err := l.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != status {
		return nil, fmt.Errorf("%s answers %d: %s", request.URL.Path, response.StatusCode, answer)
	}
	return answer, nil
}

// accept sends n registrations and returns the time all of them took to be acknowledged.
func (l *load) accept(ctx context.Context, addr string, n int64, progress func(int64)) (time.Duration, error) {
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		done  atomic.Int64
		mu    sync.Mutex
		first error
	)
	started := time.Now()
	for range l.clients {
		wg.Go(func() {
			for next.Add(1) <= n && ctx.Err() == nil {
				request, err := l.registration(addr, "Prefer", "respond-async")
				if err == nil {
					_, err = l.send(request, http.StatusAccepted)
				}
				if err != nil {
					mu.Lock()
					first = errors.Join(first, err)
					mu.Unlock()
					return
				}
				progress(done.Add(1))
			}
		})
	}
	wg.Wait()
	return time.Since(started), errors.Join(first, ctx.Err())
}

// statusAfterReceipt registers n customers one after the other and reads each one's status at
// once. missing counts those that were not found.
func (l *load) statusAfterReceipt(addr string, n int64, progress func(int64)) (times []time.Duration, missing int, err error) {
	for i := range n {
		request, err := l.registration(addr, "Prefer", "respond-async")
		if err != nil {
			return nil, 0, err
		}
		response, err := l.client.Do(request)
		if err != nil {
			return nil, 0, err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		read, err := http.NewRequest(http.MethodGet, "http://"+addr+"/v1/registrations/"+response.Header.Get("X-Registration-ID"), nil)
		if err != nil {
			return nil, 0, err
		}
		authorize(read)
		started := time.Now()
		answer, err := l.send(read, http.StatusOK)
		times = append(times, time.Since(started))
		if err != nil || !json.Valid(answer) {
			missing++
		}
		progress(i + 1)
	}
	return times, missing, nil
}

// synchronous registers n customers one after the other, each answered when its account
// exists; it returns the id of the last.
func (l *load) synchronous(addr string, n int64, progress func(int64)) (times []time.Duration, id string, err error) {
	for i := range n {
		request, err := l.registration(addr)
		if err != nil {
			return nil, "", err
		}
		started := time.Now()
		answer, err := l.send(request, http.StatusOK)
		if err != nil {
			return nil, "", err
		}
		times = append(times, time.Since(started))
		var created struct{ Data struct{ ID string } }
		if err := json.Unmarshal(answer, &created); err != nil {
			return nil, "", fmt.Errorf("read answer: %w", err)
		}
		id = created.Data.ID
		progress(i + 1)
	}
	return times, id, nil
}

// wrongCode presents a code that accounts has to refuse, and returns the time of the answer.
func (l *load) wrongCode(addr, id string) (time.Duration, error) {
	request, err := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/registrations/"+id+"/activation", strings.NewReader(`{"code":"AAAAAAAAAAAAAAAA"}`))
	if err != nil {
		return 0, err
	}
	authorize(request)
	request.Header.Set("Content-Type", "application/json")
	started := time.Now()
	_, err = l.send(request, http.StatusBadRequest)
	return time.Since(started), err
}

// quantile returns the q-th of times, which it sorts.
func quantile(times []time.Duration, q float64) time.Duration {
	slices.Sort(times)
	return times[min(int(q*float64(len(times))), len(times)-1)]
}
