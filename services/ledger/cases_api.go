package ledger

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/usherhq/usher/events"
)

// tenantCaseView is a tenant-level case without anything of the person.
type tenantCaseView struct {
	ID           string            `json:"id"`
	Registration string            `json:"registration"`
	State        CaseState         `json:"state"`
	OpenedAt     time.Time         `json:"openedAt"`
	Hit          *events.Hit       `json:"hit,omitempty"`   // nothing of who is erased
	Lists        string            `json:"lists,omitempty"` // versions screened under
	Decision     *caseDecisionView `json:"decision,omitempty"`
}

type caseDecisionView struct {
	Cleared bool      `json:"cleared"`
	Actor   string    `json:"actor"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

func viewOfCase(c tenantCase) tenantCaseView {
	v := tenantCaseView{ID: c.Opened.Case, Registration: c.Opened.Registration, State: c.State, OpenedAt: at(c.OpenedAt), Lists: c.Opened.Lists}
	if c.Opened.Hit != (events.Hit{}) {
		v.Hit = &c.Opened.Hit
	}
	if d := c.Decided; d != nil {
		v.Decision = &caseDecisionView{d.Cleared, d.Actor, d.Reason, at(d.At)}
	}
	return v
}

// openedCaseView has the person beside the entry.
type openedCaseView struct {
	tenantCaseView
	Listed *hitView          `json:"listed,omitempty"`
	Person *events.Applicant `json:"person,omitempty"`
}

// listCases answers GET /v1/cases?state=&after=&limit=.
func (a *api) listCases(w http.ResponseWriter, r *http.Request, by reviewing) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		problem(w, http.StatusBadRequest, "malformed", "the query cannot be read; write it as name=value&name=value, percent-encoded")
		return
	}
	state, limit := CaseState(v.Get("state")), 50
	if state != "" && !slices.Contains(CaseStates, state) {
		problem(w, http.StatusBadRequest, "malformed", "state is not one of OPEN, CLEARED, CONFIRMED, WITHDRAWN")
		return
	}
	if wrong := readLimit(v, &limit); wrong != nil {
		problem(w, wrong.status, "malformed", wrong.detail)
		return
	}
	found, next, err := a.cases.list(r.Context(), by.tenant, state, v.Get("after"), limit)
	if a.refused(w, r, err) {
		return
	}
	views := make([]tenantCaseView, len(found))
	for i, c := range found {
		views[i] = viewOfCase(c)
	}
	answer(w, map[string]any{"cases": views, "next": next})
}

// getCase answers GET /v1/cases/{id}: the person beside the entry, which is an access.
func (a *api) getCase(w http.ResponseWriter, r *http.Request, by reviewing) {
	c, person, err := a.cases.open(r.Context(), by.tenant, by.id, by.actor)
	if err != nil {
		a.caseRefused(w, r, err, "case", viewOfCase(c))
		return
	}
	v := openedCaseView{tenantCaseView: viewOfCase(c), Person: person}
	if v.Hit != nil {
		listed := a.hit(*v.Hit)
		v.Listed = &listed
	}
	answer(w, v)
}

// postCaseDecision answers POST /v1/cases/{id}/clear and /confirm {"reason": CODE}.
func (a *api) postCaseDecision(cleared bool) func(http.ResponseWriter, *http.Request, reviewing) {
	reasons := events.CaseReasons(cleared)
	return func(w http.ResponseWriter, r *http.Request, by reviewing) {
		reason, wrong := readReason(w, r, reasons)
		if wrong != nil {
			problem(w, wrong.status, "malformed", wrong.detail)
			return
		}
		c, err := a.cases.decide(r.Context(), by.tenant, by.id, cleared, by.actor, reason)
		if err != nil {
			a.caseRefused(w, r, err, "case", viewOfCase(c))
			return
		}
		answer(w, viewOfCase(c))
	}
}
