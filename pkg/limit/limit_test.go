package limit

import (
	"fmt"
	"testing"
	"time"
)

func TestManyAddressesDoNotRefillTheBucketsOfThoseInUse(t *testing.T) {
	a := NewAddresses()
	const perSecond = 0.001
	take := func(address string) time.Duration { return Take(time.Now(), 0, a.Of("x", address, perSecond)) }
	take("192.0.2.1")
	for i := range MostAddresses + 100 {
		if i%1000 == 0 && take("192.0.2.1") == 0 {
			t.Fatalf("its bucket is full again after %d others", i)
		}
		take(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if n := len(a.buckets.by); n != MostAddresses || a.buckets.order.Len() != n {
		t.Errorf("%d addresses are kept, %d in order", n, a.buckets.order.Len())
	}
	if take("10.0.195.100") == 0 {
		t.Error("one of the last addresses was forgotten")
	}
}

func TestAFullBucketHoldsASecondsWorthAndAtLeastOne(t *testing.T) {
	now := time.Now()
	for perSecond, holds := range map[float64]int{0.5: 1, 1: 1, 4: 4} {
		b := Bucket(perSecond)
		taken := 0
		for Take(now, 0, b) == 0 {
			taken++
		}
		if taken != holds {
			t.Errorf("at %v a second it holds %d, want %d", perSecond, taken, holds)
		}
	}
	if Take(now, 0, nil) != 0 {
		t.Error("a limit that is not there refuses")
	}
}
