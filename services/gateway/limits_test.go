package gateway

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/limit"
	"github.com/usherhq/usher/pkg/tenant"
)

func TestAWaitIsAsLongAsTheBucketNeeds(t *testing.T) {
	l := newLimits()
	for range 2 {
		if wait := l.wait(tenantWith(2, 0), "10.0.0.1"); wait != 0 {
			t.Fatalf("within the limit: %v", wait)
		}
	}
	f := tooMany("", l.wait(tenantWith(2, 0), "10.0.0.1"))
	if f.retryAfter <= 0 || f.retryAfter > 500*time.Millisecond || f.retrySeconds() != 1 {
		t.Errorf("the third waits %v, Retry-After %d", f.retryAfter, f.retrySeconds())
	}
}

func TestTheAddressesOfAnIPv6NetworkShareABucket(t *testing.T) {
	l := newLimits()
	limit := tenantWith(0, 1)
	if l.wait(limit, "2001:db8:0:1::1") != 0 || l.wait(limit, "2001:db8:0:1:ffff::2") == 0 || l.wait(limit, "2001:db8:0:2::1") != 0 {
		t.Error("want one bucket for each /64")
	}
}

func TestABatchLeavesHalfOfTheBucketToOthers(t *testing.T) {
	l := newLimits()
	busy := tenantWith(4, 0)
	busy.Limits.PerTenant = 0.004 // refills too slowly to matter
	l.tenants[busy.ID] = limit.Bucket(4)
	l.tenants[busy.ID].SetLimit(0.004)
	ctx, stop := context.WithCancelCause(t.Context())
	for range 2 {
		if err := l.await(ctx, func() *tenant.Tenant { return busy }); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- l.await(ctx, func() *tenant.Tenant { return busy }) }()
	for i := range 2 {
		if wait := l.wait(busy, "10.0.0.1"); wait != 0 {
			t.Errorf("request %d beside a batch waits %v", i+1, wait)
		}
	}
	why := errors.New("the end")
	stop(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("the batch's third line: %v", err)
	}
}

func TestAnAddressThatGuessesTokensIsSlowedAndItsNeighboursAreNot(t *testing.T) {
	w := newWorld(t, "failuresPerAddress: 0", "failuresPerAddress: 3", "\ntenants:", "\ntrustedProxies: [127.0.0.0/8]\ntenants:")
	const guesser, other = "192.0.2.1", "192.0.2.2"
	ask := func(address, token string) answer {
		return w.do("GET", "/v1/registrations/none", nil, "X-Forwarded-For", address, "Authorization", "Bearer "+token)
	}
	if a := ask(guesser, "channel"); a.status != http.StatusNotFound {
		t.Fatalf("a valid token: %d %s", a.status, a.body)
	}
	var last answer
	w.eventually("it is refused", func() bool { last = ask(guesser, "guess"); return last.status == http.StatusTooManyRequests })
	if last.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", last.header.Get("Retry-After"))
	}
	live := w.gateway.env.Config
	slow := *live.Current()
	slow.Auth.FailuresPerAddress = 0.001 // no more for this test
	live.Replace(&slow)
	w.eventually("it has no more tries", func() bool { return ask(guesser, "guess").status == http.StatusTooManyRequests })
	for _, test := range []struct {
		what, address, token string
		status               int
	}{
		{"a token that was valid before", guesser, "channel", http.StatusNotFound},
		{"a right guess", guesser, "admin", http.StatusTooManyRequests},
		{"another address", other, "admin", http.StatusNotFound},
		{"another address, wrong", other, "guess", http.StatusUnauthorized},
	} {
		if a := ask(test.address, test.token); a.status != test.status {
			t.Errorf("%s: %d %s", test.what, a.status, a.body)
		}
	}
}
