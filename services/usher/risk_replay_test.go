package usher

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/risk"
)

// written is a file of the tenants in which one text is another.
func written(t *testing.T, text, with string) string {
	t.Helper()
	demo := string(tenant.DemoFile())
	if !strings.Contains(demo, text) {
		t.Fatalf("the demonstration has no %q", text)
	}
	file := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(demo, text, with, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAReplayTellsWhatAnotherPolicyWouldHaveDecidedAndChangesNothing(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	ordinary := d.register(person("Jane", "Appleby", "1990-05-15", "jane@example.com"))
	throwaway := d.register(person("June", "Appleby", "1990-05-15", "june@mailinator.com"))
	listed := d.register(person("Arkady Zorinovich", "Volkharin", "1961-03-09", "listed@example.com"))
	for id, status := range map[string]string{ordinary: "ACTIVATION_SENT", throwaway: "ACTIVATION_SENT", listed: "IN_REVIEW"} {
		d.reaches(cloudVault, id, status)
	}
	t.Setenv("STORE_URL", d.command.Store)
	dir := d.command.Data
	d.close()
	before := files(t, dir)
	stricter := written(t, "points: 30, label: disposable mail address", "points: 80, label: disposable mail address")

	code, out, errs := command(t, "risk", "replay", "--policy", stricter, "--since", "24h")
	if code != 0 || !strings.Contains(out, throwaway) || !strings.Contains(out, "LOW → HIGH") || !strings.Contains(out, "mail-disposable +30 → +80") ||
		!strings.Contains(out, "1 of 3 decisions would be others; of 0 only the score would.") || strings.Contains(out, ordinary) {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	code, out, errs = command(t, "risk", "replay", "--policy", stricter, "--output", "json")
	var replayed risk.Replayed
	if err := json.Unmarshal([]byte(out), &replayed); code != 0 || err != nil || len(replayed.Changes) != 1 || replayed.Changes[0].To.Level != "HIGH" {
		t.Errorf("code %d, %v\n%s%s", code, err, out, errs)
	}
	code, out, errs = command(t, "risk", "replay", "--policy", stricter, "--output", "csv")
	if rows, err := csv.NewReader(strings.NewReader(out)).ReadAll(); code != 0 || err != nil || len(rows) != 2 || rows[1][1] != throwaway || rows[1][12] != "mail-disposable +30 → +80" {
		t.Errorf("code %d, %v\n%s%s", code, err, out, errs)
	}
	if code, out, _ := command(t, "risk", "replay", "--policy", stricter, "--since", "2999-01-01"); code != 0 || !strings.HasPrefix(out, "0 of 0 decisions") {
		t.Errorf("since the future: code %d\n%s", code, out)
	}
	for arguments, want := range map[string]string{
		"--since=yesterday --policy=" + stricter:                        "--since is not a time",
		"--policy=" + filepath.Join(t.TempDir(), "none"):                "read policy",
		"--policy=" + written(t, "emailDomain in [", "mailDomain in ["): "policies.standard.rules[2].when",
	} {
		if code, _, errs := command(t, append([]string{"risk", "replay"}, strings.Fields(arguments)...)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: code %d, %s", arguments, code, errs)
		}
	}
	if after := files(t, dir); after != before {
		t.Errorf("streams and documents were\n%s\nand are\n%s", before, after)
	}
}

// files is a print of every file of a directory: the streams and the documents of an installation
// that is stopped.
func files(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %x\n", path, sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
