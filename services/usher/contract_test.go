package usher

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/usherhq/usher/events"
)

var update = flag.Bool("update", false, "rewrite the generated contract files")

const contractDir = "../../events"

// types lists one value of every event type, in the order of the flow.
func types() []events.Event {
	var all []events.Event
	for _, row := range events.Flow {
		for _, e := range row.Types {
			if !slices.ContainsFunc(all, func(o events.Event) bool { return o.Type() == e.Type() }) {
				all = append(all, e)
			}
		}
	}
	return all
}

// current compares a generated file with the committed one.
func current(t *testing.T, name string, generated []byte) {
	t.Helper()
	file := filepath.Join(contractDir, name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, generated, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, generated) {
		t.Errorf("%s is not what the types say; run: go test ./services/usher -run Contract -update", name)
	}
}

func TestContractSchemasAreThoseOfTheTypes(t *testing.T) {
	for _, e := range types() {
		r := jsonschema.Reflector{DoNotReference: true, AllowAdditionalProperties: true, Anonymous: true}
		s := r.Reflect(e)
		s.ID, s.Title = jsonschema.ID(events.SchemaURI(e.Type())), e.Type()
		raw, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		current(t, "schemas/"+e.Type()+".json", append(raw, '\n'))
	}
}

// object keeps the order of its members in YAML.
type object = yaml.MapSlice

func ref(path string) object { return object{{Key: "$ref", Value: path}} }

func TestContractAsyncAPIIsThatOfTheFlow(t *testing.T) {
	var channels, operations, messages object
	for _, e := range types() {
		messages = append(messages, yaml.MapItem{Key: e.Type(), Value: object{
			{Key: "name", Value: e.Type()}, {Key: "contentType", Value: "application/json"},
			{Key: "headers", Value: ref("#/components/schemas/cloudevent")}, {Key: "payload", Value: ref("./schemas/" + e.Type() + ".json")},
		}})
	}
	for _, row := range events.Flow {
		step := string(row.Step)
		var carried object
		for _, e := range row.Types {
			carried = append(carried, yaml.MapItem{Key: e.Type(), Value: ref("#/components/messages/" + e.Type())})
		}
		channels = append(channels, yaml.MapItem{Key: step, Value: object{
			{Key: "address", Value: "reg.{tenant}.{registration}." + step + ".{n}"},
			{Key: "parameters", Value: object{{Key: "tenant", Value: object{}}, {Key: "registration", Value: object{}}, {Key: "n", Value: object{}}}},
			{Key: "messages", Value: carried},
		}})
		operation := func(service events.Service, action string) {
			operations = append(operations, yaml.MapItem{Key: fmt.Sprintf("%s-%s-%s", service, action, step), Value: object{
				{Key: "action", Value: action}, {Key: "channel", Value: ref("#/channels/" + step)}, {Key: "x-service", Value: string(service)},
			}})
		}
		for _, s := range row.From {
			operation(s, "send")
		}
		for _, to := range row.To {
			operation(to.Service, "receive")
		}
		operation(events.Ledger, "receive")
	}
	header := func(about string) object {
		return object{{Key: "type", Value: "string"}, {Key: "description", Value: about}}
	}
	raw, err := yaml.Marshal(object{
		{Key: "asyncapi", Value: "3.0.0"},
		{Key: "info", Value: object{{Key: "title", Value: "Usher registrations"}, {Key: "version", Value: fmt.Sprintf("%d.0.0", events.Major)},
			{Key: "description", Value: "Events of customer registrations on NATS JetStream: CloudEvents 1.0 in the NATS binary mode, one event a subject, no personal data. Stream REGISTRATIONS; a gapless copy of each tenant's in FEED_<tenant>."}}},
		{Key: "defaultContentType", Value: "application/json"},
		{Key: "channels", Value: channels},
		{Key: "operations", Value: operations},
		{Key: "components", Value: object{
			{Key: "messages", Value: messages},
			{Key: "schemas", Value: object{{Key: "cloudevent", Value: object{
				{Key: "type", Value: "object"},
				{Key: "required", Value: []string{"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time"}},
				{Key: "properties", Value: object{
					{Key: "ce-specversion", Value: object{{Key: "const", Value: "1.0"}}}, {Key: "ce-id", Value: header("the subject")},
					{Key: "ce-source", Value: header("/usher/<service>")}, {Key: "ce-type", Value: header("the message's name")},
					{Key: "ce-subject", Value: header("the registration's id")}, {Key: "ce-time", Value: header("RFC 3339, the publisher's clock")},
					{Key: "ce-datacontenttype", Value: object{{Key: "const", Value: "application/json"}}},
					{Key: "ce-dataschema", Value: header("urn:usher:event:<type>:<major>")}, {Key: "traceparent", Value: header("W3C trace context")},
				}},
			}}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	current(t, "asyncapi.yaml", raw)
}

var schemas = sync.OnceValues(func() (map[string]*validator.Schema, error) {
	compiled := map[string]*validator.Schema{}
	for _, e := range types() {
		s, err := validator.NewCompiler().Compile(filepath.Join(contractDir, "schemas", e.Type()+".json"))
		if err != nil {
			return nil, err
		}
		compiled[e.Type()] = s
	}
	return compiled, nil
})

// validateEvent checks a message against the published contract: its headers, its channel and
// its schema.
func validateEvent(t *testing.T, subject string, header map[string][]string, data []byte) {
	t.Helper()
	compiled, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-datacontenttype", "ce-dataschema", "traceparent"} {
		if len(header[name]) != 1 {
			t.Fatalf("%s: header %s has %d values", subject, name, len(header[name]))
		}
	}
	eventType := header["ce-type"][0]
	schema, known := compiled[eventType]
	if !known {
		t.Fatalf("%s: type %s is not in the contract", subject, eventType)
	}
	step := events.Step(strings.Split(subject, ".")[3])
	row, _ := events.RowOf(step)
	if !slices.ContainsFunc(row.Types, func(e events.Event) bool { return e.Type() == eventType }) {
		t.Errorf("%s: %s does not belong to step %s", subject, eventType, step)
	}
	content, err := validator.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(content); err != nil {
		t.Errorf("%s: %v", subject, err)
	}
}

func TestContractRefusesAnEventThatLacksARequiredFact(t *testing.T) {
	compiled, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	content, _ := validator.UnmarshalJSON(strings.NewReader(`{"code":"WRONG_CODE"}`))
	if compiled["activation.refused"].Validate(content) == nil {
		t.Error("a refusal without its request is valid")
	}
}
