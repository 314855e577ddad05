package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

type registrationsPage struct {
	Page     []Registration
	Next     string // path of the next page
	Statuses []events.Status
	Outcomes []events.Outcome
	Query    url.Values
	Problem  string
	Since    string
}

func (k *console) registrations(v *visit) (string, string, any, error) {
	q := v.URL.Query()
	if id := strings.TrimSpace(q.Get("id")); id != "" {
		return k.search(v, id)
	}
	page := registrationsPage{Statuses: events.Statuses, Outcomes: events.Outcomes, Query: q, Since: q.Get("since")}
	asked := pick(q, "status", "outcome", "after")
	if page.Since != "" {
		since, err := time.Parse(time.DateOnly, page.Since)
		if err != nil {
			return "", "", nil, &Refusal{http.StatusBadRequest, "The date is not one such as 2026-01-31."}
		}
		asked.Set("since", since.Format(time.RFC3339))
	}
	found, next, err := k.Registrations.List(v.Context(), v.tenant.ID, asked)
	if err != nil {
		return "", "", nil, err
	}
	page.Page, page.Next = found, nextPage(v, next)
	return "Registrations", "registrations", page, nil
}

// search goes to where the registration of an id is, if there is one: nothing is read before.
func (k *console) search(v *visit, id string) (string, string, any, error) {
	if !events.ValidToken(id) {
		return "", "", nil, NotFound("This is no id of a registration. Ids look like 17d2381b-014b-8ced-b752-91fc2f8e1035.")
	}
	return "", "", nil, &movedError{v.to("registrations/" + id)}
}

// pick is the part of a query that has these names.
func pick(q url.Values, names ...string) url.Values {
	picked := url.Values{}
	for _, name := range names {
		if q.Get(name) != "" {
			picked.Set(name, q.Get(name))
		}
	}
	return picked
}

// nextPage is the address of the page after the one that is asked for, or "".
func nextPage(v *visit, after string) string {
	if after == "" {
		return ""
	}
	q := v.URL.Query()
	q.Del("done")
	q.Set("after", after)
	return v.URL.Path + "?" + q.Encode()
}

type registrationPage struct {
	History
	Waterfall  waterfall
	Deliveries []Sent // for those who see webhooks
	SeesMails  bool
	SeesRisk   bool
	CanResend  bool
}

func (k *console) registration(v *visit) (string, string, any, error) {
	h, err := k.Registrations.History(v.Context(), v.tenant.ID, v.id(), v.who)
	if err != nil {
		return "", "", nil, err
	}
	page := registrationPage{History: h, Waterfall: waterfallOf(h.Steps), SeesMails: mailsPlace.allows(v.who), SeesRisk: v.who.Has(tenant.Compliance)}
	page.CanResend = page.SeesMails && h.Outcome == "" && len(h.Mails) > 0
	if webhooksPlace.allows(v.who) {
		page.Deliveries, err = k.Webhooks.Of(v.Context(), v.tenant.ID, v.id())
	}
	return "Registration " + h.ID, "registration", page, err
}

func (k *console) resend(v *visit) (string, error) {
	err := k.Registrations.Resend(v.Context(), v.tenant.ID, v.id(), v.who.Subject)
	return v.to("registrations/" + v.id() + "?done=resent"), err
}
