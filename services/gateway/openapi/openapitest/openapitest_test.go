package openapitest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/usherhq/usher/services/gateway/openapi"
)

const document = `
openapi: 3.1.0
info: {title: test, version: "1"}
paths:
  /v1/things/{id}:
    post:
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      requestBody: {required: true, content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: [string, 'null']}}}}}}
      responses:
        '200':
          description: done
          headers: {X-ID: {required: true, schema: {type: string, pattern: '^\d+$'}}}
          content:
            application/json: {schema: {type: object, properties: {code: {const: 200}}, unevaluatedProperties: false}}
            application/x-ndjson: {schema: {type: array, items: {type: object, required: [line]}}}
        '400': {description: refused, content: {application/json: {schema: {$ref: '#/components/schemas/Error'}}}}
  /xml/things:
    post:
      requestBody: {required: true, content: {text/xml: {schema: {$ref: '#/components/schemas/Thing'}}}}
      responses:
        '200': {description: done, content: {application/xml: {schema: {$ref: '#/components/schemas/Thing'}}}}
components:
  schemas:
    Error: {type: object, required: [message], xml: {name: Fault}}
    Thing:
      type: object
      xml: {name: Thing}
      required: [name]
      additionalProperties: false
      properties:
        name: {type: string, pattern: '^\S+$'}
        places: {type: object, additionalProperties: false, properties: {place: {type: array, minItems: 2, items: {type: object, properties: {x: {type: integer}}}}}}
        flag: {type: boolean, xml: {name: isSo}}
        never: false
`

const thing = "<?xml version='1.0'?><v:Thing xmlns:v='urn:v'><!-- a --><name>a</name>\n<places><place><x> 1 </x></place><place><x>2</x></place></places><isSo>true</isSo></v:Thing>"

// answers gives the same answer to everything.
type answers struct {
	status    int
	media, id string
	body      string
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {a.media}}
	if a.id != "" {
		h.Set("X-ID", a.id)
	}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func TestWhatTheDocumentDoesNotAllowIsReported(t *testing.T) {
	const media = "application/json"
	for name, c := range map[string]struct {
		method, path, sent string
		answer             answers
		reported           bool
	}{
		"all as told":                           {"POST", "/v1/things/1", `{"name":null}`, answers{200, media, "7", `{"code":200}`}, false},
		"a request that should not be accepted": {"POST", "/v1/things/1", `{}`, answers{200, media, "7", `{"code":200}`}, true},
		"a request that is refused":             {"POST", "/v1/things/1", `{}`, answers{400, media, "", `{"message":"name is required"}`}, false},
		"a refusal of another shape":            {"POST", "/v1/things/1", `{}`, answers{400, media, "", `{}`}, true},
		"a status that is not told":             {"POST", "/v1/things/1", `{}`, answers{401, media, "", `{"message":"who?"}`}, true},
		"a member that is not told":             {"POST", "/v1/things/1", `{"name":"a"}`, answers{200, media, "7", `{"code":200,"x":1}`}, true},
		"a constant that is another":            {"POST", "/v1/things/1", `{"name":"a"}`, answers{200, media, "7", `{"code":201}`}, true},
		"a header that is missing":              {"POST", "/v1/things/1", `{"name":"a"}`, answers{200, media, "", `{"code":200}`}, true},
		"a header of another form":              {"POST", "/v1/things/1", `{"name":"a"}`, answers{200, media, "x", `{"code":200}`}, true},
		"another media type":                    {"POST", "/v1/things/1", `{"name":"a"}`, answers{200, "text/plain", "7", `{"code":200}`}, true},
		"lines":                                 {"POST", "/v1/things/1", `{"name":"a"}`, answers{200, "application/x-ndjson", "7", "{\"line\":1}\n{\"line\":2}\n"}, false},
		"a line of another shape":               {"POST", "/v1/things/1", `{"name":"a"}`, answers{200, "application/x-ndjson", "7", "{\"line\":1}\n{}\n"}, true},
		"a path that is not told":               {"GET", "/v1/others", "", answers{200, media, "", `{}`}, true},
		"an unknown path":                       {"GET", "/v1/others", "", answers{404, media, "", `{"message":"nothing here"}`}, false},
		"an unknown path in another shape":      {"GET", "/v1/others", "", answers{404, media, "", `{}`}, true},
		"a wrong method":                        {"PUT", "/v1/things/1", "", answers{405, media, "", `{"message":"POST"}`}, false},
		"HEAD":                                  {"HEAD", "/v1/things/1", "", answers{200, media, "", ``}, false},
		"an unknown path, in XML":               {"GET", "/v1/others", "", answers{404, "application/xml", "", `<Fault><message>no</message></Fault>`}, false},
		"an unknown path, in other XML":         {"GET", "/v1/others", "", answers{404, "application/xml", "", `<Fault/>`}, true},
		"a path of nobody":                      {"GET", "/metrics", "", answers{200, "text/plain", "", ``}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var reported []error
			transport, err := New([]openapi.Document{{Dialect: "test", Prefix: "/v1/", YAML: []byte(document)}}, func(err error) { reported = append(reported, err) })
			if err != nil {
				t.Fatal(err)
			}
			transport.Base = c.answer
			request, err := http.NewRequestWithContext(t.Context(), c.method, "http://gateway"+c.path, strings.NewReader(c.sent))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", media)
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || string(body) != c.answer.body {
				t.Errorf("the answer is now %q (%v)", body, err)
			}
			if (len(reported) > 0) != c.reported {
				t.Errorf("reported %v", errors.Join(reported...))
			}
		})
	}
}

