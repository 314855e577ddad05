package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

type queuePage[C any] struct {
	Page   []C
	Next   string
	State  string
	States []string
}

// queue reads a page of cases by the state that is asked for; without one, of those that are open.
func queue[C any](v *visit, states []string, list func(url.Values) ([]C, string, error)) (queuePage[C], error) {
	page := queuePage[C]{State: v.URL.Query().Get("state"), States: states}
	if page.State == "" {
		page.State = states[0]
	}
	asked := pick(v.URL.Query(), "after")
	if page.State != "ALL" {
		asked.Set("state", page.State)
	}
	found, next, err := list(asked)
	page.Page, page.Next = found, nextPage(v, next)
	return page, err
}

var reviewStates = []string{"OPEN", "APPROVED", "REJECTED", "WITHDRAWN", "ALL"}

func (k *console) reviews(v *visit) (string, string, any, error) {
	page, err := queue(v, reviewStates, func(q url.Values) ([]Review, string, error) {
		return k.Reviews.List(v.Context(), v.tenant.ID, q)
	})
	return "Reviews", "reviews", page, err
}

type reviewPage struct {
	OpenReview
	Reasons  reasons
	FourEyes bool // the visitor was the first of two persons
}

func (k *console) review(v *visit) (string, string, any, error) {
	o, err := k.Reviews.Open(v.Context(), v.tenant.ID, v.id(), v.who.Subject)
	return "Review " + v.id(), "review", reviewPage{o, k.reviewReasons, o.FirstActor == v.who.Subject}, err
}

func (k *console) takeReview(v *visit) (string, error) {
	err := k.Reviews.Take(v.Context(), v.tenant.ID, v.id(), v.who.Subject)
	return v.to("reviews/" + v.id() + "?done=taken"), err
}

// longestNote is in characters, as at the API.
const longestNote = 4000

func (k *console) noteReview(v *visit) (string, error) {
	text := strings.TrimSpace(v.PostFormValue("text"))
	if text == "" || utf8.RuneCountInString(text) > longestNote || !utf8.ValidString(text) {
		return "", &Refusal{http.StatusUnprocessableEntity, "The note is empty or longer than 4,000 characters."}
	}
	err := k.Reviews.Note(v.Context(), v.tenant.ID, v.id(), v.who.Subject, text)
	return v.to("reviews/" + v.id() + "?done=noted"), err
}

// decided reads a decision of one of the reasons that it can have.
func decided(v *visit, of reasons) (yes bool, reason string, err error) {
	decision, reason := v.PostFormValue("decision"), v.PostFormValue("reason")
	yes = decision == "yes"
	allowed := of.No
	if yes {
		allowed = of.Yes
	}
	if decision != "yes" && decision != "no" || !slices.Contains(allowed, reason) {
		return false, "", &Refusal{http.StatusUnprocessableEntity, "Choose a reason for the decision."}
	}
	return yes, reason, nil
}

func (k *console) decideReview(v *visit) (string, error) {
	approved, reason, err := decided(v, k.reviewReasons)
	if err != nil {
		return "", err
	}
	done := "rejected"
	if approved {
		done = "approved"
	}
	return v.to("reviews?done=" + done), k.Reviews.Decide(v.Context(), v.tenant.ID, v.id(), approved, v.who.Subject, reason)
}

var caseStates = []string{"OPEN", "CLEARED", "CONFIRMED", "WITHDRAWN", "ALL"}

func (k *console) cases(v *visit) (string, string, any, error) {
	page, err := queue(v, caseStates, func(q url.Values) ([]Case, string, error) {
		return k.Cases.List(v.Context(), v.tenant.ID, q)
	})
	return "Customer cases", "cases", page, err
}

type casePage struct {
	OpenCase
	Reasons reasons
}

func (k *console) caseOf(v *visit) (string, string, any, error) {
	o, err := k.Cases.Open(v.Context(), v.tenant.ID, v.id(), v.who.Subject)
	return "Customer case", "case", casePage{o, k.caseReasons}, err
}

func (k *console) decideCase(v *visit) (string, error) {
	cleared, reason, err := decided(v, k.caseReasons)
	if err != nil {
		return "", err
	}
	done := "confirmed"
	if cleared {
		done = "cleared"
	}
	return v.to("cases?done=" + done), k.Cases.Decide(v.Context(), v.tenant.ID, v.id(), cleared, v.who.Subject, reason)
}
