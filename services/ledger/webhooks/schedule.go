package webhooks

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// delays are between the attempts of a delivery: twelve attempts within about three days.
var delays = []time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour,
	12 * time.Hour, 20 * time.Hour, 28 * time.Hour,
}

// mostAttempts is when a delivery is given up, and how many attempts its log has.
const mostAttempts = 12

// jitter is the part of a delay that is left to chance, so that what failed together does not come
// again together.
const jitter = 0.2

// longestWait bounds what a receiver may ask for with Retry-After.
const longestWait = 24 * time.Hour

// nextTry is when the attempt after a failed one, the last of so many, is due.
func nextTry(tries int, a Attempt) time.Time {
	next := time.UnixMilli(a.At + a.Duration).Add(delayAfter(tries))
	if a.retryAfter.After(next) {
		return a.retryAfter
	}
	return next
}

// delayAfter is how long to wait after so many failures.
func delayAfter(n int) time.Duration {
	d := delays[min(max(n, 1), len(delays))-1]
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*rand.Float64()))
}

// retryAfterOf reads the header Retry-After (RFC 9110 section 10.2.3); zero where there is none, or
// it cannot be read.
func retryAfterOf(h http.Header, now time.Time) time.Time {
	text := h.Get("Retry-After")
	var at time.Time
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		at = now.Add(time.Duration(seconds) * time.Second)
	} else if at, err = http.ParseTime(text); err != nil {
		return time.Time{}
	}
	if latest := now.Add(longestWait); at.After(latest) {
		return latest
	}
	return at
}
