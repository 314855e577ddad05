package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/tenant"
)

//go:embed templates
var templateFiles embed.FS

var pages = parse("login", "message", "pipeline", "registrations", "registration", "reviews", "review", "cases", "case",
	"deadletters", "deadletter", "webhooks", "webhook", "lists", "mailbox")

func parse(names ...string) map[string]*template.Template {
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html"))
	parsed := map[string]*template.Template{}
	for _, name := range names {
		parsed[name] = template.Must(template.Must(layout.Clone()).ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return parsed
}

// view is what every page has.
type view struct {
	Title   string
	Who     string // "" where nobody is signed in
	Tenant  *tenant.Tenant
	Tenants []*tenant.Tenant
	Nav     []navItem
	Form    string // sent back by every form
	Done    string // what was just done
	Data    any
}

type navItem struct {
	Title, Path string
	Current     bool
}

// To is a path of the page's tenant.
func (v *view) To(parts ...any) string { return pathOf(v.Tenant.ID, fmt.Sprint(parts...)) }

// doneTexts are what a page tells after an action, by ?done=.
var doneTexts = map[string]string{
	"approved": "The case is approved.", "rejected": "The case is rejected.", "noted": "The note is kept.", "taken": "The case is yours.",
	"cleared": "The case is cleared.", "confirmed": "The match is confirmed.", "replayed": "The dead letter is given back to its stage.",
	"resent": "Another mail is ordered.", "sending": "The event is sent again.",
}

func (k *console) viewOf(v *visit, title string, data any) *view {
	page := &view{Title: title, Who: v.who.Subject, Tenant: v.tenant, Tenants: k.tenantsOf(v.who), Form: v.form, Done: doneTexts[v.URL.Query().Get("done")], Data: data}
	for _, p := range k.places() {
		if p.allows(v.who) {
			page.Nav = append(page.Nav, navItem{p.Title, v.to(p.Path), p.Path == v.place.Path})
		}
	}
	return page
}

// render answers with a page, or with nothing of it where its template fails.
func (k *console) render(w http.ResponseWriter, status int, name string, v *view) {
	var body bytes.Buffer
	if err := pages[name].Execute(&body, v); err != nil {
		k.Log.Error("page not rendered", "page", name, "error", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

var functions = template.FuncMap{
	"time":  func(t time.Time) template.HTML { return stamp(t, "2006-01-02 15:04:05") },
	"clock": func(t time.Time) template.HTML { return stamp(t, "15:04:05.000") },
	"took":  took,
	"ago":   func(t time.Time) string { return took(time.Since(t)) },
	"words": words,
	"tone":  tone,
	"join":  strings.Join,
	"short": func(id string) string { return id[:min(len(id), 8)] },
	"dict":  dict,
}

// dict makes the argument of a part of several values.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m
}

// stamp is a time in UTC.
func stamp(t time.Time, layout string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	u := t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, u.Format(time.RFC3339Nano), u.Format(layout))) // digits alone
}

// took is a duration as one reads it.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// words makes a code readable: ACTIVATION_SENT is "activation sent".
func words(code any) string {
	return strings.ToLower(strings.NewReplacer("_", " ", ".", " ").Replace(fmt.Sprint(code)))
}

// tone is the colour that a state has: good, bad, wait or quiet.
func tone(state any) string {
	switch fmt.Sprint(state) {
	case "ACTIVATED", "SENT", "APPROVED", "CLEARED", "enabled", "delivered", "working", "current", "LOW":
		return "good"
	case "FAILED", "REJECTED", "ACTIVATION_FAILED", "CONFIRMED", "disabled", "failed", "stopped", "broken", "missing", "HIGH":
		return "bad"
	case "IN_REVIEW", "SCREENING_WAIT", "OPEN", "PENDING", "pending", "paused", "behind", "retrying", "loading", "MEDIUM":
		return "wait"
	}
	return "quiet"
}
