package gateway

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// dialectWords reports whether an error answer is in the shape of a dialect.
var dialectWords = map[string]struct {
	media string
	said  func(answer) bool
}{
	"finhub": {"application/json", func(a answer) bool {
		var said struct {
			Code    int
			Message string
			Errors  []string
		}
		return json.Unmarshal(a.body, &said) == nil && said.Code == a.status && said.Message != "" && len(said.Errors) == 1
	}},
	"fincode": {"application/json", func(a answer) bool {
		var said struct {
			Code, Message string
			Errors        *[]struct{}
		}
		return json.Unmarshal(a.body, &said) == nil && said.Code == spoken[a.status] && said.Message != "" && said.Errors != nil && len(*said.Errors) == 0
	}},
	"candescent": {"application/xml", func(a answer) bool {
		var said struct {
			XMLName  xml.Name `xml:"Errors"`
			Codes    []string `xml:"Error>errorCode"`
			Messages []string `xml:"Error>errorMessage"`
		}
		return xml.Unmarshal(a.body, &said) == nil && len(said.Codes) == 1 && said.Codes[0] == spoken[a.status] && said.Messages[0] != ""
	}},
	"native": {"application/problem+json", func(a answer) bool {
		var said struct {
			Type   string
			Status int
		}
		return json.Unmarshal(a.body, &said) == nil && said.Status == a.status && said.Type != ""
	}},
}

// spoken are the words of a status in the dialects that print codes.
var spoken = map[int]string{401: "UNAUTHORIZED", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 415: "UNSUPPORTED_MEDIA_TYPE"}

func TestWhatNoRouteTakesIsAnsweredInTheDialectOfThePath(t *testing.T) {
	w := newWorld(t)
	noToken, plainText := []string{"Authorization", ""}, []string{"Content-Type", "text/plain"}
	remit := []string{"X-Tenant-ID", remitJunction, "platform", "fincode", "uuid", "200"}
	for name, c := range map[string]struct {
		dialect, method, path string
		status                int
		allow                 string
		headers               []string
	}{
		"an unknown path of FinHub":           {"finhub", "GET", "/api/v2.1/customer/nobody", 404, "", nil},
		"a slash too many":                    {"finhub", "POST", "/api/v2.1/customer/individual/registration/", 404, "", nil},
		"two slashes":                         {"finhub", "POST", "/api/v2.1//customer/individual/registration", 404, "", nil},
		"the root of FinHub":                  {"finhub", "GET", "/api/v2.1", 404, "", nil},
		"a wrong method of FinHub":            {"finhub", "DELETE", "/api/v2.1/customer/individual/registration", 405, "POST, OPTIONS", nil},
		"a write of the hierarchy":            {"finhub", "POST", "/api/v2.1/customer/individual/categorization/hierarchy/", 405, "GET, HEAD, OPTIONS", nil},
		"a wrong media type of FinHub":        {"finhub", "POST", "/api/v2.1/customers/individual/register", 415, "", plainText},
		"no authentication of FinHub":         {"finhub", "POST", "/api/v2.1/customers/individual/register", 401, "", noToken},
		"no authentication for the hierarchy": {"finhub", "GET", "/api/v2.1/customers/individual/categorization/hierarchy", 401, "", noToken},
		"no authentication for an activation": {"finhub", "POST", "/api/v2.1/customer/individual/x/activation", 401, "", noToken},
		"an unknown path of Fincode":          {"fincode", "POST", "/api/v6/services/usermanagement/login", 404, "", nil},
		"a slash too many of Fincode":         {"fincode", "POST", fincodePath + "/", 404, "", nil},
		"the root of Fincode":                 {"fincode", "GET", "/api/v6", 404, "", nil},
		"a wrong method of Fincode":           {"fincode", "GET", fincodePath, 405, "POST, OPTIONS", remit},
		"a method that Fincode has not":       {"fincode", "BREW", fincodePath, 405, "POST, OPTIONS", remit},
		"a wrong media type of Fincode":       {"fincode", "POST", fincodePath, 415, "", append(remit, plainText...)},
		"no media type of Fincode":            {"fincode", "POST", fincodePath, 415, "", append(remit, "Content-Type", "")},
		"no authentication of Fincode":        {"fincode", "POST", fincodePath, 401, "", append(remit, noToken...)},
		"an unknown path of Candescent":       {"candescent", "POST", "/registration/v4/fis/01111", 404, "", nil},
		"a slash too many of Candescent":      {"candescent", "POST", institutionPath + "/", 404, "", nil},
		"the root of Candescent":              {"candescent", "GET", "/registration", 404, "", nil},
		"an institution without a name":       {"candescent", "POST", "/registration/v4/fis//fiCustomers", 404, "", nil},
		"a wrong method of Candescent":        {"candescent", "PUT", institutionPath, 405, "POST, OPTIONS", customerHeaders("xml")},
		"a method that Candescent has not":    {"candescent", "BREW", institutionPath, 405, "POST, OPTIONS", nil},
		"a wrong media type of Candescent":    {"candescent", "POST", institutionPath, 415, "", append(customerHeaders("xml"), plainText...)},
		"no media type of Candescent":         {"candescent", "POST", institutionPath, 415, "", append(customerHeaders("xml"), "Content-Type", "")},
		"no authentication of Candescent":     {"candescent", "POST", institutionPath, 401, "", append(customerHeaders("xml"), noToken...)},
		"an unknown path":                     {"native", "GET", "/v2/registrations", 404, "", nil},
		"the root":                            {"native", "GET", "/", 404, "", nil},
		"another version of Fincode's path":   {"native", "POST", "/api/v7/services/usermanagement/register-customer", 404, "", nil},
		"a wrong method":                      {"native", "GET", "/v1/registrations", 405, "POST, OPTIONS", nil},
		"a method that nobody knows":          {"native", "BREW", "/v1/registrations/x", 405, "GET, HEAD, OPTIONS", nil},
		"a wrong media type":                  {"native", "POST", "/v1/registrations", 415, "", plainText},
		"no authentication":                   {"native", "POST", "/v1/registrations:batch", 401, "", noToken},
	} {
		t.Run(name, func(t *testing.T) {
			a, words := w.do(c.method, c.path, []byte(`{}`), c.headers...), dialectWords[c.dialect]
			if a.status != c.status || a.header.Get("Content-Type") != words.media || a.header.Get("Allow") != c.allow || !words.said(a) {
				t.Errorf("%d %s, Allow %q: %s", a.status, a.header.Get("Content-Type"), a.header.Get("Allow"), a.body)
			}
			if a.header.Get("traceparent") == "" || (c.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("headers %v", a.header)
			}
		})
	}
}

