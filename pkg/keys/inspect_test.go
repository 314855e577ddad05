package keys

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestInspectTellsOfGenerationsAndNothingSecret(t *testing.T) {
	dir := t.TempDir()
	if err := Generate(dir); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	for _, at := range []time.Time{now.Add(-time.Hour), now.Add(time.Hour), now.Add(2 * time.Hour)} {
		if _, err := Rotate(dir, Vault, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "data.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Inspect(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Kept{}
	for _, k := range all {
		found[k.Name] = k
	}
	if want := (Kept{Name: Vault, Generations: 4, Since: now.Add(-time.Hour), Next: now.Add(time.Hour)}); found[Vault] != want {
		t.Errorf("vault: %+v, want %+v", found[Vault], want)
	}
	if len(all) != 9 || found[ID].Err != nil || found[Data].Err == nil || found[Index].Err == nil {
		t.Errorf("%+v", all)
	}
	if _, err := Inspect(filepath.Join(dir, "none"), now); err == nil {
		t.Error("a directory that is not there is inspected")
	}
}
