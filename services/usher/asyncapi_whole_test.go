package usher

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/usherhq/usher/events"
)

// asyncAPI is as much of AsyncAPI 3.0 as the document uses.
type asyncAPI struct {
	AsyncAPI   string
	Info       struct{ Title, Version string }
	Channels   map[string]asyncChannel
	Operations map[string]struct {
		Action  string
		Channel reference
	}
	Components struct {
		Parameters map[string]any
		Schemas    map[string]any
		Messages   map[string]struct {
			Name, Summary    string
			ContentType      string `yaml:"contentType"`
			Headers, Payload reference
			Examples         []struct {
				Headers map[string]string
				Payload any
			}
		}
	}
}

type asyncChannel struct {
	Address    string
	Parameters map[string]reference
	Messages   map[string]reference
}

type reference struct {
	Ref string `yaml:"$ref"`
}

var parameterOf = regexp.MustCompile(`\{([a-z]+)\}`)

func TestContractAsyncAPIIsWholeAndItsExamplesAreAsItsSchemasSay(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(contractDir, "asyncapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc asyncAPI
	if err := yaml.UnmarshalWithOptions(raw, &doc); err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	if err := yaml.Unmarshal(raw, &whole); err != nil {
		t.Fatal(err)
	}
	checkReferences(t, whole, whole)
	if doc.AsyncAPI != "3.0.0" || doc.Info.Title == "" || doc.Info.Version == "" {
		t.Errorf("it is AsyncAPI %q, %+v", doc.AsyncAPI, doc.Info)
	}
	for name, c := range doc.Channels {
		for _, p := range parameterOf.FindAllStringSubmatch(c.Address, -1) {
			if _, has := c.Parameters[p[1]]; !has {
				t.Errorf("channel %s does not say what %s is", name, p[1])
			}
		}
		if len(c.Parameters) != len(parameterOf.FindAllString(c.Address, -1)) || len(c.Messages) == 0 {
			t.Errorf("channel %s has %d parameters and %d messages", name, len(c.Parameters), len(c.Messages))
		}
	}
	for name, o := range doc.Operations {
		if o.Action != "send" && o.Action != "receive" || !strings.HasPrefix(o.Channel.Ref, "#/channels/") {
			t.Errorf("operation %s: %+v", name, o)
		}
	}
	headers := compile(t, doc.Components.Schemas["cloudevent"])
	for name, m := range doc.Components.Messages {
		if m.Name != name || m.Summary == "" || m.ContentType == "" || m.Headers.Ref == "" || len(m.Examples) == 0 {
			t.Errorf("message %s lacks something", name)
		}
		payload, err := validator.NewCompiler().Compile(filepath.Join(contractDir, m.Payload.Ref))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range m.Examples {
			if err := payload.Validate(plain(t, e.Payload)); err != nil {
				t.Errorf("the example of %s: %v", name, err)
			}
			if err := headers.Validate(plain(t, e.Headers)); err != nil {
				t.Errorf("the headers of the example of %s: %v", name, err)
			}
			if e.Headers["ce-type"] != name || e.Headers["ce-dataschema"] != events.SchemaURI(name) {
				t.Errorf("the example of %s is of %s", name, e.Headers["ce-type"])
			}
		}
	}
	if len(doc.Components.Messages) != len(types()) {
		t.Errorf("%d messages of %d types", len(doc.Components.Messages), len(types()))
	}
}

// checkReferences reports references of node to what is not there.
func checkReferences(t *testing.T, whole map[string]any, node any) {
	t.Helper()
	switch n := node.(type) {
	case []any:
		for _, v := range n {
			checkReferences(t, whole, v)
		}
	case map[string]any:
		for key, v := range n {
			path, isRef := v.(string)
			if key != "$ref" || !isRef {
				checkReferences(t, whole, v)
				continue
			}
			rest, local := strings.CutPrefix(path, "#/")
			if !local {
				if _, err := os.Stat(filepath.Join(contractDir, path)); err != nil {
					t.Error(err)
				}
				continue
			}
			at := any(whole)
			for part := range strings.SplitSeq(rest, "/") {
				m, _ := at.(map[string]any)
				at = m[part]
			}
			if at == nil {
				t.Errorf("there is no %s", path)
			}
		}
	}
}

// plain is a value as a validator of JSON Schema wants it.
func plain(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	p, err := validator.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func compile(t *testing.T, schema any) *validator.Schema {
	t.Helper()
	c := validator.NewCompiler()
	if err := c.AddResource("schema.json", plain(t, schema)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
