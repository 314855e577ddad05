package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/usherhq/usher/services/gateway/candescent"
	"github.com/usherhq/usher/services/gateway/fincode"
	"github.com/usherhq/usher/services/gateway/finhub"
	"github.com/usherhq/usher/services/gateway/native"
	"github.com/usherhq/usher/services/gateway/openapi"
)

// dialect is one API of the gateway.
type dialect struct {
	name   string
	prefix string // of the paths that are its own
	// fail answers in the dialect's words, also where no route of it is met.
	fail func(http.ResponseWriter, *failure)
	// document is its OpenAPI document.
	document []byte
}

// dialects are every API; the last one answers also for paths that are nobody's. Routes are in
// gateway.go.
var dialects = []dialect{
	{name: "finhub", prefix: "/api/v2.1/", fail: finhubFail, document: finhub.OpenAPI},
	{name: "fincode", prefix: "/api/v6/", fail: fincodeFail, document: fincode.OpenAPI},
	{name: "candescent", prefix: "/registration/", fail: candescentFail, document: candescent.OpenAPI},
	{name: "native", prefix: "/v1/", fail: nativeFail, document: native.OpenAPI},
}

// Documents are those of all dialects.
func Documents() []openapi.Document {
	documents := make([]openapi.Document, len(dialects))
	for i, d := range dialects {
		documents[i] = openapi.Document{Dialect: d.name, Prefix: d.prefix, YAML: d.document}
	}
	return documents
}

func dialectOf(path string) dialect {
	i := slices.IndexFunc(dialects, func(d dialect) bool { return strings.HasPrefix(path+"/", d.prefix) })
	if i < 0 {
		i = len(dialects) - 1
	}
	return dialects[i]
}

// outside wraps what answers where no route does in what routes are wrapped in.
func (g *gateway) outside(routes *mux.Router, answer http.HandlerFunc) http.Handler {
	return g.cors(routes)(g.traced(traceparent(answer)))
}

func notFound(w http.ResponseWriter, r *http.Request) {
	dialectOf(r.URL.Path).fail(w, fail(http.StatusNotFound, "not-found", "there is nothing at this path"))
}

func methodNotAllowed(routes *mux.Router) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		methods := strings.Join(methodsOf(routes, r), ", ")
		w.Header().Set("Allow", methods)
		dialectOf(r.URL.Path).fail(w, fail(http.StatusMethodNotAllowed, "method-not-allowed", "this path takes "+methods))
	}
}

// methodsOf lists what the path of a request takes.
func methodsOf(routes *mux.Router, r *http.Request) (methods []string) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions} {
		asked := *r
		asked.Method = method
		var match mux.RouteMatch
		if routes.Match(&asked, &match) && match.MatchErr == nil {
			methods = append(methods, method)
		}
	}
	return methods
}
