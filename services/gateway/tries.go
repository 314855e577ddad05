package gateway

import (
	"net/http"
	"time"

	"github.com/usherhq/usher/events"
)

// wordRefusal words why a code did not activate, for one that was refused so long ago.
func wordRefusal(refused events.ActivationRefused, ago time.Duration) *failure {
	if refused.Code == events.TooManyTries {
		wait := max(time.Duration(refused.RetrySeconds)*time.Second-ago, time.Second)
		return &failure{http.StatusTooManyRequests, "too-many-tries", "too many codes that are not right were tried today; try again later", wait}
	}
	if f, known := refusals[refused.Code]; known {
		return f
	}
	if f, known := passwordRefusals[refused.Code]; known {
		return f
	}
	return fail(http.StatusConflict, "not-activated", "the code did not activate the account")
}

// refusalOf returns what accounts refused a request with; its zero where it did not.
func refusalOf(history []events.Record, request string) (events.Record, events.ActivationRefused) {
	for _, r := range history {
		if e, ok := r.Event.(events.ActivationRefused); ok && e.RequestID == request {
			return r, e
		}
	}
	return events.Record{}, events.ActivationRefused{}
}

// triesClosed tells why accounts would refuse any code now, so that none is stored in vain: nil
// where it would look at one. It refused the last because of too many wrong ones, and has issued
// no other since or the time that it named is not over.
func triesClosed(history []events.Record, now time.Time) (f *failure) {
	for _, r := range history {
		switch e := r.Event.(type) {
		case events.ActivationRefused:
			f = nil
			ago := now.Sub(r.Stored)
			if e.Code == events.CodeLocked || e.Code == events.TooManyTries && ago < time.Duration(e.RetrySeconds)*time.Second {
				f = wordRefusal(e, ago)
			}
		case events.CodeIssued, events.ReminderDue:
			if f == refusals[events.CodeLocked] {
				f = nil
			}
		}
	}
	return f
}
