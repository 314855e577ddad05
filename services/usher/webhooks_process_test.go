//go:build process

package usher

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"
)

// postbox counts what the receivers of one process test get: by endpoint, then webhook-id, the body.
type postbox struct {
	mu       sync.Mutex
	got      map[string]map[string][]byte
	requests int
	altered  int // came again under an id with another body
}

func (p *postbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	time.Sleep(20 * time.Millisecond) // so that kills meet requests that are under way
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	to, id := p.got[r.URL.Path], r.Header.Get("webhook-id")
	if to == nil {
		to = map[string][]byte{}
		p.got[r.URL.Path] = to
	}
	if before, again := to[id]; again && !bytes.Equal(before, body) {
		p.altered++
	}
	to[id] = body
	w.WriteHeader(http.StatusNoContent)
}

// TestWebhooksMissNothingThoughTheLedgerIsKilled makes 10,000 deliveries while the ledger is killed at
// random.
func TestWebhooksMissNothingThoughTheLedgerIsKilled(t *testing.T) {
	t.Setenv("USHER_EGRESS_ALLOW", "127.0.0.0/8")
	const endpoints = 10
	registrations := scale(t, 210) // of about five events each
	c := startCluster(t, nil)
	box := &postbox{got: map[string]map[string][]byte{}}
	server := httptest.NewServer(box)
	defer server.Close()
	for i := range endpoints {
		c.mustPost("/v1/webhooks", fmt.Sprintf(`{"url":"%s/%d","ordered":%v,"after":""}`, server.URL, i, i%2 == 0))
	}
	ctx, stop := context.WithCancel(t.Context())
	killed := make(chan int)
	go func() {
		n := 0
		for ledger := c.processes["ledger-1"]; ctx.Err() == nil; n++ {
			pause(ctx, time.Duration(rand.Int64N(int64(4*time.Second))))
			ledger.signal(syscall.SIGKILL)
			ledger.start(t)
			c.eventually(30*time.Second, "the ledger is back", func() bool { return c.ready(c.ledger) })
		}
		killed <- n
	}()
	all, _ := c.load(t.Context(), registrations, 250*time.Millisecond)
	stop()
	kills := <-killed
	if len(all) != registrations {
		t.Fatalf("%d of %d registrations were accepted", len(all), registrations)
	}
	var feed []string
	c.eventually(3*time.Minute, "every endpoint has every event of the feed", func() bool {
		feed = c.feed()
		box.mu.Lock()
		defer box.mu.Unlock()
		for i := range endpoints {
			if len(box.got[fmt.Sprint("/", i)]) < len(feed) {
				return false
			}
		}
		return len(feed) >= 4*registrations
	})
	box.mu.Lock()
	defer box.mu.Unlock()
	for i := range endpoints {
		got := map[string]bool{}
		for _, body := range box.got[fmt.Sprint("/", i)] {
			var e struct{ ID string }
			if err := json.Unmarshal(body, &e); err != nil || got[e.ID] {
				t.Errorf("endpoint %d got one event under two ids, or garbage: %v", i, err)
			}
			got[e.ID] = true
		}
		for _, id := range feed {
			if !got[id] {
				t.Errorf("endpoint %d misses %s", i, id)
			}
		}
	}
	if box.altered > 0 {
		t.Errorf("%d deliveries had another body under the same webhook-id", box.altered)
	}
	t.Logf("%d events for %d endpoints in %d requests, %d kills", len(feed), endpoints, box.requests, kills)
}

// mustPost sends a body to the ledger until it is taken.
func (c *cluster) mustPost(path, body string) {
	c.t.Helper()
	c.eventually(30*time.Second, "the ledger takes "+path, func() bool {
		request, _ := http.NewRequest(http.MethodPost, "http://"+c.ledger+path, bytes.NewReader([]byte(body)))
		request.Header.Set("Content-Type", "application/json")
		return c.asked(request, nil) == http.StatusCreated
	})
}

// asked sends a request to the ledger and reads its answer; the status is 0 where there is none.
func (c *cluster) asked(request *http.Request, into any) (status int) {
	request.Header.Set("Authorization", "Bearer "+testToken)
	request.Header.Set("X-Tenant-ID", cloudVault)
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if into != nil && json.NewDecoder(response.Body).Decode(into) != nil {
		return 0
	}
	return response.StatusCode
}

// feed are the ids of all events of the tenant's feed; as far as it can be read now.
func (c *cluster) feed() (ids []string) {
	for after := ""; ; {
		request, _ := http.NewRequest(http.MethodGet, "http://"+c.ledger+"/v1/events?limit=1000&after="+after, nil)
		var page []struct{ ID, Cursor string }
		if c.asked(request, &page) != http.StatusOK || len(page) == 0 {
			return ids
		}
		for _, e := range page {
			ids, after = append(ids, e.ID), e.Cursor
		}
	}
}
