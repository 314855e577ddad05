package gateway

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestTheDocumentsCanBeReadAndBrowsedByAnybody(t *testing.T) {
	w := newWorld(t)
	page := w.do("GET", "/openapi/", nil, "Authorization", "", "X-Tenant-ID", "")
	policy := page.header.Get("Content-Security-Policy")
	if page.status != http.StatusOK || !strings.Contains(policy, "script-src 'self';") || strings.Contains(string(page.body), "<script>") {
		t.Fatalf("%d, policy %q: %s", page.status, policy, page.body)
	}
	linked := regexp.MustCompile(`(?:href|src)="([^":]+)"`).FindAllStringSubmatch(string(page.body), -1)
	if len(linked) != 4+len(Documents()) {
		t.Errorf("the page links %v", linked)
	}
	for _, link := range linked {
		for _, encoding := range []string{"gzip", "identity"} {
			a := w.do("GET", "/openapi/"+link[1], nil, "Authorization", "", "Accept-Encoding", encoding)
			if a.status != http.StatusOK || len(a.body) < 300 || a.header.Get("Content-Type") == "" {
				t.Errorf("%s: %d, %d bytes, %s", link[1], a.status, len(a.body), a.header.Get("Content-Type"))
			}
		}
	}
	for _, d := range Documents() {
		if a := w.do("GET", "/openapi/"+d.Dialect+".yaml", nil); string(a.body) != string(d.YAML) || a.header.Get("Content-Type") != "application/yaml" {
			t.Errorf("document of %s: %d", d.Dialect, a.status)
		}
	}
	for _, path := range []string{"/openapi/esperanto.yaml", "/openapi/swagger-ui.js", "/openapi/../gateway.go", "/openapi/viewer/start.js"} {
		if a := w.do("GET", path, nil); a.status != http.StatusNotFound || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
