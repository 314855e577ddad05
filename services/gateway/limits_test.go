package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/tenant"
)

func TestTheAddressOfARequestIsTheLastThatNoTrustedProxyHas(t *testing.T) {
	a := &access{config: &tenant.Config{TrustedProxies: []tenant.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, {Prefix: netip.MustParsePrefix("2001:db8::/32")}}}}
	for name, test := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"a stranger is not believed":           {"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"},
		"a proxy is":                           {"10.1.1.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"what the client wrote first is not":   {"10.1.1.1:5", []string{"1.2.3.4, 198.51.100.7"}, "198.51.100.7"},
		"two proxies":                          {"10.1.1.1:5", []string{"198.51.100.7, 10.2.2.2"}, "198.51.100.7"},
		"two headers":                          {"10.1.1.1:5", []string{"1.2.3.4", "198.51.100.7,10.2.2.2"}, "198.51.100.7"},
		"a proxy that says nothing":            {"10.1.1.1:5", nil, "10.1.1.1"},
		"a proxy that passes rubbish on":       {"10.1.1.1:5", []string{"198.51.100.7, rubbish"}, "10.1.1.1"},
		"only proxies":                         {"10.1.1.1:5", []string{"10.3.3.3"}, "10.3.3.3"},
		"a proxy by IPv6":                      {"[2001:db8::1]:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"a proxy by IPv4 written as IPv6":      {"[::ffff:10.1.1.1]:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"a client by IPv4 written as IPv6":     {"10.1.1.1:5", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		"an address that is no address at all": {"@", []string{"198.51.100.7"}, "@"},
	} {
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-For": test.forwarded}}
		if got := a.address(r); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestAWaitIsAsLongAsTheBucketNeeds(t *testing.T) {
	l := newLimits(0)
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

func TestManyAddressesDoNotRefillTheBucketsOfTheTenantAndOfThoseInUse(t *testing.T) {
	l := newLimits(0)
	limit := tenantWith(0, 0.001)
	l.wait(limit, "192.0.2.1")
	for i := range mostAddresses + 100 {
		if i%1000 == 0 && l.wait(limit, "192.0.2.1") == 0 {
			t.Fatalf("its bucket is full again after %d others", i)
		}
		l.wait(limit, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if n := len(l.addresses.by); n != mostAddresses || l.addresses.order.Len() != n {
		t.Errorf("%d addresses are kept, %d in order", n, l.addresses.order.Len())
	}
	if l.wait(limit, "10.0.195.100") == 0 {
		t.Error("one of the last addresses was forgotten")
	}
}

func TestTheAddressesOfAnIPv6NetworkShareABucket(t *testing.T) {
	l := newLimits(0)
	limit := tenantWith(0, 1)
	if l.wait(limit, "2001:db8:0:1::1") != 0 || l.wait(limit, "2001:db8:0:1:ffff::2") == 0 || l.wait(limit, "2001:db8:0:2::1") != 0 {
		t.Error("want one bucket for each /64")
	}
}

func TestABatchLeavesHalfOfTheBucketToOthers(t *testing.T) {
	l := newLimits(0)
	limit := tenantWith(4, 0)
	limit.Limits.PerTenant = 0.004 // refills too slowly to matter
	l.tenants[limit.ID] = bucket(4)
	l.tenants[limit.ID].SetLimit(0.004)
	ctx, stop := context.WithCancelCause(t.Context())
	for range 2 {
		if err := l.await(ctx, limit); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- l.await(ctx, limit) }()
	for i := range 2 {
		if wait := l.wait(limit, "10.0.0.1"); wait != 0 {
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
	l := w.gateway.access.limits
	l.mu.Lock()
	l.ofAddress("authentication", guesser, l.failures).SetLimit(0.001) // no more for this test
	l.mu.Unlock()
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
