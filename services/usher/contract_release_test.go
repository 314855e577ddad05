package usher

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
)

// release keeps the contract as it is today under a version, which is never changed afterwards.
var release = flag.String("release", "", "keep today's schemas and golden events as those of this version")

var releasesDir = filepath.Join(contractDir, "testdata", "releases")

func TestContractKeepsARelease(t *testing.T) {
	if *release == "" {
		t.Skip("NOT RUN: no version is released; -release VERSION does")
	}
	dir := filepath.Join(releasesDir, *release)
	if err := errors.Join(os.MkdirAll(releasesDir, 0o755), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"schemas": "schemas", "testdata": "events"} {
		if err := os.Mkdir(filepath.Join(dir, to), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, e := range types() {
			raw, err := os.ReadFile(filepath.Join(contractDir, from, e.Type()+".json"))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, to, e.Type()+".json"), raw, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// released are the files of a kind of every release.
func released(t *testing.T, kind string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(releasesDir, "*", kind, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no release has %s: %v", kind, err)
	}
	return files
}

func TestContractEventsOfEveryReleaseAreStillReadAndAreAsTheSchemasSay(t *testing.T) {
	for _, file := range released(t, "events") {
		m := readGolden(t, file)
		if _, err := events.Decode(m.Subject, m.Header, m.Data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		validateEvent(t, m.Subject, m.Header, m.Data)
	}
}

func TestContractHasWhatEveryReleaseHad(t *testing.T) {
	for _, file := range released(t, "schemas") {
		e, known := events.Blank(strings.TrimSuffix(filepath.Base(file), ".json"))
		if !known {
			t.Errorf("%s: the type is gone", file)
			continue
		}
		var then, now map[string]any
		raw, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(raw, &then)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(schemaOf(t, e), &now); err != nil {
			t.Fatal(err)
		}
		for _, broken := range breaks(then, now, "") {
			t.Errorf("%s: %s; a change that old readers cannot take raises events.Major", file, broken)
		}
	}
}

// breaks names what a reader of then would miss, or what an event of then would lack. at is where in
// the schema they stand.
func breaks(then, now map[string]any, at string) (all []string) {
	if fmt.Sprint(then["type"]) != fmt.Sprint(now["type"]) || fmt.Sprint(then["contentEncoding"]) != fmt.Sprint(now["contentEncoding"]) {
		return []string{fmt.Sprintf("%s was %v and is %v", where(at), then["type"], now["type"])}
	}
	had, has := members(then, "properties"), members(now, "properties")
	for name, s := range had {
		if has[name] == nil {
			all = append(all, where(at+"."+name)+" was removed")
			continue
		}
		all = append(all, breaks(s.(map[string]any), has[name].(map[string]any), at+"."+name)...)
	}
	must, may := requiredOf(then), requiredOf(now)
	for _, name := range may {
		if !slices.Contains(must, name) {
			all = append(all, where(at+"."+name)+" became required")
		}
	}
	for _, name := range must {
		if has[name] != nil && !slices.Contains(may, name) {
			all = append(all, where(at+"."+name)+" is no longer always there")
		}
	}
	for _, inner := range []string{"items", "additionalProperties"} {
		if was, schema := then[inner].(map[string]any); schema {
			all = append(all, breaks(was, members(now, inner), at+"[]")...)
		}
	}
	return all
}

func where(at string) string { return strings.TrimPrefix(at, ".") }

func members(s map[string]any, of string) map[string]any {
	m, _ := s[of].(map[string]any)
	return m
}

func requiredOf(s map[string]any) (names []string) {
	list, _ := s["required"].([]any)
	for _, name := range list {
		names = append(names, name.(string))
	}
	return names
}

func TestContractChangesThatOldReadersCannotTakeAreNamed(t *testing.T) {
	const then = `{"type":"object","required":["a","list"],"properties":{
		"a":{"type":"string"}, "b":{"type":"integer"},
		"list":{"type":"array","items":{"type":"object","required":["x"],"properties":{"x":{"type":"string"}}}},
		"words":{"type":"object","additionalProperties":{"type":"string"}}}}`
	for name, c := range map[string]struct{ old, new, says string }{
		"nothing":                     {"", "", ""},
		"another comment":             {`{"type":"integer"}`, `{"type":"integer","description":"n"}`, ""},
		"a new optional field":        {`"b":`, `"new":{"type":"string"},"b":`, ""},
		"a new required field":        {`"required":["a","list"],"properties":{`, `"required":["a","list","new"],"properties":{"new":{"type":"string"},`, "new became required"},
		"a field that is gone":        {`"b":{"type":"integer"},`, ``, "b was removed"},
		"a field of another type":     {`"b":{"type":"integer"}`, `"b":{"type":"string"}`, "b was integer and is string"},
		"a field that is now missing": {`"required":["a","list"]`, `"required":["list"]`, "a is no longer always there"},
		"an optional field required":  {`"required":["a","list"]`, `"required":["a","b","list"]`, "b became required"},
		"within a list":               {`"properties":{"x":{"type":"string"}}`, `"properties":{}`, "list[].x was removed"},
		"of a list's elements":        {`"x":{"type":"string"}`, `"x":{"type":"boolean"}`, "list[].x was string"},
		"within a map":                {`"additionalProperties":{"type":"string"}`, `"additionalProperties":{"type":"integer"}`, "words[] was string"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(then, c.old, c.new, 1)
			var before, after map[string]any
			if err := errors.Join(json.Unmarshal([]byte(then), &before), json.Unmarshal([]byte(changed), &after)); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(breaks(before, after, ""), "; "); c.says == "" && got != "" || !strings.Contains(got, c.says) {
				t.Errorf("named %q", got)
			}
		})
	}
}
