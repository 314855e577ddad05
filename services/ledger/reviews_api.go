package ledger

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/tenant"
)

// reviewing is what a handler of the queue gets: who asks, for which tenant, about which case.
type reviewing struct {
	actor, tenant, id string
}

// reviewers lets in who may decide cases. Nobody but the policy decides under its name.
func (a *api) reviewers(handle func(http.ResponseWriter, *http.Request, reviewing)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		p, t, ok := a.enter(w, r)
		if !ok {
			return
		}
		if !p.Has(tenant.Reviewer) || p.Subject == events.ByPolicy {
			problem(w, http.StatusForbidden, "forbidden", "the token's roles do not allow this; it takes a reviewer")
			return
		}
		id, one := mux.Vars(r)["id"]
		if one && !events.ValidToken(id) {
			a.reviewRefused(w, r, review{}, errNoCase)
			return
		}
		handle(w, r, reviewing{p.Subject, t, id})
	}
}

// caseView is a case without anything of the person.
type caseView struct {
	ID           string        `json:"id"`
	Registration string        `json:"registration"`
	State        ReviewState   `json:"state"`
	OpenedAt     *time.Time    `json:"openedAt,omitempty"`
	DecideBy     *time.Time    `json:"decideBy,omitempty"` // then the policy decides
	Assignee     string        `json:"assignee,omitempty"`
	FirstActor   string        `json:"firstActor,omitempty"` // may not decide this case
	Channel      string        `json:"channel,omitempty"`
	Score        int           `json:"score"`
	Level        string        `json:"level,omitempty"`
	Hits         int           `json:"hits"`
	Notes        int           `json:"notes"`
	Decision     *decisionView `json:"decision,omitempty"`
}

