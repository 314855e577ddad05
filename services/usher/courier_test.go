//go:build process

package usher

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

func TestEveryCustomerIsMailedACodeThatWorksOnceThoughTheNotifierIsKilled(t *testing.T) {
	c := startCluster(t, nil)
	want, kills := scale(t, 1000), scale(t, 50)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	loaded := make(chan []accepted, 1)
	go func() {
		loaded <- c.registerAll(ctx, want, time.Duration(kills)*400*time.Millisecond/time.Duration(want))
	}()
	notifier := c.processes["notifier-1"]
	for range kills {
		pause(ctx, time.Duration(100+rand.IntN(400))*time.Millisecond)
		notifier.signal(syscall.SIGKILL)
		notifier.start(t)
	}
	all := <-loaded
	if len(all) != want {
		t.Fatalf("%d of %d accepted", len(all), want)
	}
	b, _ := c.bus()
	c.verify(all, c.complete(b, all, 3*time.Minute))
	mails := c.mails()
	t.Logf("%d mails to %d customers, %d kills", len(mails), len(all), kills)
	recipients, codes := map[string]bool{}, map[string]string{}
	for _, m := range mails {
		recipients[m.To] = true
		codes[m.Headers["Message-Id"][1:37]] = codePattern.FindString(m.Text)
	}
	if len(recipients) != want {
		t.Errorf("%d recipients, want %d", len(recipients), want)
	}
	for _, a := range all {
		c.verifyCodeWorksOnce(b, a, codes[a.id])
	}
}

// verifyCodeWorksOnce presents a code twice: the second changes nothing.
func (c *cluster) verifyCodeWorksOnce(b *bus.Bus, a accepted, code string) {
	c.t.Helper()
	d := &dev{t: c.t}
	d.command.HTTP = c.gateway
	for range 2 {
		answer := d.do(http.MethodPost, d.gateway("/v1/registrations/"+a.id+"/activation"), cloudVault, fmt.Appendf(nil, `{"code":%q}`, code))
		if answer.status != http.StatusOK {
			c.t.Fatalf("activation answers %d %s", answer.status, answer.body)
		}
	}
	history, err := b.History(c.t.Context(), cloudVault, a.id)
	if err != nil {
		c.t.Fatal(err)
	}
	activated := 0
	for _, r := range history {
		if _, ok := r.Event.(events.AccountActivated); ok {
			activated++
		}
	}
	if activated != 1 {
		c.t.Fatalf("%s was activated %d times", a.id, activated)
	}
}

// registerAll registers n customers, each with an address of its own, in about n times pace.
func (c *cluster) registerAll(ctx context.Context, n int, pace time.Duration) []accepted {
	var (
		mu  sync.Mutex
		all []accepted
		wg  sync.WaitGroup
	)
	for i := range n {
		pause(ctx, pace)
		wg.Go(func() {
			email := fmt.Sprintf("customer.%d@example.com", i)
			a, _, err := c.register(ctx, email, email)
			if err != nil {
				c.t.Errorf("register: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a)
		})
	}
	wg.Wait()
	return all
}
