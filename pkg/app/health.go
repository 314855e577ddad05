package app

import (
	"fmt"
	"net/http"
	"sync"
)

// Health knows what of a process is not ready. Safe for concurrent use.
type Health struct {
	mu     sync.Mutex
	checks []check
}

type check struct {
	name  string
	ready func() error
}

// Add registers a check of a service: ready returns why it is not, or nil, without waiting.
func (h *Health) Add(name string, ready func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, ready})
}

// ServeHTTP answers /readyz: 200, or 503 with a line for each part that is not ready.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	status, lines := http.StatusOK, ""
	for _, c := range h.checks {
		if err := c.ready(); err != nil {
			status = http.StatusServiceUnavailable
			lines += fmt.Sprintf("%s: %v\n", c.name, err)
		}
	}
	if status == http.StatusOK {
		lines = "ready\n"
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(lines))
}

func live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("live\n"))
}
