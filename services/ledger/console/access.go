package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// place is a part of the console and who may see it.
type place struct {
	Path  string // below the tenant's
	Title string
	roles []tenant.Role // admin has them all
}

var viewers = []tenant.Role{tenant.Compliance, tenant.Reviewer, tenant.Operator}

var (
	pipelinePlace      = place{"pipeline", "Pipeline", viewers}
	registrationsPlace = place{"registrations", "Registrations", viewers}
	mailsPlace         = place{"registrations", "Registrations", []tenant.Role{tenant.Operator}}
	reviewsPlace       = place{"reviews", "Reviews", []tenant.Role{tenant.Reviewer}}
	casesPlace         = place{"cases", "Customer cases", []tenant.Role{tenant.Reviewer}}
	deadLettersPlace   = place{"deadletters", "Dead letters", []tenant.Role{tenant.Operator}}
	webhooksPlace      = place{"webhooks", "Webhooks", []tenant.Role{tenant.Operator}}
	listsPlace         = place{"lists", "Screening lists", viewers}
	mailboxPlace       = place{"mailbox", "Dev mailbox", []tenant.Role{tenant.Operator}}
)

// places are those of the navigation.
func (k *console) places() []place {
	all := []place{pipelinePlace, registrationsPlace, reviewsPlace, casesPlace, deadLettersPlace, webhooksPlace, listsPlace}
	if k.Mailbox != nil {
		all = append(all, mailboxPlace)
	}
	return all
}

// allows reports whether somebody may see a place. Nobody but the policy reviews under its name.
func (p place) allows(who tenant.Principal) bool {
	if slices.Contains(p.roles, tenant.Reviewer) && len(p.roles) == 1 && who.Subject == events.ByPolicy {
		return false
	}
	return who.Has(p.roles...)
}

// visit is one request of somebody who may make it.
type visit struct {
	*http.Request
	who    tenant.Principal
	tenant *tenant.Tenant
	form   string
	place  place
}

func (v *visit) id() string { return mux.Vars(v.Request)["id"] }

// to is a path of the visit's tenant.
func (v *visit) to(path string) string { return pathOf(v.tenant.ID, path) }

func pathOf(tenant, path string) string { return Root + "/t/" + url.PathEscape(tenant) + "/" + path }

type (
	// shower returns a template's name and its data.
	shower func(v *visit) (title, name string, data any, err error)
	// actor does something and returns the page to go on with.
	actor func(v *visit) (next string, err error)
)

// tenantsOf are the tenants that somebody may see something of.
func (k *console) tenantsOf(p tenant.Principal) []*tenant.Tenant {
	var allowed []*tenant.Tenant
	for _, t := range k.Tenants().Tenants {
		if p.Has(viewers...) && p.Allows(t.ID) {
			allowed = append(allowed, t)
		}
	}
	return allowed
}

// enter finds out who asks for a place of a tenant; where that is refused, it has answered.
func (k *console) enter(w http.ResponseWriter, r *http.Request, p place) (*visit, bool) {
	s, who, err := k.signedIn(r)
	if errors.Is(err, tenant.ErrUnavailable) {
		k.refused(w, r, nil, &Refusal{http.StatusServiceUnavailable, "Tokens cannot be checked now. Try again in a moment."})
		return nil, false
	}
	if err != nil {
		to := Root + "/login"
		if r.Method == http.MethodGet {
			to += "?next=" + url.QueryEscape(r.URL.Path)
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil, false
	}
	t, known := k.Tenants().Tenant(mux.Vars(r)["tenant"])
	if !known || !who.Allows(t.ID) || !who.Has(viewers...) {
		k.refused(w, r, nil, &Refusal{http.StatusForbidden, "Your token does not allow this tenant."})
		return nil, false
	}
	v := &visit{r, who, t, s.Form, p}
	if !p.allows(who) {
		k.refused(w, r, v, &Refusal{http.StatusForbidden, "Your token's roles do not allow this."})
		return nil, false
	}
	if id, one := mux.Vars(r)["id"]; one && !events.ValidToken(id) {
		k.refused(w, r, v, NotFound("There is nothing under this id."))
		return nil, false
	}
	return v, true
}

// page shows a place.
func (k *console) page(p place, show shower) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, ok := k.enter(w, r, p)
		if !ok {
			return
		}
		title, name, data, err := show(v)
		var moved *movedError
		switch {
		case errors.As(err, &moved):
			http.Redirect(w, r, moved.to, http.StatusSeeOther)
		case err != nil:
			k.refused(w, r, v, err)
		default:
			k.render(w, http.StatusOK, name, k.viewOf(v, title, data))
		}
	}
}

// action does something for a form of the session, and goes on to another page.
func (k *console) action(p place, act actor) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, longestForm)
		v, ok := k.enter(w, r, p)
		if !ok {
			return
		}
		if s := (session{Form: v.form}); !s.sent(r) {
			k.refused(w, r, v, &Refusal{http.StatusForbidden, "The form is not of this session. Load the page again."})
			return
		}
		next, err := act(v)
		if err != nil {
			k.refused(w, r, v, err)
			return
		}
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}

// movedError says that another page has what was asked for.
type movedError struct{ to string }

func (m *movedError) Error() string { return "moved" }

// home goes to the first place that somebody may see.
func (k *console) home(w http.ResponseWriter, r *http.Request) {
	_, p, err := k.signedIn(r)
	allowed := k.tenantsOf(p)
	if err != nil || len(allowed) == 0 {
		http.Redirect(w, r, Root+"/login", http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, pathOf(allowed[0].ID, pipelinePlace.Path), http.StatusSeeOther)
}

// refused answers what cannot be shown or done; v is nil where nobody is known.
func (k *console) refused(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	var why *Refusal
	switch {
	case errors.As(err, &why):
	case errors.Is(err, bus.ErrNotReplayable):
		why = &Refusal{http.StatusConflict, err.Error() + "."}
	default:
		k.Log.WarnContext(r.Context(), "console request failed", "path", "console", "error", err)
		w.Header().Set("Retry-After", "2")
		why = &Refusal{http.StatusServiceUnavailable, "Whether it was done is not known. Try the same again in a moment."}
	}
	page := &view{Title: http.StatusText(why.Status), Data: why}
	if v != nil {
		page = k.viewOf(v, page.Title, why)
	}
	k.render(w, why.Status, "message", page)
}

func (k *console) notFound(w http.ResponseWriter, r *http.Request) {
	k.refused(w, r, nil, NotFound("There is nothing at this address."))
}
