package usher

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"

	"github.com/usherhq/usher/events"
)

// schemaOf is the published schema of a type, described by the comments of its source.
func schemaOf(t *testing.T, e events.Event) []byte {
	t.Helper()
	comments, err := comments()
	if err != nil {
		t.Fatal(err)
	}
	r := jsonschema.Reflector{DoNotReference: true, AllowAdditionalProperties: true, Anonymous: true, CommentMap: comments}
	s := r.Reflect(e)
	s.ID, s.Title = jsonschema.ID(events.SchemaURI(e.Type())), e.Type()
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, '\n')
}

var comments = sync.OnceValues(func() (map[string]string, error) {
	var r jsonschema.Reflector
	err := r.AddGoComments("github.com/usherhq/usher/services/usher", contractDir)
	return r.CommentMap, err
})

func TestContractSchemasAreThoseOfTheTypes(t *testing.T) {
	for _, e := range types() {
		current(t, "schemas/"+e.Type()+".json", schemaOf(t, e))
	}
}

// object keeps the order of its members in YAML.
type object = yaml.MapSlice

func ref(path string) object { return object{{Key: "$ref", Value: path}} }

// golden is a message as it is on the wire.
type goldenMessage struct {
	Subject string              `json:"subject"`
	Header  map[string][]string `json:"header"`
	Data    json.RawMessage     `json:"data"`
}

func readGolden(t *testing.T, file string) (m goldenMessage) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// parameters are the tokens of subjects.
var parameters = object{
	{Key: "tenant", Value: object{{Key: "description", Value: "Id of the tenant, as in the configuration."}}},
	{Key: "registration", Value: object{{Key: "description", Value: "Id of the registration, which is also that of its customer."}}},
	{Key: "n", Value: object{{Key: "description", Value: "Which of several at this step; 1 where it happens once."}}},
}

// channel is where messages of some types stand.
func channel(address, description string, types []events.Event) object {
	used, carried := object{}, object{}
	for _, p := range parameters {
		if strings.Contains(address, "{"+p.Key.(string)+"}") {
			used = append(used, yaml.MapItem{Key: p.Key, Value: ref("#/components/parameters/" + p.Key.(string))})
		}
	}
	for _, e := range types {
		carried = append(carried, yaml.MapItem{Key: e.Type(), Value: ref("#/components/messages/" + e.Type())})
	}
	return object{{Key: "address", Value: address}, {Key: "description", Value: description}, {Key: "parameters", Value: used}, {Key: "messages", Value: carried}}
}

func message(t *testing.T, e events.Event) object {
	t.Helper()
	g := readGolden(t, filepath.Join(contractDir, "testdata", e.Type()+".json"))
	headers := object{}
	for _, name := range append(headerNames, "traceparent") {
		if v := g.Header[name]; len(v) == 1 {
			headers = append(headers, yaml.MapItem{Key: name, Value: v[0]})
		}
	}
	var schema struct{ Description string }
	if err := json.Unmarshal(schemaOf(t, e), &schema); err != nil {
		t.Fatal(err)
	}
	var payload any
	if err := yaml.UnmarshalWithOptions(g.Data, &payload, yaml.UseOrderedMap()); err != nil {
		t.Fatal(err)
	}
	return object{
		{Key: "name", Value: e.Type()}, {Key: "summary", Value: schema.Description}, {Key: "contentType", Value: "application/json"},
		{Key: "headers", Value: ref("#/components/schemas/cloudevent")}, {Key: "payload", Value: ref("./schemas/" + e.Type() + ".json")},
		{Key: "examples", Value: []object{{{Key: "name", Value: g.Subject}, {Key: "headers", Value: headers}, {Key: "payload", Value: payload}}}},
	}
}

var headerNames = []string{"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-datacontenttype", "ce-dataschema"}

func headerSchema() object {
	header := func(about string) object {
		return object{{Key: "type", Value: "string"}, {Key: "description", Value: about}}
	}
	return object{
		{Key: "type", Value: "object"},
		{Key: "required", Value: []string{"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-datacontenttype", "ce-dataschema"}},
		{Key: "properties", Value: object{
			{Key: "ce-specversion", Value: object{{Key: "const", Value: "1.0"}}}, {Key: "ce-id", Value: header("the subject that the event was published to, also in the feed")},
			{Key: "ce-source", Value: header("/usher/<service>")}, {Key: "ce-type", Value: header("the message's name")},
			{Key: "ce-subject", Value: header("the registration's id; not with facts about a tenant")}, {Key: "ce-time", Value: header("RFC 3339, the publisher's clock")},
			{Key: "ce-datacontenttype", Value: object{{Key: "const", Value: "application/json"}}},
			{Key: "ce-dataschema", Value: header("urn:usher:event:<type>:<major>")}, {Key: "traceparent", Value: header("W3C trace context")},
			{Key: "tracestate", Value: header("W3C trace context")},
		}},
	}
}

func TestContractAsyncAPIIsThatOfTheFlow(t *testing.T) {
	var channels, operations, messages object
	for _, e := range types() {
		messages = append(messages, yaml.MapItem{Key: e.Type(), Value: message(t, e)})
	}
	for i, row := range slices.Concat(events.Flow, events.TenantFacts) {
		step := string(row.Step)
		address, description := "reg.{tenant}.{registration}."+step+".{n}", "Stream REGISTRATIONS. One message a subject."
		if i >= len(events.Flow) {
			address, description = "tenant.{tenant}."+step+".{n}", "Stream TENANTS. One message a subject."
		}
		channels = append(channels, yaml.MapItem{Key: step, Value: channel(address, description, row.Types)})
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
	channels = append(channels, yaml.MapItem{Key: "feed", Value: channel("feed.{tenant}",
		"Stream FEED_<tenant>: every message of a tenant, in order and without a gap. Subscribers read it by a durable consumer that is made for them (usher subscribers add), over HTTP, or as webhooks.", types())})
	operations = append(operations, yaml.MapItem{Key: "subscriber-receive-feed", Value: object{
		{Key: "action", Value: "receive"}, {Key: "channel", Value: ref("#/channels/feed")}, {Key: "summary", Value: "What a tenant's compliance systems do."},
	}})
	raw, err := yaml.Marshal(object{
		{Key: "asyncapi", Value: "3.0.0"},
		{Key: "info", Value: object{{Key: "title", Value: "Usher registrations"}, {Key: "version", Value: fmt.Sprintf("%d.0.0", events.Major)},
			{Key: "description", Value: "Events of customer registrations on NATS JetStream: CloudEvents 1.0 in the NATS binary mode, one event a subject, no personal data. Streams REGISTRATIONS and, for facts about a tenant, TENANTS; a gapless copy of each tenant's in FEED_<tenant>. Ignore fields, headers and types that you do not know."}}},
		{Key: "servers", Value: object{{Key: "broker", Value: object{{Key: "host", Value: "127.0.0.1:4222"}, {Key: "protocol", Value: "nats"},
			{Key: "description", Value: "NATS with JetStream; here the one of usher dev. Subscribers use the JetStream domain usher."}}}}},
		{Key: "defaultContentType", Value: "application/json"},
		{Key: "channels", Value: channels},
		{Key: "operations", Value: operations},
		{Key: "components", Value: object{
			{Key: "parameters", Value: parameters},
			{Key: "messages", Value: messages},
			{Key: "schemas", Value: object{{Key: "cloudevent", Value: headerSchema()}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	current(t, "asyncapi.yaml", raw)
}
