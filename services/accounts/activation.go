package accounts

import (
	"slices"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

const day = 24 * time.Hour

// activation is what an account knows of its code. Times are the stream's.
type activation struct {
	Epoch   int      `json:"epoch"`
	Tries   []try    `json:"tries,omitempty"` // that were refused, of all epochs
	By      string   `json:"by,omitempty"`    // the request id that activated
	Resends []resend `json:"resends,omitempty"`
}

// try is a code that did not activate the account. It is kept so that its redelivery gets the same
// answer and is no further try, though another code was issued meanwhile.
type try struct {
	Request string    `json:"request"`
	At      time.Time `json:"at"`
	Epoch   int       `json:"epoch"`
	Refused string    `json:"refused"`
	Retry   int       `json:"retrySeconds,omitempty"`
}

// resend is one request for another mail and what became of it.
type resend struct {
	K       int       `json:"k"`
	At      time.Time `json:"at"`
	Refused string    `json:"refused,omitempty"`
	Retry   int       `json:"retrySeconds,omitempty"`
	Epoch   int       `json:"epoch,omitempty"`
}

// lifetime is how long the code of an epoch works.
type lifetime struct {
	made      time.Time // when the account was, as far as the history tells
	sent      time.Time // when the epoch's first mail was; zero while there is none
	forgotten bool      // the history, which outlives every code, does not know of this one
	validity  time.Duration
}

// lifetimeOf reads a history for the sending of an epoch's code. Where the stream has forgotten a
// registration and its client sends it once more, the events of the account and of its mail come
// again, with another entry of the vault than the account was made of: they renew no code.
func lifetimeOf(history []events.Record, made uint64, epoch int, validity time.Duration) lifetime {
	l := lifetime{validity: validity}
	announced, again := false, false
	for _, r := range history {
		switch e := r.Event.(type) {
		case events.AccountCreated:
			l.made = r.Stored
			again = made != 0 && e.Vault != made
			announced = announced || epoch == 1 && !again
		case events.CodeIssued:
			announced = announced || e.Epoch == epoch
		case events.ReminderDue:
			announced = announced || e.Epoch == epoch
		case events.ActivationSent:
			if e.Epoch == epoch && (l.sent.IsZero() || r.Stored.Before(l.sent)) {
				l.sent = r.Stored
			}
		}
	}
	l.forgotten = !announced && (again || l.sent.IsZero())
	return l
}

// expired reports whether the code is too old. It is counted from its sending: a code that
// was never sent does not age.
func (l lifetime) expired(at time.Time) bool {
	return l.forgotten || !l.sent.IsZero() && at.Sub(l.sent) > l.validity
}

// seen returns what a request was refused with; nil for one that was not.
func (a *activation) seen(requestID string) *try {
	i := slices.IndexFunc(a.Tries, func(t try) bool { return t.Request == requestID })
	if i < 0 {
		return nil
	}
	return &a.Tries[i]
}

func (t try) event() events.ActivationRefused {
	return events.ActivationRefused{RequestID: t.Request, Code: t.Refused, RetrySeconds: t.Retry}
}

// present decides about a code: nil where it activates the account. It changes nothing for a
// request id it has seen.
func (a *activation) present(requestID string, right bool, at time.Time, l lifetime, maxTries, perDay int) *try {
	if t := a.seen(requestID); t != nil {
		return t
	}
	refused := try{Request: requestID, At: at, Epoch: a.Epoch}
	today := a.triesWithin(at)
	switch {
	case a.By == requestID:
		return nil
	case a.By != "": // decided by what never changes again, so it need not be kept
		if refused.Refused = events.WrongCode; right {
			refused.Refused = events.AlreadyActive
		}
		return &refused
	case len(today) >= perDay:
		refused.Refused, refused.Retry = events.TooManyTries, seconds(today[len(today)-perDay].Add(day).Sub(at))
	case a.locked(maxTries):
		refused.Refused = events.CodeLocked
	case !right:
		refused.Refused = events.WrongCode
	case l.expired(at):
		refused.Refused = events.CodeExpired
	default:
		a.By = requestID
		return nil
	}
	a.Tries = append(a.Tries, refused)
	return &refused
}

// triesWithin are the times of the codes that were looked at in the day before at, the oldest first.
func (a *activation) triesWithin(at time.Time) (times []time.Time) {
	for _, t := range a.Tries {
		if looked := t.Refused == events.WrongCode || t.Refused == events.CodeExpired; looked && at.Sub(t.At) < day {
			times = append(times, t.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// locked reports whether too many wrong codes of the present epoch were tried.
func (a *activation) locked(maxTries int) bool {
	wrong := 0
	for _, t := range a.Tries {
		if t.Epoch == a.Epoch && t.Refused == events.WrongCode {
			wrong++
		}
	}
	return wrong >= maxTries
}

// seconds rounds up, so that who waits so long has waited enough.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// resendAt decides about request k for another mail, of an account that is open for its activation
// or not. A code that still works is sent again;
// one that is locked or expired is replaced by that of a new epoch.
func (a *activation) resendAt(k int, at time.Time, l lifetime, open bool, rules tenant.Activation) resend {
	if i := slices.IndexFunc(a.Resends, func(r resend) bool { return r.K == k }); i >= 0 {
		return a.Resends[i]
	}
	r := resend{K: k, At: at}
	var today []time.Time
	last := l.made // the first mail may be on its way still
	if l.sent.After(last) {
		last = l.sent
	}
	for _, earlier := range a.Resends {
		if earlier.Refused != "" {
			continue
		}
		if at.Sub(earlier.At) < day {
			today = append(today, earlier.At)
		}
		if earlier.At.After(last) {
			last = earlier.At
		}
	}
	slices.SortFunc(today, time.Time.Compare)
	switch wait := last.Add(time.Duration(rules.ResendCooldown)).Sub(at); {
	case !open:
		r.Refused = events.ResendClosed
	case len(today) >= rules.ResendsPerDay:
		r.Refused, r.Retry = events.ResendDailyCap, seconds(today[len(today)-rules.ResendsPerDay].Add(day).Sub(at))
	case !last.IsZero() && wait > 0:
		r.Refused, r.Retry = events.ResendCooldown, seconds(wait)
	default:
		if a.locked(rules.MaxTries) || l.expired(at) {
			a.Epoch++
		}
		r.Epoch = a.Epoch
	}
	a.Resends = append(a.Resends, r)
	return r
}
