package ledger

import (
	_ "embed"
	"net/http"
)

// OpenAPI is the document of the ledger's routes (OpenAPI 3.1).
//
//go:embed openapi.yaml
var OpenAPI []byte

func getOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(OpenAPI)
}
