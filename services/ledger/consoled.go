package ledger

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/ledger/console"
)

// newConsole gives the console what the API has.
func newConsole(a *api, watch *stages, mailbox console.Mailbox) http.Handler {
	return console.New(console.Config{
		Tenants: a.env.Config.Current, Authenticate: a.authenticate, Keys: a.env.Keys, Log: a.env.Log, Ending: a.ending,
		Pipeline: newConsolePipeline(a, watch), Registrations: consoleRegistrations{a}, Reviews: consoleReviews{a}, Cases: consoleCases{a},
		DeadLetters: a.env.Bus, Webhooks: consoleWebhooks{a}, Lists: consoleLists{a}, Mailbox: mailbox,
	})
}

type consolePipeline struct {
	api     *api
	stages  *stages
	looking *streams // pages that follow the pipeline
}

func newConsolePipeline(a *api, s *stages) consolePipeline { return consolePipeline{a, s, &streams{}} }

func (p consolePipeline) Picture(tenant string) console.Picture { return p.stages.picture(tenant) }

// Watch takes one of the streams that a tenant may have of the pipeline, besides those of its feed.
func (p consolePipeline) Watch(tenant string) (release func(), ok bool) {
	if !p.looking.enter(tenant) {
		return nil, false
	}
	rest := p.stages.watch()
	return func() { rest(); p.looking.leave(tenant) }, true
}

func (p consolePipeline) Counts(ctx context.Context, tenant string) (console.Counts, error) {
	s, err := p.api.model.stats(ctx, tenant)
	return console.Counts{Statuses: s.Statuses, OldestSeconds: s.OldestUnfinishedSeconds}, err
}

type consoleRegistrations struct{ api *api }

var errBadCursor = &console.Refusal{Status: http.StatusBadRequest, Why: "The page is not one of this list. Begin with the first."}

func (c consoleRegistrations) List(ctx context.Context, tenant string, v url.Values) ([]console.Registration, string, error) {
	q, complaint := queryOf(v, tenant)
	if complaint != "" {
		return nil, "", &console.Refusal{Status: http.StatusBadRequest, Why: sentence(complaint)}
	}
	found, next, err := c.api.model.docs.Find(ctx, q)
	if errors.Is(err, store.ErrCursor) {
		return nil, "", errBadCursor
	}
	page := make([]console.Registration, len(found))
	for i, s := range found {
		page[i] = console.Registration{ID: s.ID, Status: s.Value.Status, Outcome: s.Value.Outcome, AcceptedAt: at(s.Value.AcceptedAt)}
	}
	return page, next, err
}

