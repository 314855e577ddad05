package console

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/tenant"
)

// Refusal is an error that tells whoever asked what to do instead. Others are "try again".
type Refusal struct {
	Status int // of HTTP
	Why    string
}

func (r *Refusal) Error() string { return r.Why }

// NotFound is the refusal of what a tenant has not.
func NotFound(what string) *Refusal { return &Refusal{http.StatusNotFound, what} }

// Sealer keeps what is in the cookie from whoever reads a browser's files.
type Sealer interface {
	Seal(name, tenant, aad string, plaintext []byte) ([]byte, error)
	Open(name, tenant, aad string, sealed []byte) ([]byte, error)
}

// StageState is how a stage does.
type StageState string

// States of a stage, the worst first.
const (
	StageStopped  StageState = "stopped"  // no replica of it asks for work
	StageBehind   StageState = "behind"   // its oldest message waits for long
	StageRetrying StageState = "retrying" // messages come again
	StageWorking  StageState = "working"
)

// Stage is one service as the broker sees it.
type Stage struct {
	Service     events.Service `json:"service"`
	State       StageState     `json:"state"`
	Why         string         `json:"why,omitempty"` // one sentence, unless it is working
	Rate        float64        `json:"rate"`          // messages a second, over some seconds
	Pending     int64          `json:"pending"`       // not delivered yet
	Unacked     int64          `json:"unacked"`
	Redelivered int            `json:"redelivered"`
	Oldest      float64        `json:"oldest"` // seconds; 0 where nothing waits
	Dead        int            `json:"dead"`   // dead letters of the tenant in the last 24 hours
}

// Picture is the pipeline at a moment, the stages in the order a registration meets them.
type Picture struct {
	At      time.Time `json:"at"` // zero while nothing is known yet
	Stages  []Stage   `json:"stages"`
	Problem string    `json:"problem,omitempty"` // why nothing newer is known
}

// Counts are those of a tenant's registrations.
type Counts struct {
	Statuses      map[events.Status]int64 `json:"statuses"`
	OldestSeconds int64                   `json:"oldestSeconds"` // of those that have not ended
}

// Pipeline tells how the stages do.
type Pipeline interface {
	Picture(tenant string) Picture
	// Watch makes pictures be taken more often until release is called; ok is false where the tenant
	// has as many streams as it can.
	Watch(tenant string) (release func(), ok bool)
	Counts(ctx context.Context, tenant string) (Counts, error)
}

// Registration is one in a list.
type Registration struct {
	ID         string
	Status     events.Status
	Outcome    events.Outcome
	AcceptedAt time.Time
}

// Mail is a mail to an applicant.
type Mail struct {
	Registration string
	Cause        string
	State        string
	Attempts     int
	Answer       string
	Code         string
	MessageID    string
	AskedAt      time.Time
	EndedAt      *time.Time
}

// Step is one event of a registration's history.
type Step struct {
	Type   string
	Source events.Service
	Name   string // step and n
	At     time.Time
	Reason string // codes of a rejection or a failure
}

// History is all that there is to a registration.
type History struct {
	app.RegistrationView
	Steps []Step // in the order of the stream
	Mails []Mail
}

// Registrations are a tenant's, of any age.
type Registrations interface {
	// List takes status, outcome, since, limit and after, as the API does.
	List(ctx context.Context, tenant string, q url.Values) (page []Registration, next string, err error)
	// History has risk only for compliance and mails only for operators; that it was shown is logged.
	History(ctx context.Context, tenant, id string, reader tenant.Principal) (History, error)
	Resend(ctx context.Context, tenant, id, actor string) error
}

// Decision is how a case was decided.
type Decision struct {
	Yes    bool // approved, or cleared
	Actor  string
	Reason string
	At     time.Time
}

// Review is a case of the queue, without anything of the person.
type Review struct {
	ID, Registration, State       string
	OpenedAt, DecideBy            *time.Time
	Assignee, FirstActor, Channel string
	Score                         int
	Level                         string
	Hits, Notes                   int
	Decision                      *Decision
}

// Listed is a hit and the list's entry as it is now.
type Listed struct {
	List, Entry string
	Score       int
	Listed      *lists.Entry // nil where the list has it no more
	Version     string
}

// Note is what a reviewer wrote.
type Note struct {
	At       time.Time
	By, Text string
}

// OpenReview is all that there is to a case; that it was shown is logged.
type OpenReview struct {
	Review
	Assessment *events.Assessment
	Listed     []Listed
	Person     *events.Applicant // nil once nobody has to decide
	Written    []Note
}