func TestAPathTellsItsMethodsAndHeadIsGetWithoutABody(t *testing.T) {
	w := newWorld(t, "name: CloudVault", "name: CloudVault\n    corsOrigins: [https://app.example]")
	a := w.do("OPTIONS", "/api/v2.1/customer/individual/registration", nil, "Authorization", "")
	if a.status != http.StatusNoContent || a.header.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("OPTIONS: %d %v", a.status, a.header)
	}
	if a := w.do("OPTIONS", "/nowhere", nil); a.status != http.StatusNotFound {
		t.Errorf("OPTIONS of an unknown path: %d", a.status)
	}
	a = w.do("HEAD", "/api/v2.1/customer/individual/categorization/hierarchy/", nil)
	if a.status != http.StatusOK || len(a.body) > 0 {
		t.Errorf("HEAD: %d, %d bytes, %v", a.status, len(a.body), a.header)
	}
	a = w.do("GET", "/nowhere", nil, "Origin", "https://app.example")
	if a.header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("a browser cannot read why: %v", a.header)
	}
}

func TestATenantThatATokenDoesNotAllowIsOneThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	strange := map[string][2]string{ // a tenant that is there, without the dialect in Fincode, and one that is not
		"/v1/registrations":       {finsei, "nowhere"},
		"/v1/registrations:batch": {finsei, "nowhere"},
		"/v1/registrations/17d2381b-014b-8ced-b752-91fc2f8e1035/activation": {finsei, "nowhere"},
		"/api/v2.1/customer/individual/registration":                        {finsei, "nowhere"},
		"/api/v2.1/customers/individual/register":                           {finsei, "nowhere"},
		"/api/v2.1/customer/individual/x/activation":                        {finsei, "nowhere"},
		fincodePath: {finsei, "nowhere"},
		"/registration/v4/fis/TENANT/fiCustomers": {institution, "99999"},
	}
	for path, tenants := range strange {
		var looks []string
		for _, tenant := range tenants {
			a := w.do("POST", strings.ReplaceAll(path, "TENANT", tenant), []byte("{}"), append(customerHeaders("json"), "Authorization", "Bearer channel", "X-Tenant-ID", tenant)...)
			if a.status != http.StatusForbidden && (a.status != http.StatusNotFound || path != fincodePath) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
			a.header.Del("Date")
			a.header.Del("traceparent")
			looks = append(looks, fmt.Sprint(a.status, a.header, string(a.body)))
		}
		if looks[0] != looks[1] {
			t.Errorf("%s tells a tenant that is there:\n%s\n%s", path, looks[0], looks[1])
		}
	}
}
