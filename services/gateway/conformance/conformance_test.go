package conformance

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestEveryCaseIsReadAndTellsWhatItShows(t *testing.T) {
	cases, err := Cases("")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if c.About == "" || len(c.exchanges) == 0 {
			t.Errorf("%s/%s: about %q, %d exchanges", c.Dialect, c.Name, c.About, len(c.exchanges))
		}
	}
	if _, err := Cases("esperanto"); err == nil {
		t.Error("there are cases of a dialect that is not there")
	}
}

func TestWhatIsNoCaseIsToldWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no answer":         {"### ask\nGET /", "no answer"},
		"no method":         {"### ask\n\n/path\n\nHTTP/1.1 200", "the method"},
		"a status in words": {"### ask\nGET /\n\nHTTP/1.1 fine", "write the status"},
		"an unknown word":   {"### ask\nGET /\n\nHTTP/1.1 200 soon", "eventually"},
		"a line in between": {"### ask\nGET /\nno header\n\nHTTP/1.1 200", "no header"},
		"a file not there":  {"### ask\nPOST /\n\n< nothing.json\n\nHTTP/1.1 200", "not there"},
	} {
		t.Run(name, func(t *testing.T) {
			var parsed Case
			err := parsed.parse(c.text, func(string) (string, error) { return "", errors.New("not there") })
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "ask") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// answering is a server with one answer, and what it was asked.
func answering(t *testing.T, status int, media, body string) (Target, *http.Request) {
	t.Helper()
	asked := &http.Request{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = *r
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return Target{URL: s.URL, Token: "secret"}, asked
}

func caseOf(t *testing.T, text string) Case {
	t.Helper()
	var c Case
	if err := c.parse(text, func(string) (string, error) { return "", errors.New("not there") }); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnAnswerMustBeAsTold(t *testing.T) {
	const id = "00000000-0000-8000-8000-000000000000"
	for name, c := range map[string]struct {
		media, got, want string
		differs          string // "" for nothing
	}{
		"the same JSON in other order":  {"application/json", `{"b":[1,true,null],"a":"x"}`, `{"a": "x", "b": [1, true, null]}`, ""},
		"a member too many":             {"application/json", `{"a":1,"b":{"c":2}}`, `{"a":1}`, "b: must be absent"},
		"more members allowed":          {"application/json", `{"a":1,"b":{"c":2}}`, `{"a":1,"...":""}`, ""},
		"a member missing":              {"application/json", `{"a":{}}`, `{"a":{"b":"{{any}}"}}`, "a.b: is missing"},
		"another number":                {"application/json", `{"a":1}`, `{"a":2}`, "a: is 1, must be 2"},
		"a number for a string":         {"application/json", `{"a":1}`, `{"a":"1"}`, "a: is the number 1"},
		"any number":                    {"application/json", `{"a":-1.5}`, `{"a":"{{number}}"}`, ""},
		"a string for a number":         {"application/json", `{"a":"1"}`, `{"a":"{{number}}"}`, "a: must be a number"},
		"any value":                     {"application/problem+json", `{"a":{"b":1},"c":null}`, `{"a":"{{any}}","...":""}`, ""},
		"an element too many":           {"application/json", `[1,2]`, `[1]`, "has 2 elements"},
		"more elements allowed":         {"application/json", `[1,2]`, `[1,"..."]`, ""},
		"an id in a text":               {"application/json", `{"a":"cust_` + id + `"}`, `{"a":"cust_{{uuid}}"}`, ""},
		"no id":                         {"application/json", `{"a":"cust_1"}`, `{"a":"cust_{{uuid}}"}`, "a: is"},
		"a time":                        {"application/json", `{"a":"2026-01-12T19:21:59.019243Z"}`, `{"a":"{{time}}"}`, ""},
		"two values after one another":  {"application/json", `[1][2]`, `[1]`, "no JSON"},
		"the same XML, spaced out":      {"application/xml", "<a x='1'>\n <b>t</b></a>", `<a x="1"><b> t </b></a>`, ""},
		"another text in XML":           {"application/xml", `<a><b>t</b></a>`, `<a><b>{{uuid}}</b></a>`, "a.b: is"},
		"another element in XML":        {"application/xml", `<a><c/></a>`, `<a><b/></a>`, "a.c: is"},
		"an element missing in XML":     {"application/xml", `<a></a>`, `<a></a><b/>`, "must have 4"},
		"a text":                        {"text/plain", "one two\n", "one {{any}}", ""},
		"another text":                  {"text/plain", "one two", "one", "is \"one two\""},
		"a body where none is told":     {"text/plain", "one", "", "there must be none"},
		"a placeholder that is unknown": {"text/plain", "one", "{{nothing}}", "nor is it a placeholder"},
	} {
		t.Run(name, func(t *testing.T) {
			target, _ := answering(t, 200, c.media, c.got)
			r := target.Run(t.Context(), caseOf(t, "### ask\nGET /\n\nHTTP/1.1 200\n\n"+c.want))
			switch {
			case c.differs == "" && r.Err != nil:
				t.Error(r.Err)
			case c.differs != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), c.differs)):
				t.Errorf("got %v, want %s", r.Err, c.differs)
			}
		})
	}
}

func TestStatusAndHeadersMustBeAsToldToo(t *testing.T) {
	target, _ := answering(t, 404, "text/plain", "gone")
	for want, differs := range map[string]string{
		"HTTP/1.1 404\nContent-Type: text/plain\nAllow:\n\ngone": "",
		"HTTP/1.1 200\n\ngone":                     "status: is 404",
		"HTTP/1.1 404\nContent-Type: a/b\n\ngone":  "Content-Type: is",
		"HTTP/1.1 404\nAllow: GET\n\ngone":         "Allow: is",
		"HTTP/1.1 404\nContent-Type:\n\ngone":      "Content-Type: is",
		"HTTP/1.1 404\nContent-Type: {{any}}\n\n ": "there must be none",
	} {
		r := target.Run(t.Context(), caseOf(t, "### ask\nGET /\n\n"+want))
		if (differs == "") != (r.Err == nil) || r.Err != nil && !strings.Contains(r.Err.Error(), differs) {
			t.Errorf("%q: %v", want, r.Err)
		}
	}
}

func TestARequestIsSentAsWritten(t *testing.T) {
	target, asked := answering(t, 200, "application/json", `{"id":"00000000-0000-8000-8000-000000000000"}`)
	c := caseOf(t, `
# About.
### first
POST /a
Host: remitjunction.fincode.software
Authorization: Bearer {{token}}
Empty:

{"email": "{{email}}"}

HTTP/1.1 200

{"id": "{{uuid customer}}"}

### second
GET /b/{{customer}}?key={{key}}

HTTP/1.1 200

{"id": "{{customer}}"}
`)
	if err := c.complete("Authorization: other\nUser-Agent: usual"); err != nil {
		t.Fatal(err)
	}
	first := c
	first.exchanges = c.exchanges[:1]
	if r := target.Run(t.Context(), first); r.Err != nil {
		t.Fatal(r.Err)
	}
	_, empty := asked.Header["Empty"]
	if asked.Host != "remitjunction.fincode.software" || asked.Header.Get("Authorization") != "Bearer secret" || asked.UserAgent() != "usual" || empty {
		t.Errorf("host %s, %v", asked.Host, asked.Header)
	}
	if r := target.Run(t.Context(), c); r.Err != nil {
		t.Fatal(r.Err)
	}
	if path := asked.URL.Path; path != "/b/00000000-0000-8000-8000-000000000000" || len(asked.URL.Query().Get("key")) != 32 {
		t.Errorf("asked %s", asked.URL)
	}
}

func TestACaseThatEncryptsIsNotRunWhereNoKeyIsPublished(t *testing.T) {
	target, _ := answering(t, 404, "text/plain", "not found")
	target.Ops = target.URL
	r := target.Run(t.Context(), caseOf(t, "### ask\nPOST /\n\n{{rsa secret}}\n\nHTTP/1.1 200"))
	if r.Err != nil || !strings.Contains(r.NotRun, "publishes no key") {
		t.Errorf("%v, %q", r.Err, r.NotRun)
	}
	r = target.Run(t.Context(), caseOf(t, "### ask\nPOST /\n\n{{code}}\n\nHTTP/1.1 200"))
	if r.Err == nil || r.NotRun != "" {
		t.Errorf("an installation without mails: %v, %q", r.Err, r.NotRun)
	}
}

func TestFillRepeatsATextWithinLimits(t *testing.T) {
	for argument, want := range map[string]string{"3": "xxx", "2 <a>": "<a><a>", "0": "", "2 a b": "a ba b"} {
		if got, err := fill(argument); err != nil || got != want {
			t.Errorf("%q: %q, %v", argument, got, err)
		}
	}
	for _, argument := range []string{"", "-1", "many", "1048577", "524289 ab", "4611686018427387905 abcd"} {
		if _, err := fill(argument); err == nil {
			t.Errorf("%q is filled", argument)
		}
	}
}

func TestACaseThatNeedsOpsIsNotRunWithout(t *testing.T) {
	target, _ := answering(t, 200, "text/plain", "")
	for _, word := range []string{"code", "rsa secret", "rsa-java secret"} {
		r := target.Run(t.Context(), caseOf(t, "### ask\nPOST /\n\n{{"+word+"}}\n\nHTTP/1.1 200"))
		if r.Err != nil || r.NotRun == "" {
			t.Errorf("%s: %v, %q", word, r.Err, r.NotRun)
		}
	}
}
