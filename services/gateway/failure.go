package gateway

import (
	"net/http"
	"strconv"
	"time"
)

// failure is why a request has no success, before a dialect words it.
type failure struct {
	status     int
	kind       string // lower-case words with hyphens
	detail     string // what is wrong and how to mend it; never a value of the request
	retryAfter time.Duration
}

func (f *failure) Error() string { return f.kind + ": " + f.detail }

func fail(status int, kind, detail string) *failure {
	return &failure{status: status, kind: kind, detail: detail}
}

// retryHint is how long a client should wait when the broker is away or full.
const retryHint = 2 * time.Second

// unavailable means that the outcome is unknown: the same key finds out.
func unavailable(detail string) *failure {
	return &failure{http.StatusServiceUnavailable, "unavailable", detail, retryHint}
}

// tooMany means that a limit is reached, and how long to wait.
func tooMany(detail string, wait time.Duration) *failure {
	return &failure{http.StatusTooManyRequests, "too-many-requests", detail, wait}
}

// retrySeconds is retryAfter in whole seconds, rounded up (RFC 9110 section 10.2.3).
func (f *failure) retrySeconds() int { return int((f.retryAfter + time.Second - 1) / time.Second) }

func (f *failure) header(w http.ResponseWriter) {
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retrySeconds()))
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
	}
}
