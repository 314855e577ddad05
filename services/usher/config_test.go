package usher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usherhq/usher/pkg/tenant"
)

// command runs the command line among the example files of package tenant.
func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	if _, err := os.Stat("broken.yaml"); err != nil {
		t.Chdir("../../pkg/tenant/testdata")
	}
	var o, e bytes.Buffer
	code = execute(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestCheckTellsEveryProblemOfAFile(t *testing.T) {
	code, out, errs := command(t, "config", "check", "broken.yaml")
	golden, err := os.ReadFile("broken.golden")
	if err != nil {
		t.Fatal(err)
	}
	if code != 1 || out != string(golden) || !strings.Contains(errs, fmt.Sprintf("number of problems: %d\n", strings.Count(out, "\n"))) {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
}

func TestCheckTellsProblemsAsJSON(t *testing.T) {
	code, out, _ := command(t, "config", "check", "broken.yaml", "--output", "json")
	var found struct {
		File     string
		Version  string
		Problems []tenant.Problem
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	_, golden, _ := command(t, "config", "check", "broken.yaml")
	problems := strings.Count(golden, "\n")
	want := tenant.Problem{File: "broken.yaml", Line: 1, Column: 10, Path: "broker.replicas", Message: "is 2; give 1, 3 or 5"}
	if code != 1 || found.File != "broken.yaml" || found.Version != "" || len(found.Problems) != problems || found.Problems[0] != want {
		t.Errorf("code %d, %+v", code, found)
	}
}

func TestCheckReckonsWhatTheBrokersNeed(t *testing.T) {
	code, out, errs := command(t, "config", "check", "example.yaml")
	for _, want := range []string{"example.yaml is good: version ", "2 tenants", "at 10 registrations/s", "6048000 for 168h", "42336000 subjects in 12112 MiB of memory, 41343 MiB of events"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
}

func TestCheckJSONOfAGoodFileHasTheFootprint(t *testing.T) {
	code, out, _ := command(t, "config", "check", "example.yaml", "--rate=1", "--output=json")
	var found checked
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	if want := (tenant.Footprint{Registrations: 604800, Subjects: 4233600, Memory: 1270080000, Disk: 4335206400}); code != 0 || found.Rate != 1 || *found.Footprint != want || found.Problems == nil {
		t.Errorf("code %d, %s", code, out)
	}
}

func TestCheckRefusesMoreThanTheBrokersHold(t *testing.T) {
	code, out, _ := command(t, "config", "check", "example.yaml", "--rate", "20")
	for _, want := range []string{"broker.maxBytes: is filled to highWater before maxAge ends: 20 registrations/s take 80.7 GiB", "broker.memory: is less than the 23.7 GiB that 20"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, out)
		}
	}
}

func TestCheckOfAFileWithoutARateSaysThatNothingWasReckoned(t *testing.T) {
	file := filepath.Join(t.TempDir(), "demo.yaml")
	if err := os.WriteFile(file, tenant.DemoFile(), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := command(t, "config", "check", file); code != 0 || !strings.Contains(out, "--rate N") {
		t.Errorf("code %d, %s", code, out)
	}
}

func TestWhatCannotBeReadOrUnderstoodExits2(t *testing.T) {
	for sentence, args := range map[string][]string{
		"a file that is not there": {"config", "check", "none.yaml"},
		"a directory":              {"config", "check", "."},
		"no file":                  {"config", "check"},
		"an unknown output":        {"config", "check", "example.yaml", "--output=xml"},
		"an unknown command":       {"config", "chuck"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if code, out, errs := command(t, args...); code != 2 || errs == "" {
				t.Errorf("code %d\n%s%s", code, out, errs)
			}
		})
	}
}

func TestTheSchemaIsPrinted(t *testing.T) {
	if code, out, _ := command(t, "config", "schema"); code != 0 || out != string(tenant.Schema()) {
		t.Errorf("code %d, %d bytes", code, len(out))
	}
}
