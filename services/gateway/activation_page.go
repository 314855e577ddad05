package gateway

import (
	"crypto/rand"
	"embed"
	"errors"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/text/language"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/tenant"
)

//go:embed activate.html activate.js
var pages embed.FS

var activatePage = template.Must(template.ParseFS(pages, "activate.html"))

// pageState is what the page asks for or tells.
type pageState string

const (
	asksCode     pageState = "code"
	failed       pageState = "failed" // asks for the code again, whatever was wrong with it
	asksPassword pageState = "password"
	done         pageState = "done"
	later        pageState = "later"  // nothing is known: asks for the code again
	resent       pageState = "resent" // whatever became of it: asks for the code again
)

// page is what the template shows.
type page struct {
	words
	State    pageState
	Name     string // the tenant's, "" for one that is not there
	Code     string // that was presented, while a password is asked for
	Rule     string // about passwords
	Refused  string // why the password was not taken
	Nonce    string
	Accent   template.CSS
	OnAccent template.CSS
}

// Broken reports whether the page tells of something that did not work.
func (p page) Broken() bool { return p.State == failed || p.State == later || p.Refused != "" }

// activationPage is the public page of the link in the mail. GET only renders, since mail
// scanners follow links; the code stays in the fragment, which no server sees; POST activates.
// Whatever is wrong with a code reads the same.
func (g *gateway) activationPage(w http.ResponseWriter, r *http.Request) {
	t, known := configOf(r).Tenant(mux.Vars(r)["tenant"])
	if !known {
		t = &tenant.Tenant{Page: tenant.Page{Accent: "#1f4e79"}}
	}
	p := page{words: wordsFor(r, t), State: asksCode, Name: t.Name, Nonce: rand.Text(), Accent: template.CSS(t.Page.Accent), OnAccent: readableOn(t.Page.Accent)}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		p.State, status = failed, http.StatusUnprocessableEntity
		if known {
			status = g.activateByForm(w, r, t, &p)
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.Language)
	h.Add("Vary", "Accept-Language")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'nonce-"+p.Nonce+"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_ = activatePage.Execute(w, p)
}

// longestForm bounds the page's form: a code and a password of the greatest length, percent-encoded.
const longestForm = 16 << 10

// activateByForm presents what the form sent and says on the page what became of it.
func (g *gateway) activateByForm(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, p *page) (status int) {
	if wait := g.access.limits.activation(g.access.address(r)); wait > 0 {
		p.State = later
		f := tooMany("", wait)
		f.header(w)
		return f.status
	}
	r.Body = http.MaxBytesReader(w, r.Body, longestForm)
	id, code := mux.Vars(r)["id"], typed(r.PostFormValue("code"))
	if r.PostFormValue("resend") != "" {
		return g.resendByForm(r, t, id, p)
	}
	_, f := g.activate(r, t, id, code, r.PostFormValue("password"))
	switch {
	case f == nil:
		p.State = done
		return http.StatusOK
	case f.kind == "unavailable", f.kind == "too-many-requests":
		p.State = later
		f.header(w)
		return f.status
	case strings.HasPrefix(f.kind, "password-"):
		p.State, p.Code = asksPassword, code
		p.Rule = p.rule(g.policyOf(r, t, id))
		if f.kind == passwordRequired && r.PostFormValue("password") == "" {
			return http.StatusOK
		}
		p.Refused = p.Refusals[f.kind]
		return http.StatusUnprocessableEntity
	}
	return http.StatusUnprocessableEntity
}

// resendByForm asks for another mail, under the limits of any resend, and says the same whatever becomes
// of that: nobody learns whether there is such a registration.
func (g *gateway) resendByForm(r *http.Request, t *tenant.Tenant, id string, p *page) (status int) {
	p.State = resent
	history, err := g.env.Bus.History(r.Context(), t.ID, id)
	k := count(history, events.StepResend) + 1
	_, _, active := find[events.AccountActivated](history)
	if err == nil && !active && resendClosed(history, k, time.Now()) == nil {
		err = g.env.Bus.Publish(r.Context(), t.ID, id, events.ResendRequested{K: k})
	}
	if err != nil && !errors.Is(err, bus.ErrExists) {
		g.env.Log.WarnContext(r.Context(), "resend not stored", "error", err)
		p.State = later
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// typed is a code without what a hand or a mail program adds.
func typed(code string) string {
	return strings.ToUpper(strings.Join(strings.FieldsFunc(code, func(r rune) bool { return r == ' ' || r == '-' || r == '\u00a0' || r == '\t' }), ""))
}

// policyOf is that of the registration's dialect.
func (g *gateway) policyOf(r *http.Request, t *tenant.Tenant, id string) passwords.Policy {
	history, _ := g.env.Bus.History(r.Context(), t.ID, id) // without it the native rules are shown
	created, _, _ := find[events.AccountCreated](history)
	return passwords.Of(t, created.Channel)
}

// longestAccept bounds the Accept-Language that is looked at.
const longestAccept = 256

// wordsFor chooses the language that the browser prefers, else the tenant's.
func wordsFor(r *http.Request, t *tenant.Tenant) words {
	ours := []words{english, german}
	if t.Mail.Language == german.Language {
		ours = []words{german, english}
	}
	tags := make([]language.Tag, len(ours))
	for i, w := range ours {
		tags[i] = language.Make(w.Language)
	}
	wanted := r.Header.Get("Accept-Language")
	if len(wanted) > longestAccept {
		wanted = ""
	}
	_, i := language.MatchStrings(language.NewMatcher(tags), wanted)
	return ours[i]
}

// readableOn is black or white, whichever has the greater contrast with a colour: at least 4.5 to 1
// (WCAG 2.2, relative luminance).
func readableOn(colour string) template.CSS {
	luminance := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		part, _ := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8) // the configuration is checked
		c := float64(part) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		luminance += weight * c
	}
	if (luminance+0.05)/0.05 > 1.05/(luminance+0.05) {
		return "#000"
	}
	return "#fff"
}