func TestXMLIsHeldToTheJSONFormOfItsSchema(t *testing.T) {
	for name, c := range map[string]struct {
		edit     [2]string
		reported bool
	}{
		"all as told":                  {[2]string{"", ""}, false},
		"an element fewer":             {[2]string{"<name>a</name>", ""}, true},
		"an element that is not told":  {[2]string{"</v:", "<b/></v:"}, true},
		"an element that never is":     {[2]string{"</v:", "<never>a</never></v:"}, true},
		"one that is not told, inside": {[2]string{"</places>", "<b/></places>"}, true},
		"an element twice":             {[2]string{"<isSo>", "<name>b</name><isSo>"}, true},
		"too short an array":           {[2]string{"<place><x>2</x></place>", ""}, true},
		"an empty object":              {[2]string{"<x>2</x>", ""}, false},
		"text where elements belong":   {[2]string{"<x>2</x>", "2"}, true},
		"elements where text belongs":  {[2]string{"<name>a", "<name><a/>"}, true},
		"another text":                 {[2]string{"<name>a", "<name>a b"}, true},
		"neither true nor false":       {[2]string{"true", "yes"}, true},
		"no number":                    {[2]string{"<x>2", "<x>two"}, true},
		"a name of the JSON form":      {[2]string{"isSo", "flag"}, true},
		"another root":                 {[2]string{"v:Thing", "v:Think"}, true},
		"two roots":                    {[2]string{"</v:Thing>", "</v:Thing><a/>"}, true},
		"no XML":                       {[2]string{"</name>", ""}, true},
	} {
		t.Run(name, func(t *testing.T) {
			edited := strings.ReplaceAll(thing, c.edit[0], c.edit[1])
			if c.edit[0] == "" {
				edited = thing
			}
			for what, pair := range map[string][2]string{"request": {edited, thing}, "answer": {thing, edited}} {
				if reported := exchanged(t, pair[0], pair[1]); (len(reported) > 0) != c.reported {
					t.Errorf("%s: reported %v", what, errors.Join(reported...))
				}
			}
		})
	}
}

// exchanged returns what is reported of an exchange of XML.
func exchanged(t *testing.T, sent, answered string) (reported []error) {
	t.Helper()
	transport, err := New([]openapi.Document{{Dialect: "test", Prefix: "/xml/", YAML: []byte(document)}}, func(err error) { reported = append(reported, err) })
	if err != nil {
		t.Fatal(err)
	}
	transport.Base = answers{200, "application/xml", "", answered}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway/xml/things", strings.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "text/xml")
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return reported
}

func TestADocumentMustBeOneOfVersion31WithAnError(t *testing.T) {
	for name, edit := range map[string][2]string{
		"another version":   {"openapi: 3.1.0", "openapi: 3.0.3"},
		"no Error":          {"    Error:", "    Mistake:"},
		"a broken pattern":  {`^\d+$`, `^(`},
		"no title":          {"title: test, ", ""},
		"no YAML":           {"info:", "{info:"},
		"an unknown schema": {"schemas/Error'", "schemas/Nothing'"},
	} {
		text := strings.Replace(document, edit[0], edit[1], 1)
		if _, err := New([]openapi.Document{{Dialect: "test", Prefix: "/v1/", YAML: []byte(text)}}, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