// Reviews is the queue.
type Reviews interface {
	List(ctx context.Context, tenant string, q url.Values) (page []Review, next string, err error)
	Open(ctx context.Context, tenant, id, actor string) (OpenReview, error)
	Take(ctx context.Context, tenant, id, actor string) error
	Note(ctx context.Context, tenant, id, actor, text string) error
	Decide(ctx context.Context, tenant, id string, approved bool, actor, reason string) error
}

// Case is of a customer who came onto a list.
type Case struct {
	ID, Registration, State string
	OpenedAt                time.Time
	Hit                     *events.Hit // nil of who is erased
	Lists                   string
	Decision                *Decision
}

// OpenCase is all that there is to a case; that it was shown is logged.
type OpenCase struct {
	Case
	Listed *Listed
	Person *events.Applicant // nil once nobody has to decide
}

// Cases are those of customers.
type Cases interface {
	List(ctx context.Context, tenant string, q url.Values) (page []Case, next string, err error)
	Open(ctx context.Context, tenant, id, actor string) (OpenCase, error)
	Decide(ctx context.Context, tenant, id string, cleared bool, actor, reason string) error
}

// DeadLetters are the messages that stages gave up on.
type DeadLetters interface {
	DeadLettersOf(ctx context.Context, tenant string, from uint64, limit int) ([]bus.DeadLetter, error)
	DeadLetter(ctx context.Context, tenant string, sequence uint64) (bus.DeadLetter, error)
	Replayed(ctx context.Context, l bus.DeadLetter) (bool, error)
	Replay(ctx context.Context, sequence uint64) error
}

// Webhook is where a tenant's events go. Times are zero where there is none.
type Webhook struct {
	ID, URL, Description, State, Reason string
	Types                               []string // all where empty
	Ordered                             bool
	CreatedAt                           time.Time
	Behind                              uint64 // events that follow its place
	Failures                            int    // in a row
	FailingSince, RetryAt               time.Time
}

// Delivery is one event for one webhook.
type Delivery struct {
	Event, Type, State string
	Sequence           uint64 // of the event in the feed
	At, NextAt         time.Time
	Attempts           []Attempt
}

// Sent is a delivery of a registration's event.
type Sent struct {
	Delivery
	Webhook string // id
	URL     string // "" of a webhook that is removed
}

// Attempt is one request to a receiver.
type Attempt struct {
	At     time.Time
	Took   time.Duration
	Status int    // of HTTP; 0 where there was no answer
	Error  string // "" where it was delivered
}

// Webhooks are a tenant's, with their deliveries.
type Webhooks interface {
	List(ctx context.Context, tenant, after string) (page []Webhook, next string, err error)
	Get(ctx context.Context, tenant, id string) (Webhook, error)
	// Deliveries takes state and after, as the API does.
	Deliveries(ctx context.Context, tenant, id string, q url.Values) (page []Delivery, next string, err error)
	// Of returns the newest deliveries of a registration's events to any of them, newest first.
	Of(ctx context.Context, tenant, registration string) ([]Sent, error)
	// Replay sends one event again.
	Replay(ctx context.Context, tenant, id, actor string, sequence uint64) error
}

// List is a screening list as the ledger has it loaded.
type List struct {
	ID, Version string
	Entries     int
	State       string // as package lists has it, or "" where that is not known
	Problem     string
	Confirmed   time.Time
}

// ListUse is a version that risk has taken into use for a tenant.
type ListUse struct {
	events.ListActivated
	At time.Time
}

// Run is a completed run over all customers.
type Run struct {
	events.CustomersScreened
	At time.Time
}

// RunUnderWay is how far a run was when it was last told.
type RunUnderWay struct {
	events.CustomersScreening
	At time.Time
}

// Screening is what risk has told of the lists that it screens a tenant's people against.
type Screening struct {
	Used  []ListUse    // the newest version of each list
	Runs  []Run        // the newest first
	Under *RunUnderWay // nil where the newest run is completed, or has told nothing of itself yet
}

// Lists are the screening lists and what risk did with them.
type Lists interface {
	Loaded() []List
	Screening(ctx context.Context, tenant string) (Screening, error)
}

// DevMail is a mail that a developer's machine has caught.
type DevMail struct {
	To, From, Subject, Text string
	ReceivedAt              time.Time
}

// Mailbox is where a developer's machine keeps mails.
type Mailbox interface {
	// Newest returns mails to an address, or all for "", the newest first.
	Newest(to string, most int) ([]DevMail, error)
}
