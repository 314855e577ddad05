// Package console is the ledger's user interface: server-rendered pages for those who operate the
// pipeline, review and follow it. It keeps nothing but who signed out: what it shows and does are the ledger's own
// reads and functions, so that guards, logs of access and limits are those of the API.
package console

import (
	"embed"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

// Root is where the console is.
const Root = "/console"

//go:embed assets
var assets embed.FS

// Config is what the console needs; every field is required unless it says otherwise.
type Config struct {
	Tenants       func() *tenant.Config
	Authenticate  func(*http.Request) (tenant.Principal, error) // by the header Authorization
	Keys          Sealer
	Pipeline      Pipeline
	Registrations Registrations
	Reviews       Reviews
	Cases         Cases
	DeadLetters   DeadLetters
	Webhooks      Webhooks
	Lists         Lists
	Mailbox       Mailbox // optional: a developer's mails
	Log           *slog.Logger
	Ending        <-chan struct{} // closed when streams must end
}

// console answers every path below Root. Safe for concurrent use.
type console struct {
	Config
	ended                      ended
	reviewReasons, caseReasons reasons
}

// reasons are those of the two decisions of a case.
type reasons struct{ Yes, No []string }

// New returns the handler of every path from Root on.
func New(c Config) http.Handler {
	k := &console{
		Config:        c,
		reviewReasons: reasons{events.ReviewReasons(true), events.ReviewReasons(false)},
		caseReasons:   reasons{events.CaseReasons(true), events.CaseReasons(false)},
	}
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	r := mux.NewRouter()
	r.NotFoundHandler = http.HandlerFunc(k.notFound)
	r.MethodNotAllowedHandler = http.HandlerFunc(k.notFound)
	r.PathPrefix(Root + "/assets/").Handler(http.StripPrefix(Root+"/assets/", cached(http.FileServerFS(files)))).Methods(http.MethodGet)
	r.HandleFunc(Root, k.home).Methods(http.MethodGet)
	r.HandleFunc(Root+"/", k.home).Methods(http.MethodGet)
	r.HandleFunc(Root+"/login", k.getLogin).Methods(http.MethodGet)
	r.HandleFunc(Root+"/login", k.postLogin).Methods(http.MethodPost)
	r.HandleFunc(Root+"/logout", k.postLogout).Methods(http.MethodPost)

	of := r.PathPrefix(Root + "/t/{tenant}").Subrouter()
	of.NotFoundHandler, of.MethodNotAllowedHandler = r.NotFoundHandler, r.MethodNotAllowedHandler
	get := func(path string, p place, show shower) { of.HandleFunc(path, k.page(p, show)).Methods(http.MethodGet) }
	post := func(path string, p place, act actor) { of.HandleFunc(path, k.action(p, act)).Methods(http.MethodPost) }
	get("/pipeline", pipelinePlace, k.pipeline)
	of.HandleFunc("/pipeline/stream", k.streamPipeline).Methods(http.MethodGet)
	get("/registrations", registrationsPlace, k.registrations)
	get("/registrations/{id}", registrationsPlace, k.registration)
	post("/registrations/{id}/resend", mailsPlace, k.resend)
	get("/reviews", reviewsPlace, k.reviews)
	get("/reviews/{id}", reviewsPlace, k.review)
	post("/reviews/{id}/take", reviewsPlace, k.takeReview)
	post("/reviews/{id}/note", reviewsPlace, k.noteReview)
	post("/reviews/{id}/decide", reviewsPlace, k.decideReview)
	get("/cases", casesPlace, k.cases)
	get("/cases/{id}", casesPlace, k.caseOf)
	post("/cases/{id}/decide", casesPlace, k.decideCase)
	get("/deadletters", deadLettersPlace, k.deadLetters)
	get("/deadletters/{sequence:[0-9]+}", deadLettersPlace, k.deadLetter)
	post("/deadletters/{sequence:[0-9]+}/replay", deadLettersPlace, k.replay)
	get("/webhooks", webhooksPlace, k.webhooks)
	get("/webhooks/{id}", webhooksPlace, k.webhook)
	post("/webhooks/{id}/replay", webhooksPlace, k.replayDelivery)
	get("/lists", listsPlace, k.lists)
	if c.Mailbox != nil {
		get("/mailbox", mailboxPlace, k.mailbox)
	}
	return secured(http.NewCrossOriginProtection().Handler(r))
}

// policy admits what the console's own files do, and nothing that stands within a page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache") // asked for again: a later version has other files
		next.ServeHTTP(w, r)
	})
}
