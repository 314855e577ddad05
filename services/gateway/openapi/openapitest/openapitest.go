// Package openapitest checks what clients and the gateway say to each other against the OpenAPI
// documents, for tests.
package openapitest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/usherhq/usher/services/gateway/openapi"
)

// Transport is an http.RoundTripper that checks the exchanges below a document's prefix, the
// longest first: each answer, and each request that was answered 200 or 201; with 202 nobody has
// looked at its content yet. What no operation has, such as
// an unknown path, must be refused with the document's schema Error. It is safe for concurrent
// use if Report is.
type Transport struct {
	Base   http.RoundTripper // default http.DefaultTransport
	Report func(error)       // is told what the documents do not allow
	// Most, 20 of New, bounds the exchanges checked of one operation with one status; 0 does not. A
	// check compiles the schemas anew, too slow for a test that asks the same a thousand times.
	Most   int
	checks []check

	mu      sync.Mutex
	checked map[string]int // exchanges by operation and status
}

type check struct {
	prefix string
	router routers.Router
	fault  *openapi3.Schema
}

// New reads the documents, which must be valid OpenAPI 3.1.
func New(documents []openapi.Document, report func(error)) (*Transport, error) {
	t := &Transport{Report: report, Most: 20, checked: map[string]int{}}
	for _, d := range documents {
		c, err := newCheck(d)
		if err != nil {
			return nil, fmt.Errorf("document of %s: %w", d.Dialect, err)
		}
		t.checks = append(t.checks, c)
	}
	slices.SortStableFunc(t.checks, func(a, b check) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return t, nil
}

func newCheck(d openapi.Document) (check, error) {
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData(d.YAML)
	if err != nil {
		return check{}, err
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1.") {
		return check{}, fmt.Errorf("is of version %s, must be 3.1", document.OpenAPI)
	}
	if err := document.Validate(loader.Context, openapi3.EnableExamplesValidation()); err != nil {
		return check{}, err
	}
	fault, has := document.Components.Schemas["Error"]
	if !has {
		return check{}, errors.New("has no schema Error")
	}
	router, err := gorillamux.NewRouter(document)
	return check{d.Prefix, router, fault.Value}, err
}

// RoundTrip sends a request and checks it and its answer.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	sent, err := drain(&r.Body)
	if err != nil {
		return nil, err
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	response, err := base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(t.checks, func(c check) bool { return strings.HasPrefix(r.URL.Path, c.prefix) })
	if i < 0 || !t.enters(fmt.Sprint(r.Method, t.checks[i].template(r), response.StatusCode)) {
		return response, nil
	}
	answered, err := drain(&response.Body)
	if err != nil {
		return nil, err
	}
	asked := r.Clone(r.Context())
	asked.Body = io.NopCloser(bytes.NewReader(sent))
	if err := t.checks[i].exchange(asked, response, answered); err != nil {
		t.Report(fmt.Errorf("%s %s, answered %d %.300s: %.1000s", r.Method, r.URL.Path, response.StatusCode, answered, err.Error()))
	}
	return response, nil
}

// enters counts an exchange and reports whether it is to be checked.
func (t *Transport) enters(exchange string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.checked[exchange]++
	return t.Most == 0 || t.checked[exchange] <= t.Most
}

// template is the path of the operation that a request asks for, or its own path.
func (c check) template(r *http.Request) string {
	route, _, err := c.router.FindRoute(r)
	if err != nil {
		return r.URL.Path
	}
	return route.Path
}

// drain reads a body to its end and puts it back.
func drain(body *io.ReadCloser) ([]byte, error) {
	if *body == nil {
		return nil, nil
	}
	raw, err := io.ReadAll(*body)
	(*body).Close()
	*body = io.NopCloser(bytes.NewReader(raw))
	return raw, err
}

func (c check) exchange(r *http.Request, response *http.Response, answered []byte) error {
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		return c.outside(r, response, answered)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	request := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options}
	if response.StatusCode == http.StatusOK || response.StatusCode == http.StatusCreated {
		if err := openapi3filter.ValidateRequest(r.Context(), request); err != nil {
			return fmt.Errorf("the request: %w", err)
		}
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request, Status: response.StatusCode, Header: response.Header, Body: io.NopCloser(bytes.NewReader(answered)), Options: options,
	})
}

// outside checks an answer where the document has no operation.
func (c check) outside(r *http.Request, response *http.Response, answered []byte) error {
	if r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return nil
	}
	if response.StatusCode != http.StatusNotFound && response.StatusCode != http.StatusMethodNotAllowed {
		return errors.New("the document has no such operation")
	}
	decode := openapi3filter.RegisteredBodyDecoder(mediaOf(response.Header))
	if decode == nil {
		return fmt.Errorf("media type %q", response.Header.Get("Content-Type"))
	}
	value, err := decode(bytes.NewReader(answered), response.Header, &openapi3.SchemaRef{Value: c.fault}, nil)
	if err != nil {
		return err
	}
	return c.fault.VisitJSON(value, openapi3.EnableJSONSchema2020())
}

func mediaOf(h http.Header) string {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return media
}

func init() {
	openapi3filter.RegisterBodyDecoder("text/event-stream", text)
	openapi3filter.RegisterBodyDecoder("application/xml", decodeXML)
	openapi3filter.RegisterBodyDecoder("text/xml", decodeXML)
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", lines)
}

// text decodes a body to itself.
func text(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	raw, err := io.ReadAll(body)
	return string(raw), err
}

// lines decodes one JSON value a line; a line that is none is an empty object.
func lines(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	raw, err := io.ReadAll(body)
	values := []any{}
	for line := range bytes.Lines(raw) {
		var value any = map[string]any{}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		_ = json.Unmarshal(line, &value)
		values = append(values, value)
	}
	return values, err
}
