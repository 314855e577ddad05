package events

import (
	"cmp"
	"slices"
	"time"
)

// Status of a registration, as clients see it.
type Status string

const (
	StatusReceived         Status = "RECEIVED"
	StatusValidated        Status = "VALIDATED"
	StatusScreeningWait    Status = "SCREENING_WAIT"
	StatusCategorized      Status = "CATEGORIZED"
	StatusInReview         Status = "IN_REVIEW"
	StatusAccountCreated   Status = "ACCOUNT_CREATED"
	StatusActivationSent   Status = "ACTIVATION_SENT"
	StatusActivationFailed Status = "ACTIVATION_FAILED"
	StatusActivated        Status = "ACTIVATED"
	StatusRejected         Status = "REJECTED"
	StatusFailed           Status = "FAILED"
	StatusExpired          Status = "EXPIRED"
	StatusErased           Status = "ERASED"
)

// Statuses lists them all, in the order a registration can meet them.
var Statuses = []Status{
	StatusReceived, StatusValidated, StatusScreeningWait, StatusCategorized, StatusInReview, StatusAccountCreated,
	StatusActivationSent, StatusActivationFailed, StatusActivated, StatusRejected, StatusFailed, StatusExpired, StatusErased,
}

// Outcome is the end of a registration, empty while it is open.
type Outcome string

const (
	OutcomeActivated Outcome = "ACTIVATED"
	OutcomeRejected  Outcome = "REJECTED"
	OutcomeExpired   Outcome = "EXPIRED"
	OutcomeErased    Outcome = "ERASED"
)

// Outcomes lists them all.
var Outcomes = []Outcome{OutcomeActivated, OutcomeRejected, OutcomeExpired, OutcomeErased}

// State is what a history amounts to.
type State struct {
	Status     Status
	Outcome    Outcome
	Codes      []string // why it was rejected, failed or not delivered
	Category   *Category
	Assessment *Assessment
	Carried    Carried
	AcceptedAt time.Time
	Trace      string // trace id of the request, or empty
	Stages     []StageTime
	// PasswordRequired: the account waits for its activation, with which a password has to come.
	PasswordRequired bool
}

// StageTime is one event of the history: when it was stored and how long after the receipt.
type StageTime struct {
	Type  string
	At    time.Time
	Since time.Duration
}

// erasers are the services that hold personal data and must have answered an erasure.
var erasers = Services

// Fold derives the state of one registration from its history. It is the only derivation:
// independent of the order and of repetitions of its records (the stream's sequence decides).
// Precedence: ERASED, once every service has answered the erasure, or one has met what it erased
// where the stream has forgotten the erasure itself; then ACTIVATED, REJECTED, EXPIRED, then the
// latest stage. An expired registration is EXPIRED for good, though its person is erased like any
// other: ERASED says that somebody asked for it. Activations, resends, codes, notices and reviews never change the status. FAILED
// yields to any later stage.
func Fold(history []Record) State {
	records := slices.Clone(history)
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
	records = slices.CompactFunc(records, func(a, b Record) bool { return a.Sequence == b.Sequence })

	var s State
	var e erasure
	for _, r := range records {
		s.meet(r)
		e.meet(r.Event)
	}
	if len(records) > 0 && len(s.Stages) > 0 {
		s.measure(records)
	}
	if e.done(s.Outcome) {
		s.Status, s.Outcome = StatusErased, OutcomeErased
	}
	s.PasswordRequired = s.PasswordRequired && s.Outcome == ""
	return s
}

// erasure is how far a person is erased.
type erasure struct {
	requested, again bool
	answered         []Service
}

func (e *erasure) meet(event Event) {
	switch event := event.(type) {
	case ErasureRequested:
		e.requested = true
	case Erased:
		switch {
		case !event.Answers():
			e.again = true
		case event.K == AfterErasure && !slices.Contains(e.answered, event.Service):
			e.answered = append(e.answered, event.Service)
		}
	}
}

func (e *erasure) done(end Outcome) bool {
	return len(e.answered) == len(erasers) || e.again && !e.requested && end != OutcomeExpired
}

// Awaits returns the services whose answer of that K a history lacks, AfterErasure or AfterExpiry, in
// the order of the pipeline; all of them where there was no such event to answer.
func Awaits(history []Record, k string) []Service {
	return slices.DeleteFunc(slices.Clone(erasers), func(s Service) bool {
		return slices.ContainsFunc(history, func(r Record) bool { return r.Event == Erased{s, k} })
	})
}

func (s *State) meet(r Record) {
	s.Stages = append(s.Stages, StageTime{Type: r.Event.Type(), At: r.Stored})
	switch e := r.Event.(type) {
	case Requested:
		s.Carried, s.AcceptedAt, s.Trace = e.Carried, r.Stored, traceID(r.TraceParent)
		s.stage(StatusReceived)
	case Validated:
		s.stage(StatusValidated)
	case Categorized:
		s.Category, s.Assessment = &e.Category, &e.Assessment
		s.stage(StatusCategorized)
	case ReviewRequired:
		s.Assessment, s.Carried.Vault = &e.Assessment, e.Vault // put back into the vault
		s.stage(StatusInReview)
	case ScreeningWait:
		s.stage(StatusScreeningWait)
	case AccountCreated:
		s.PasswordRequired = e.PasswordRequired
		s.stage(StatusAccountCreated)
	case ActivationSent:
		if !isNotice(e.Cause) {
			s.stage(StatusActivationSent)
		}
	case ActivationFailed:
		if !isNotice(e.Cause) {
			s.stage(StatusActivationFailed, e.Code)
		}
	case Failed:
		s.stage(StatusFailed, e.Code)
	case Rejected:
		if e.Assessment != nil {
			s.Assessment = e.Assessment
		}
		s.end(StatusRejected, OutcomeRejected, codesOf(e.Violations))
	case AccountActivated:
		s.end(StatusActivated, OutcomeActivated, nil)
	case Expired:
		s.end(StatusExpired, OutcomeExpired, nil)
	}
}

func (s *State) stage(status Status, codes ...string) {
	if s.Outcome != "" {
		return
	}
	s.Status, s.Codes = status, codes
}

func (s *State) end(status Status, outcome Outcome, codes []string) {
	if s.Outcome != "" {
		return
	}
	s.Status, s.Outcome, s.Codes = status, outcome, codes
}

func (s *State) measure(records []Record) {
	start := s.AcceptedAt
	if start.IsZero() {
		start = records[0].Stored
	}
	for i := range s.Stages {
		s.Stages[i].Since = s.Stages[i].At.Sub(start)
	}
}

func codesOf(violations []Violation) []string {
	codes := make([]string, 0, len(violations))
	for _, v := range violations {
		if !slices.Contains(codes, v.Code) {
			codes = append(codes, v.Code)
		}
	}
	return codes
}

// traceID returns the trace id of a W3C traceparent, or "".
func traceID(parent string) string {
	if len(parent) < 55 || parent[2] != '-' || parent[35] != '-' {
		return ""
	}
	return parent[3:35]
}

// Terminal reports whether nothing but an erasure can follow.
func (s State) Terminal() bool { return s.Outcome != "" }
