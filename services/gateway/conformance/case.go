// Package conformance is what the gateway promises, request by request: golden pairs for the
// documented examples and errors of each dialect, which run against any installation with the
// demonstration configuration.
//
// A case is a file DIALECT/NAME.http, in the text of HTTP itself:
//
//	# What it shows, and where that is documented.
//	### what is asked
//	POST /api/v2.1/customers/individual/register
//	Content-Type: application/json
//
//	{"email": "{{email}}"}
//
//	HTTP/1.1 409
//	X-Registration-ID: {{uuid}}
//
//	{"code": 409, "message": "Customer with email '{{email}}' already exists", "...": ""}
//
// A case has one exchange or more, each begun by ###. Only the headers in the file are sent,
// besides those of DIALECT/headers that it does not name itself; a name without a value sends
// none. Host is a header. A body "< FILE" is that file of the folder. Of an answer the named
// headers are compared (no value: it must be absent) and the body: JSON and XML by their
// content, anything else as text; no body: there must be none. A member "..." of a JSON object
// allows more members, a last element "..." of an array more elements. "HTTP/1.1 200 eventually"
// asks again until the answer is as told, for things that take their time.
//
// Placeholders stand for what varies. In requests and answers, new for each run of a case and
// the same throughout it; a word after the first makes another one:
//
//	{{email}} {{email spouse}} {{login}} {{member}} {{ssn}} {{key}}
//	{{token}}        the bearer token
//	{{rsa TEXT}}     TEXT encrypted to the demonstration's Fincode key, RSA-OAEP with SHA-256
//	{{rsa-java TEXT}} the same with SHA-1 in its mask, as Java does it
//	{{code}}         the activation code mailed to {{email}}
//	{{fill N}}       N times x
//	{{fill N TEXT}}  N times TEXT
//
// In answers:
//
//	{{any}} {{number}} {{time}} {{uuid}}
//	{{uuid customer}} remembers it as {{customer}}, for the exchanges after this one
package conformance

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed */*
var files embed.FS

// Case is one file.
type Case struct {
	Dialect, Name string
	About         string // its comment
	exchanges     []exchange
}

// exchange is one request and the answer it must have.
type exchange struct {
	title          string
	method, target string
	sent           []header
	body           string
	status         int
	eventually     bool
	wanted         []header
	answer         string
}

type header struct{ name, value string }

// Cases returns those of one dialect, or of all where it is "", in the order of their names.
func Cases(dialect string) ([]Case, error) {
	folders := "*"
	if dialect != "" {
		folders = dialect
	}
	names, err := fs.Glob(files, folders+"/*.http")
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("there are no cases of dialect %q", dialect)
	}
	var cases []Case
	for _, name := range names {
		c, err := read(name)
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func read(name string) (Case, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return Case{}, err
	}
	folder := path.Dir(name)
	c := Case{Dialect: folder, Name: strings.TrimSuffix(path.Base(name), ".http")}
	include := func(file string) (string, error) {
		body, err := files.ReadFile(path.Join(folder, file))
		return string(body), err
	}
	if err := c.parse(string(text), include); err != nil {
		return Case{}, fmt.Errorf("%s: %w", name, err)
	}
	usual, err := include("headers")
	if err != nil {
		return Case{}, fmt.Errorf("headers of %s: %w", folder, err)
	}
	return c, c.complete(usual)
}

// parse reads the text of a file; include reads another of its folder.
func (c *Case) parse(text string, include func(string) (string, error)) error {
	preamble, rest, _ := strings.Cut("\n"+text, "\n### ")
	c.About = strings.Join(strings.Fields(strings.ReplaceAll(preamble, "\n#", " ")), " ")
	for _, part := range strings.Split(rest, "\n### ") {
		x, err := parseExchange(part, include)
		if err != nil {
			return fmt.Errorf("%s: %w", x.title, err)
		}
		c.exchanges = append(c.exchanges, x)
	}
	return nil
}

func parseExchange(text string, include func(string) (string, error)) (x exchange, err error) {
	request, answer, has := strings.Cut(text, "\nHTTP/1.1 ")
	x.title, request, _ = strings.Cut(request, "\n")
	if !has {
		return x, fmt.Errorf("has no answer; write a line HTTP/1.1 and the status")
	}
	line, request, _ := strings.Cut(strings.TrimLeft(request, "\n"), "\n")
	if x.method, x.target, has = strings.Cut(line, " "); !has {
		return x, fmt.Errorf("begins with %q; write the method and the path", line)
	}
	if x.sent, x.body, err = message(request, include); err != nil {
		return x, err
	}
	line, answer, _ = strings.Cut(answer, "\n")
	status, word, _ := strings.Cut(line, " ")
	x.eventually = word == "eventually"
	if x.status, err = strconv.Atoi(status); err != nil || word != "" && !x.eventually {
		return x, fmt.Errorf("answer begins with %q; write the status, and eventually or nothing", line)
	}
	x.wanted, x.answer, err = message(answer, include)
	return x, err
}

// message splits headers from a body.
func message(text string, include func(string) (string, error)) ([]header, string, error) {
	head, body, _ := strings.Cut("\n"+text, "\n\n")
	headers, err := parseHeaders(head)
	if err != nil {
		return nil, "", err
	}
	body = strings.TrimSpace(body)
	if file, is := strings.CutPrefix(body, "< "); is {
		if body, err = include(file); err != nil {
			return nil, "", err
		}
		body = strings.TrimSpace(body)
	}
	return headers, body, nil
}

func parseHeaders(text string) (headers []header, err error) {
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		name, value, has := strings.Cut(line, ":")
		if line == "" {
			continue
		}
		if !has {
			return nil, fmt.Errorf("%q is no header; write a name, a colon and a value, and an empty line before the body", line)
		}
		headers = append(headers, header{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return headers, nil
}

// complete adds the usual headers of the dialect that an exchange does not name.
func (c *Case) complete(usual string) error {
	headers, err := parseHeaders(usual)
	if err != nil {
		return fmt.Errorf("headers of %s: %w", c.Dialect, err)
	}
	for i := range c.exchanges {
		x := &c.exchanges[i]
		for _, h := range headers {
			if !x.names(h.name) {
				x.sent = append(x.sent, h)
			}
		}
	}
	return nil
}

func (x *exchange) names(name string) bool {
	for _, h := range x.sent {
		if http.CanonicalHeaderKey(h.name) == http.CanonicalHeaderKey(name) {
			return true
		}
	}
	return false
}
