package console

import (
	"maps"
	"sync"
	"time"
)

// mostEnded bounds what is remembered of sign-outs, in sessions.
const mostEnded = 4096

// ended are the sessions that somebody signed out of at this replica since it started, until they
// would have ended anyway; where they are too many the oldest are forgotten. The zero value is
// ready. Safe for concurrent use.
type ended struct {
	mu    sync.Mutex
	until map[string]time.Time // by session.Form
}

// add ends a session.
func (e *ended) add(s session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.until == nil {
		e.until = map[string]time.Time{}
	}
	maps.DeleteFunc(e.until, func(_ string, until time.Time) bool { return !time.Now().Before(until) })
	if len(e.until) >= mostEnded {
		delete(e.until, e.oldest())
	}
	e.until[s.Form] = s.ends()
}

func (e *ended) oldest() (form string) {
	for f, until := range e.until {
		if form == "" || until.Before(e.until[form]) {
			form = f
		}
	}
	return form
}

// has reports whether a session has ended.
func (e *ended) has(s session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, has := e.until[s.Form]
	return has
}
