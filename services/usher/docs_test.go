package usher

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/usherhq/usher/pkg/tenant"
)

const regenerate = "go test ./services/usher -run Documented -update"

// upToDate compares a generated file with what it must be, or writes it.
func upToDate(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the code says (%v); run: %s", file, err, regenerate)
	}
}

// notJSON are the commands that print something else, whoever reads it.
var notJSON = map[string]string{
	"usher dev":                  "runs until Ctrl-C",
	"usher topology permissions": "prints a part of the broker's configuration",
	"usher config schema":        "prints a JSON Schema, whatever --output",
	"usher completion":           "prints a script",
}

// leaves are the commands that can be run.
func leaves(t *testing.T) []*kong.Node {
	t.Helper()
	k, err := kong.New(&cli{}, kong.Name("usher"))
	if err != nil {
		t.Fatal(err)
	}
	return k.Model.Leaves(true)
}

func pathOf(n *kong.Node) string { return n.FullPath() }

func TestEveryCommandPrintsJSONOfOneShape(t *testing.T) {
	for _, leaf := range leaves(t) {
		_, has := leaf.Target.Interface().(shaped)
		if _, not := notJSON[pathOf(leaf)]; has == not {
			t.Errorf("%s: has a shape: %v, is listed as one that prints no JSON: %v", pathOf(leaf), has, not)
		}
		offers := slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "output" && strings.Contains(f.Enum, "json") })
		if offers != has {
			t.Errorf("%s: has a shape: %v, has --output json: %v", pathOf(leaf), has, offers)
		}
	}
}

func TestTheCommandsAreDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# The command line

Written by ` + "`" + regenerate + "`" + ` from the commands themselves; do not edit.

Commands that ask the gateway or the ledger take ` + "`--url` or `--ops`, `--token-file` and `--tenant`" + `, or the environment
([configuration.md](configuration.md)). Those that ask the broker read ` + "`NATS_URL`" + `, of a user that may do it
([deployments/nats](../../../deployments/nats/README.md)). A token, a password or a person is never printed, except by
` + "`usher dev`" + `, which shows its own token, and ` + "`usher review show`" + `, which shows the person to a reviewer.

Results go to standard output, progress and errors to standard error: a bar on a terminal, else a line every ten seconds.
With ` + "`--output json`" + ` the result is one JSON value of the shape below, to which members are only added; where a command goes
on, each line is one. Members that can be absent are shown too.

| exit code | |
|---|---|
`)
	for _, code := range []struct {
		code int
		text string
	}{{exitDone, "all was done"}, {exitFailed, "something was not done, or is not as it must be; the last line on standard error says what and how to mend it"},
		{exitUsage, "the command is not understood, or a file that it names cannot be read; nothing was done"},
		{exitInterrupted, "Ctrl-C came before the end; the last line says how far it was"}} {
		fmt.Fprintf(&b, "| %d | %s |\n", code.code, code.text)
	}
	b.WriteString("\n")
	for _, leaf := range leaves(t) {
		fmt.Fprintf(&b, "- [%s](#%s)\n", pathOf(leaf), strings.ReplaceAll(pathOf(leaf), " ", "-"))
	}
	for _, leaf := range leaves(t) {
		document(t, &b, leaf)
	}
	upToDate(t, "docs/cli.md", b.String())
}

func document(t *testing.T, b *strings.Builder, leaf *kong.Node) {
	t.Helper()
	fmt.Fprintf(b, "\n## %s\n\n%s\n", pathOf(leaf), leaf.Help)
	if len(leaf.Positional) > 0 || len(leaf.Flags) > 0 {
		b.WriteString("\n| | default | |\n|---|---|---|\n")
	}
	for _, p := range leaf.Positional {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", p.Summary(), p.Default, cell(p.Help))
	}
	for _, f := range leaf.Flags {
		if f.Hidden || f.Name == "help" {
			continue
		}
		help := f.Help
		if len(f.Envs) > 0 {
			help += " Environment: `" + strings.Join(f.Envs, "`, `") + "`."
		}
		if f.Required {
			help += " Required."
		}
		fmt.Fprintf(b, "| `--%s` | %s | %s |\n", f.Name, cell(f.Default), cell(help))
	}
	if s, ok := leaf.Target.Interface().(shaped); ok {
		raw, err := json.MarshalIndent(s.shape(), "", "  ")
		if err != nil {
			t.Fatalf("%s: %v", pathOf(leaf), err)
		}
		fmt.Fprintf(b, "\n```json\n%s\n```\n", strings.NewReplacer(`" "`, `""`, "0001-01-01T00:00:00Z", "2026-01-31T12:00:00Z").Replace(string(raw)))
		return
	}
	fmt.Fprintf(b, "\nIt %s.\n", notJSON[pathOf(leaf)])
}

// cell is a text within a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func TestTheConfigurationIsDocumented(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Configuration

Written by ` + "`" + regenerate + "`" + ` from the code; do not edit.

## Environment

| variable | of | default | meaning |
|---|---|---|---|
`)
	for _, v := range environment {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", v.Name, v.Of, cell(v.Default), cell(v.Meaning))
	}
	b.WriteString("\n## The file of the tenants (`USHER_CONFIG`)\n\n`usher config check FILE` tells what is wrong with one, and `usher config schema` prints this for editors." +
		" `[]` is each of a list, `*` any name.\n\n| key | type | default | meaning |\n|---|---|---|---|\n")
	var schema schemaNode
	if err := json.Unmarshal(tenant.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	schema.document(&b, "")
	upToDate(t, "docs/configuration.md", b.String())
}

// schemaNode is a part of the configuration's schema.
type schemaNode struct {
	Type        any
	Description string
	Default     json.RawMessage
	Enum        []any
	Properties  map[string]schemaNode
	Items       *schemaNode
	Additional  json.RawMessage `json:"additionalProperties"`
	OneOf       []schemaNode
	AnyOf       []schemaNode
}

// document writes a row for every key below a path.
func (n schemaNode) document(b *strings.Builder, path string) {
	if path != "" {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", path, cell(n.kind()), cell(strings.Trim(string(n.Default), `"`)), cell(strings.ReplaceAll(n.Description, "\n", " ")))
		path += "."
	}
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		n.Properties[name].document(b, path+name)
	}
	if n.Items != nil && n.Items.inner() {
		n.Items.document(b, strings.TrimSuffix(path, ".")+"[]")
	}
	var any schemaNode
	if json.Unmarshal(n.Additional, &any) == nil && !reflect.DeepEqual(any, schemaNode{}) {
		any.document(b, path+"*")
	}
	for _, one := range slices.Concat(n.OneOf, n.AnyOf) {
		if one.inner() {
			for _, name := range slices.Sorted(maps.Keys(one.Properties)) {
				one.Properties[name].document(b, path+name)
			}
		}
	}
}

func (n schemaNode) inner() bool {
	return len(n.Properties) > 0 || len(n.Additional) > 0 || n.Items != nil
}

func (n schemaNode) kind() string {
	if len(n.Enum) > 0 {
		var all []string
		for _, v := range n.Enum {
			all = append(all, fmt.Sprint(v))
		}
		return strings.Join(all, ", ")
	}
	if n.Type == nil {
		return ""
	}
	return fmt.Sprint(n.Type)
}
