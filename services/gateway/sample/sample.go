// Package sample is how the tests of a dialect read the requests and answers they keep in testdata.
package sample

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Read returns a file of testdata.
func Read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Edit returns a file of testdata in which texts are replaced, each once and in its turn. The test
// fails where one is not there.
func Edit(t testing.TB, file string, oldNew ...string) string {
	t.Helper()
	text := Read(t, file)
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(text, oldNew[i]) {
			t.Fatalf("%q is not in %s", oldNew[i], file)
		}
		text = strings.Replace(text, oldNew[i], oldNew[i+1], 1)
	}
	return text
}

// Golden compares a text with a file of testdata; -update writes the file.
func Golden(t testing.TB, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", file), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(Read(t, file), got); diff != "" {
		t.Error(diff)
	}
}

// GoldenJSON compares a JSON body, indented, with a file of testdata.
func GoldenJSON(t testing.TB, file string, body []byte) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Indent(&got, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	Golden(t, file, got.String()+"\n")
}