type decisionView struct {
	Approved bool      `json:"approved"`
	Actor    string    `json:"actor"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func viewOf(c review) caseView {
	v := caseView{ID: reviewID(c.Registration, c.Case), Registration: c.Registration, State: c.State, Assignee: c.Assignee, Notes: len(c.Notes)}
	if c.Asked != nil {
		opened := at(c.Asked.At)
		v.OpenedAt, v.FirstActor, v.Channel = &opened, c.Asked.FirstActor, c.Asked.Channel
		v.Score, v.Level, v.Hits = c.Asked.Score, c.Asked.Level, len(c.Asked.Hits)+c.Asked.MoreHits
		if by := c.decideBy(); !by.IsZero() {
			v.DecideBy = &by
		}
	}
	if d := c.Decided; d != nil {
		v.Decision = &decisionView{d.Approved, d.Actor, d.Reason, at(d.At)}
	}
	return v
}

// openedView is all that there is to a case.
type openedView struct {
	caseView
	Assessment *events.Assessment `json:"assessment,omitempty"`
	Listed     []hitView          `json:"listed"` // the entries of the assessment's hits
	Person     *events.Applicant  `json:"person,omitempty"`
	Written    []noteView         `json:"written"` // notes, the oldest first
}

type hitView struct {
	List  string `json:"list"`
	Entry string `json:"entry"`
	Score int    `json:"score"`
	// Listed is the entry as the list has it now; nothing if it is not there any more. Version is
	// the list's now: the assessment names the one that was searched.
	Listed  *lists.Entry `json:"listed,omitempty"`
	Version string       `json:"version,omitempty"`
}

func (a *api) hit(h events.Hit) hitView {
	entry, version := a.lists.entry(h.List, h.Entry)
	return hitView{h.List, h.Entry, h.Score, entry, version}
}

type noteView struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Text string    `json:"text"`
}

// listReviews answers GET /v1/reviews?state=&assignee=&openedFrom=&openedTo=&after=&limit=.
func (a *api) listReviews(w http.ResponseWriter, r *http.Request, by reviewing) {
	v, wrong := pageQuery(r)
	f := filter{}
	if wrong == nil {
		f, wrong = filterOf(v)
	}
	if wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	found, next, err := a.queue.list(r.Context(), by.tenant, f)
	if a.refused(w, r, err) {
		return
	}
	views := make([]caseView, len(found))
	for i, c := range found {
		views[i] = viewOf(c)
	}
	answer(w, map[string]any{"reviews": views, "next": next})
}

// latestOpened is a bound that no case is beyond.
var latestOpened = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

func filterOf(v url.Values) (f filter, wrong *malformed) {
	f = filter{OpenedFrom: time.UnixMilli(0), OpenedTo: latestOpened, Limit: 50}
	f.State, f.After = ReviewState(v.Get("state")), v.Get("after")
	if f.State != "" && !slices.Contains(ReviewStates, f.State) {
		return f, bad("state is not one of OPEN, APPROVED, REJECTED, WITHDRAWN")
	}
	if v.Has("assignee") {
		assignee := v.Get("assignee")
		if !utf8.ValidString(assignee) {
			return f, bad("assignee is not UTF-8")
		}
		f.Assignee = &assignee
	}
	for name, bound := range map[string]*time.Time{"openedFrom": &f.OpenedFrom, "openedTo": &f.OpenedTo} {
		if v.Get(name) == "" {
			continue
		}
		var err error
		if *bound, err = time.Parse(time.RFC3339, v.Get(name)); err != nil {
			return f, bad("%s is not a time such as 2026-01-31T12:00:00Z", name)
		}
	}
	return f, readLimit(v, &f.Limit)
}

// readLimit reads how many entries a page has at most; where it is not said, limit stays.
func readLimit(v url.Values, limit *int) *malformed {
	l := v.Get("limit")
	if l == "" {
		return nil
	}
	n, err := strconv.Atoi(l)
	if err != nil || n < 1 || n > longestPage {
		return bad("limit is not a number from 1 to 500")
	}
	*limit = n
	return nil
}

// getReview answers GET /v1/reviews/{id}: the person beside the entries, which is an access.
func (a *api) getReview(w http.ResponseWriter, r *http.Request, by reviewing) {
	o, err := a.queue.open(r.Context(), by.tenant, by.id, by.actor)
	if err != nil {
		a.reviewRefused(w, r, o.review, err)
		return
	}
	answer(w, a.openedView(o))
}

func (a *api) openedView(o opened) openedView {
	v := openedView{caseView: viewOf(o.review), Listed: []hitView{}, Person: o.person, Written: []noteView{}}
	if o.Asked != nil && o.State != ReviewWithdrawn {
		v.Assessment = &o.Asked.Assessment
		for _, h := range o.Asked.Hits {
			v.Listed = append(v.Listed, a.hit(h))
		}
	}
	for i, text := range o.notes {
		v.Written = append(v.Written, noteView{at(o.Notes[i].At), o.Notes[i].By, text})
	}
	return v
}

// longestName is of an assignee.
const longestName = 256

// postAssign answers POST /v1/reviews/{id}/assign: {"assignee": NAME} gives the case to somebody,
// "" to nobody, and no assignee takes it.
func (a *api) postAssign(w http.ResponseWriter, r *http.Request, by reviewing) {
	var to *string
	if wrong := readBody(w, r, map[string]any{"assignee": &to}); wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	var c review
	var err error
	switch {
	case to == nil:
		c, err = a.queue.take(r.Context(), by.tenant, by.id, by.actor)
	case len(*to) > longestName:
		problem(w, http.StatusBadRequest, "malformed", "assignee is longer than 256 bytes")
		return
	default:
		c, err = a.queue.assign(r.Context(), by.tenant, by.id, *to)
	}
	a.answerCase(w, r, c, err)
}

// longestNote is in characters.
const longestNote = 4000

// postNote answers POST /v1/reviews/{id}/notes {"text": WORDS}.
func (a *api) postNote(w http.ResponseWriter, r *http.Request, by reviewing) {
	var text *string
	if wrong := readBody(w, r, map[string]any{"text": &text}); wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	if text == nil || strings.TrimSpace(*text) == "" || utf8.RuneCountInString(*text) > longestNote {
		problem(w, http.StatusBadRequest, "malformed", "text is missing, or longer than 4,000 characters; give the note's words")
		return
	}
	c, err := a.queue.note(r.Context(), by.tenant, by.id, by.actor, *text)
	a.answerCase(w, r, c, err)
}

// postDecision answers POST /v1/reviews/{id}/approve and /reject {"reason": CODE}.
func (a *api) postDecision(approved bool) func(http.ResponseWriter, *http.Request, reviewing) {
	reasons := events.ReviewReasons(approved)
	return func(w http.ResponseWriter, r *http.Request, by reviewing) {
		reason, wrong := readReason(w, r, reasons)
		if wrong != nil {
			problem(w, wrong.status, "malformed", wrong.detail)
			return
		}
		c, err := a.queue.decide(r.Context(), by.tenant, by.id, approved, by.actor, reason)
		a.answerCase(w, r, c, err)
	}
}

// readReason reads {"reason": CODE} with one of these codes.
func readReason(w http.ResponseWriter, r *http.Request, reasons []string) (string, *malformed) {
	var reason *string
	if wrong := readBody(w, r, map[string]any{"reason": &reason}); wrong != nil {
		return "", wrong
	}
	if reason == nil || !slices.Contains(reasons, *reason) {
		return "", bad("reason is not one of %s; send the code, events carry no words", strings.Join(reasons, ", "))
	}
	return *reason, nil
}

func (a *api) answerCase(w http.ResponseWriter, r *http.Request, c review, err error) {
	if err != nil {
		a.reviewRefused(w, r, c, err)
		return
	}
	answer(w, viewOf(c))
}

// reviewRefused is caseRefused for a review.
func (a *api) reviewRefused(w http.ResponseWriter, r *http.Request, c review, err error) {
	a.caseRefused(w, r, err, "review", viewOf(c))
}

// caseRefused answers why a case cannot be shown or changed; where another was faster, with the case as
// it is, in a member of that name.
func (a *api) caseRefused(w http.ResponseWriter, r *http.Request, err error, member string, as any) {
	why := refusalOf(err)
	switch why.status {
	case 0:
		a.env.Log.WarnContext(r.Context(), "review request failed", "error", err)
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "unavailable", "whether it is done is not known; send the same again")
	case http.StatusConflict:
		write(w, http.StatusConflict, "application/problem+json", map[string]any{
			"type": "urn:usher:problem:" + why.kind, "title": http.StatusText(http.StatusConflict), "status": http.StatusConflict,
			"detail": why.detail + "; see " + member, member: as,
		})
	default:
		problem(w, why.status, why.kind, why.detail)
	}
}

// refusal is why a case cannot be shown or changed; its status is 0 for what nobody knows why.
type refusal struct {
	status       int
	kind, detail string
}

func refusalOf(err error) refusal {
	switch {
	case errors.Is(err, errNoCase):
		return refusal{http.StatusNotFound, "not-found", "the tenant has no such case"}
	case errors.Is(err, errFourEyes):
		return refusal{http.StatusForbidden, "four-eyes", "you have approved the case before this one; a second person has to decide"}
	case errors.Is(err, errClosed):
		return refusal{http.StatusConflict, "case-closed", "the case is not open any more"}
	case errors.Is(err, errAssigned):
		return refusal{http.StatusConflict, "case-assigned", "the case is assigned to somebody else"}
	case errors.Is(err, errTooMany):
		return refusal{http.StatusConflict, "too-many-notes", fmt.Sprintf("the case has %d notes, as many as it can", mostNotes)}
	}
	return refusal{}
}
