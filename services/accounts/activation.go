package accounts

import (
	"slices"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

// activation is what an account knows of its code. Times are the stream's.
type activation struct {
	Epoch   int       `json:"epoch"`
	SentAt  time.Time `json:"sentAt,omitzero"` // of the epoch's first mail
	Wrong   []string  `json:"wrong,omitempty"` // request ids that presented a wrong code of this epoch
	By      string    `json:"by,omitempty"`    // the request id that activated
	Resends []resend  `json:"resends,omitempty"`
}

// resend is one request for another mail and what became of it.
type resend struct {
	K       int       `json:"k"`
	At      time.Time `json:"at"`
	Refused string    `json:"refused,omitempty"`
	Retry   int       `json:"retrySeconds,omitempty"`
	Epoch   int       `json:"epoch,omitempty"`
}

// expired reports whether the code is too old. It is counted from its sending: a code that
// was never sent does not age.
func (a activation) expired(at time.Time, validity time.Duration) bool {
	return !a.SentAt.IsZero() && at.Sub(a.SentAt) > validity
}

// present decides about a code. It changes nothing for a request id it has seen.
func (a *activation) present(requestID string, right bool, at time.Time, validity time.Duration, maxTries int) (code string) {
	if i := slices.Index(a.Wrong, requestID); i >= 0 {
		return events.WrongCode
	}
	switch {
	case a.By == requestID:
		return ""
	case a.By != "" && right:
		return events.AlreadyActive
	case a.By != "":
		return events.WrongCode
	case len(a.Wrong) >= maxTries:
		return events.CodeLocked
	case !right:
		a.Wrong = append(a.Wrong, requestID)
		return events.WrongCode
	case a.expired(at, validity):
		return events.CodeExpired
	}
	a.By = requestID
	return ""
}

// resendAt decides about request k for another mail. A code that still works is sent again;
// one that is locked or expired is replaced by that of a new epoch.
func (a *activation) resendAt(k int, at time.Time, validity time.Duration, rules tenant.Activation) resend {
	if i := slices.IndexFunc(a.Resends, func(r resend) bool { return r.K == k }); i >= 0 {
		return a.Resends[i]
	}
	r := resend{K: k, At: at}
	cooldown := time.Duration(rules.ResendCooldown)
	today := 0
	last := a.SentAt
	for _, earlier := range a.Resends {
		if earlier.Refused != "" {
			continue
		}
		if at.Sub(earlier.At) < 24*time.Hour {
			today++
		}
		if earlier.At.After(last) {
			last = earlier.At
		}
	}
	switch wait := cooldown - at.Sub(last); {
	case a.By != "":
		r.Refused = events.ResendClosed
	case today >= rules.ResendsPerDay:
		r.Refused, r.Retry = events.ResendDailyCap, int((24 * time.Hour).Seconds())
	case !last.IsZero() && wait > 0:
		r.Refused, r.Retry = events.ResendCooldown, int(wait.Seconds())+1
	default:
		if len(a.Wrong) >= rules.MaxTries || a.expired(at, validity) {
			a.Epoch, a.Wrong, a.SentAt = a.Epoch+1, nil, time.Time{}
		}
		r.Epoch = a.Epoch
	}
	a.Resends = append(a.Resends, r)
	return r
}