// History is a registration's, with what the reader's roles allow; that it is read is told before.
func (c consoleRegistrations) History(ctx context.Context, t, id string, reader tenant.Principal) (console.History, error) {
	found, ok, err := c.api.model.get(ctx, t, id)
	if err == nil && !ok {
		err = console.NotFound("The tenant has no such registration.")
	}
	if err != nil {
		return console.History{}, err
	}
	reads := []string{readRegistration}
	if reader.Has(tenant.Operator) {
		reads = append(reads, readMails)
	}
	for _, purpose := range reads {
		if err := c.api.accesses.tell(ctx, t, events.RecordAccessed{Actor: reader.Subject, Purpose: purpose, Registration: id}); err != nil {
			return console.History{}, err
		}
	}
	records := found.records(id)
	h := console.History{RegistrationView: app.View(t, id, events.Fold(records), reader.Has(tenant.Compliance))}
	slices.SortFunc(records, func(a, b events.Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, r := range records {
		h.Steps = append(h.Steps, console.Step{Type: r.Event.Type(), Source: r.Source, Name: string(r.Subject.Step) + "." + r.Subject.N, At: r.Stored, Reason: reasonOf(r.Event)})
	}
	if reader.Has(tenant.Operator) {
		for _, m := range found.mails(id) {
			h.Mails = append(h.Mails, console.Mail(m))
		}
	}
	return h, nil
}

// reasonOf are the codes of an event that tells of a failure.
func reasonOf(e events.Event) string {
	switch e := e.(type) {
	case events.Rejected:
		var codes []string
		for _, v := range e.Violations {
			if !slices.Contains(codes, v.Code) {
				codes = append(codes, v.Code)
			}
		}
		return strings.Join(codes, " ")
	case events.Failed:
		return e.Code
	case events.ActivationFailed:
		return e.Code
	}
	return ""
}

func (c consoleRegistrations) Resend(ctx context.Context, tenant, id, actor string) error {
	_, reason, err := c.api.resend(ctx, tenant, id, actor, false)
	switch {
	case err != nil:
		return err
	case reason == notFound:
		return console.NotFound("The tenant has no such registration, or its events are older than the stream keeps.")
	case reason == underWay:
		return &console.Refusal{Status: http.StatusTooManyRequests, Why: "Another resend is under way. Try again in a moment."}
	case reason != "":
		return &console.Refusal{Status: http.StatusConflict, Why: "The registration has no account that waits for its activation, or had too many resends."}
	}
	return nil
}

// sentence makes one of a detail of the API.
func sentence(detail string) string { return strings.ToUpper(detail[:1]) + detail[1:] + "." }

// refuse tells what is known of an error of a case.
func refuse(err error) error {
	if why := refusalOf(err); why.status != 0 {
		return &console.Refusal{Status: why.status, Why: sentence(why.detail)}
	}
	if errors.Is(err, store.ErrCursor) {
		return errBadCursor
	}
	return err
}

type consoleReviews struct{ api *api }

func consoleReview(v caseView) console.Review {
	c := console.Review{
		ID: v.ID, Registration: v.Registration, State: string(v.State), OpenedAt: v.OpenedAt, DecideBy: v.DecideBy, Assignee: v.Assignee,
		FirstActor: v.FirstActor, Channel: v.Channel, Score: v.Score, Level: v.Level, Hits: v.Hits, Notes: v.Notes,
	}
	if d := v.Decision; d != nil {
		c.Decision = &console.Decision{Yes: d.Approved, Actor: d.Actor, Reason: d.Reason, At: d.At}
	}
	return c
}

func (c consoleReviews) List(ctx context.Context, tenant string, v url.Values) ([]console.Review, string, error) {
	f, wrong := filterOf(v)
	if wrong != nil {
		return nil, "", &console.Refusal{Status: wrong.status, Why: sentence(wrong.detail)}
	}
	found, next, err := c.api.queue.list(ctx, tenant, f)
	page := make([]console.Review, len(found))
	for i, r := range found {
		page[i] = consoleReview(viewOf(r))
	}
	return page, next, refuse(err)
}

func (c consoleReviews) Open(ctx context.Context, tenant, id, actor string) (console.OpenReview, error) {
	found, err := c.api.queue.open(ctx, tenant, id, actor)
	if err != nil {
		return console.OpenReview{}, refuse(err)
	}
	v := c.api.openedView(found)
	o := console.OpenReview{Review: consoleReview(v.caseView), Assessment: v.Assessment, Person: v.Person}
	for _, h := range v.Listed {
		o.Listed = append(o.Listed, console.Listed(h))
	}
	for _, n := range v.Written {
		o.Written = append(o.Written, console.Note(n))
	}
	return o, nil
}

func (c consoleReviews) Take(ctx context.Context, tenant, id, actor string) error {
	_, err := c.api.queue.take(ctx, tenant, id, actor)
	return refuse(err)
}

func (c consoleReviews) Note(ctx context.Context, tenant, id, actor, text string) error {
	_, err := c.api.queue.note(ctx, tenant, id, actor, text)
	return refuse(err)
}

func (c consoleReviews) Decide(ctx context.Context, tenant, id string, approved bool, actor, reason string) error {
	_, err := c.api.queue.decide(ctx, tenant, id, approved, actor, reason)
	return refuse(err)
}

type consoleCases struct{ api *api }

func consoleCase(v tenantCaseView) console.Case {
	c := console.Case{ID: v.ID, Registration: v.Registration, State: string(v.State), OpenedAt: v.OpenedAt, Hit: v.Hit, Lists: v.Lists}
	if d := v.Decision; d != nil {
		c.Decision = &console.Decision{Yes: d.Cleared, Actor: d.Actor, Reason: d.Reason, At: d.At}
	}
	return c
}

const casesShown = 50

func (c consoleCases) List(ctx context.Context, tenant string, v url.Values) ([]console.Case, string, error) {
	state := CaseState(v.Get("state"))
	if state != "" && !slices.Contains(CaseStates, state) {
		return nil, "", &console.Refusal{Status: http.StatusBadRequest, Why: "There is no such state of a case."}
	}
	found, next, err := c.api.cases.list(ctx, tenant, state, v.Get("after"), casesShown)
	page := make([]console.Case, len(found))
	for i, one := range found {
		page[i] = consoleCase(viewOfCase(one))
	}
	return page, next, refuse(err)
}

func (c consoleCases) Open(ctx context.Context, tenant, id, actor string) (console.OpenCase, error) {
	found, person, err := c.api.cases.open(ctx, tenant, id, actor)
	if err != nil {
		return console.OpenCase{}, refuse(err)
	}
	o := console.OpenCase{Case: consoleCase(viewOfCase(found)), Person: person}
	if o.Hit != nil {
		listed := console.Listed(c.api.hit(*o.Hit))
		o.Listed = &listed
	}
	return o, nil
}

func (c consoleCases) Decide(ctx context.Context, tenant, id string, cleared bool, actor, reason string) error {
	_, err := c.api.cases.decide(ctx, tenant, id, cleared, actor, reason)
	return refuse(err)
}
