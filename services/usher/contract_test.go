package usher

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/usherhq/usher/events"
)

var update = flag.Bool("update", false, "rewrite the generated contract files")

const contractDir = "../../events"

// types lists one value of every event type, in the order of the flow.
func types() []events.Event {
	var all []events.Event
	for _, row := range slices.Concat(events.Flow, events.TenantFacts) {
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
	for _, name := range []string{"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-datacontenttype", "ce-dataschema", "traceparent"} {
		if len(header[name]) != 1 {
			t.Fatalf("%s: header %s has %d values", subject, name, len(header[name]))
		}
	}
	eventType := header["ce-type"][0]
	schema, known := compiled[eventType]
	if !known {
		t.Fatalf("%s: type %s is not in the contract", subject, eventType)
	}
	s, err := events.ParseSubject(subject)
	if err != nil {
		t.Fatal(err)
	}
	step := s.Step
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
