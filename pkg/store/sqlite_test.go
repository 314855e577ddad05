package store_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Backend {
		dir := t.TempDir()
		return func() store.Backend {
			b, err := store.Open(t.Context(), "sqlite://"+dir, "test", nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	})
}

// openedSQLite opens a store that is closed with the test.
func openedSQLite(t testing.TB, dir string) store.Backend {
	t.Helper()
	b, err := store.Open(t.Context(), "sqlite://"+dir, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func preparedSQLite(t testing.TB, dir string) store.Backend {
	t.Helper()
	b := openedSQLite(t, dir)
	if err := b.Ensure(t.Context(), storetest.Schema); err != nil {
		t.Fatal(err)
	}
	return b
}

func insertSQLite(b store.Backend, ids ...string) []error {
	var ops []store.Op
	for _, id := range ids {
		ops = append(ops, store.Op{Kind: store.Insert, Document: store.Document{ID: id, Body: []byte(`{}`)}})
	}
	return b.Write(context.Background(), storetest.Schema.Collection, ops)
}

// execSQLite runs statements on a store's file past the store.
func execSQLite(t *testing.T, dir string, statements ...string) {
	t.Helper()
	database, err := sql.Open("sqlite", filepath.Join(dir, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	for _, statement := range statements {
		if _, err := database.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWriteThatBreaksItsTransactionLeavesTheOthersAlone(t *testing.T) {
	dir := t.TempDir()
	b := preparedSQLite(t, dir)
	execSQLite(t, dir, `CREATE TRIGGER breaks BEFORE INSERT ON people WHEN NEW.id = 'breaks'
		BEGIN SELECT RAISE(ROLLBACK, 'broken'); END`)
	errs := insertSQLite(b, "first", "breaks", "last")
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("errors %v", errs)
	}
	found, err := b.Get(t.Context(), storetest.Schema.Collection, "first", "breaks", "last")
	if _, broken := found["breaks"]; err != nil || len(found) != 2 || broken {
		t.Errorf("stored %d documents, the one that broke %t, %v", len(found), broken, err)
	}
}

func TestVerifyNamesWhatIsMissingAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	b := preparedSQLite(t, dir)
	execSQLite(t, dir, `DROP INDEX u_people_tenant_u_nid`, `DROP INDEX i_people_status`, `ALTER TABLE people DROP COLUMN f_status`)
	err := b.Verify(t.Context(), storetest.Schema, store.Schema{Collection: "pets"})
	want := []string{"people lacks its field status;", "people lacks its index u_people_tenant_u_nid;",
		"people lacks its index i_people_status;", "pets lacks its table pets;"}
	if err == nil || strings.Count(err.Error(), "\n") != len(want)-1 {
		t.Fatalf("%v", err)
	}
	for _, what := range want {
		if !strings.Contains(err.Error(), what) {
			t.Errorf("%q is not in: %v", what, err)
		}
	}
}

func TestATableWithoutRowidStaysUsable(t *testing.T) {
	dir := t.TempDir()
	execSQLite(t, dir,
		`CREATE TABLE people (id TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID`,
		`ALTER TABLE people ADD COLUMN f_tenant`,
		`ALTER TABLE people ADD COLUMN f_u_email`,
		`CREATE UNIQUE INDEX u_people_tenant_u_email ON people (f_tenant, f_u_email) WHERE f_tenant NOT NULL AND f_u_email NOT NULL`,
		`INSERT INTO people (id, version, body, f_tenant, f_u_email) VALUES ('old', 3, '{"v":3}', 't', 'x')`)
	b := preparedSQLite(t, dir)
	if err := b.Verify(t.Context(), storetest.Schema); err != nil {
		t.Fatal(err)
	}
	taken := store.Document{ID: "new", Fields: store.Fields{"tenant": "t", "u_email": "x"}, Body: []byte(`{}`)}
	changed := store.Document{ID: "old", Version: 3, Fields: store.Fields{"tenant": "t"}, Body: []byte(`{"v":4}`)}
	for i, op := range []store.Op{{Kind: store.Insert, Document: taken}, {Kind: store.Update, Document: changed}, {Kind: store.Insert, Document: taken}} {
		err := b.Write(t.Context(), storetest.Schema.Collection, []store.Op{op})[0]
		if refused := i == 0; refused != (err != nil) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	page, _, err := b.Find(t.Context(), storetest.Schema.Collection, store.Query{Where: store.Fields{"tenant": "t"}, Limit: 10})
	if err != nil || len(page) != 2 || page[1].Version != 4 || string(page[1].Body) != `{"v":4}` {
		t.Errorf("found %v, %v", page, err)
	}
}

func TestTheFilesAreTheirOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	preparedSQLite(t, dir)
	for _, file := range filesOf(t, dir) {
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	preparedSQLite(t, dir)
	for _, file := range filesOf(t, dir) {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", filepath.Base(file), info.Mode(), err)
		}
	}
}

// filesOf returns the database, its log and the index of the log.
func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "test.db*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	return files
}

func TestAStoreURLThatCannotWorkIsNamed(t *testing.T) {
	for _, url := range []string{"", "sqlite://", "oracle://x"} {
		b, err := store.Open(t.Context(), url, "test", nil)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "STORE_URL") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestAfterAPurgeTheFilesHoldNothingOfWhatWasOverwrittenOrDeleted(t *testing.T) {
	dir := t.TempDir()
	b := preparedSQLite(t, dir)
	type value struct{ Name string }
	docs := store.NewDocs(b, storetest.Schema, func(v value) store.Fields {
		return store.Fields{"tenant": "t", "u_email": v.Name[:min(len(v.Name), 20)]}
	})
	secret := strings.Repeat("Kanarienvogel", 3000) // also in pages of its own
	for id, name := range map[string]string{"overwritten": "Kanarienvogel 1", "deleted": "Kanarienvogel 2", "long": secret} {
		if err := docs.Insert(t.Context(), id, value{name}); err != nil {
			t.Fatal(err)
		}
	}
	if found := filesWith(t, dir, "Kanarienvogel"); len(found) == 0 {
		t.Fatal("the files do not hold what was stored: the test is blind")
	}
	for _, id := range []string{"overwritten", "long", "absent"} {
		if err := docs.Put(t.Context(), id, value{id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := docs.Delete(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	if err := b.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := filesWith(t, dir, "Kanarienvogel"); len(found) > 0 {
		t.Errorf("still in %v", found)
	}
	if s, err := docs.Get(t.Context(), "absent"); err != nil || s.Value.Name != "absent" {
		t.Errorf("what was put where nothing was is %v, %v", s.Value, err)
	}
}

// filesWith names the files that hold a text.
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), text) {
			found = append(found, f.Name())
		}
	}
	return found
}
