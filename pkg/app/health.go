package app

import (
	"fmt"
	"net/http"
	"sync"
)

// Health knows what of a process is not ready. Safe for concurrent use.
type Health struct {
	mu       sync.Mutex
	checks   []check
	warnings []warning
}

type warning struct {
	name string
	text func() string
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

// Warn registers what /readyz tells besides: text returns what an operator should look at, or "".
// It makes nothing unready.
func (h *Health) Warn(name string, text func() string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.warnings = append(h.warnings, warning{name, text})
}

// ServeHTTP answers /readyz: 200, or 503 with a line for each part that is not ready; then a line
// for each warning.
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
	for _, w := range h.warnings {
		if text := w.text(); text != "" {
			lines += fmt.Sprintf("warning: %s: %s\n", w.name, text)
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(lines))
}

func live(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("live\n"))
}
