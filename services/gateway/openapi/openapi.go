// Package openapi serves the OpenAPI documents of the dialects, and a page to browse them.
package openapi

import (
	"compress/gzip"
	"embed"
	"html/template"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/swaggest/swgui/v5/static"
)

// Document is that of one dialect.
type Document struct {
	Dialect string
	Prefix  string // of the paths that are the dialect's own
	YAML    []byte
}

//go:embed viewer
var viewer embed.FS

var page = template.Must(template.ParseFS(viewer, "viewer/index.html"))

// Handler answers below /openapi/: the page, DIALECT.yaml, and what the page needs. Anything else
// is for notFound.
func Handler(documents []Document, notFound http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/openapi/")
		dialect, isYAML := strings.CutSuffix(name, ".yaml")
		i := slices.IndexFunc(documents, func(d Document) bool { return isYAML && d.Dialect == dialect })
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case name == "":
			index(w, documents)
		case i >= 0:
			w.Header().Set("Content-Type", "application/yaml") // RFC 9512
			_, _ = w.Write(documents[i].YAML)
		case name == "start.js":
			http.ServeFileFS(w, r, viewer, "viewer/start.js")
		case slices.Contains([]string{"swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"}, name):
			asset(w, r, name)
		default:
			notFound(w, r)
		}
	})
}

// index is the page. It runs no script but those of this gateway and reads from nowhere else.
func index(w http.ResponseWriter, documents []Document) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "+
		"style-src 'self' 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
	_ = page.Execute(w, documents)
}

// asset serves a file of Swagger UI, which is kept compressed.
func asset(w http.ResponseWriter, r *http.Request, name string) {
	file, err := static.FS.Open(name + ".gz")
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Add("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.Copy(w, file)
		return
	}
	plain, err := gzip.NewReader(file)
	if err == nil {
		_, _ = io.Copy(w, plain)
	}
}
