package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // registers the driver
)

// sqlite keeps one file a service: a single writer, WAL, and fsync at every commit. A
// collection is a table with a column for each indexed field.
type sqlite struct {
	writer  *sql.DB
	readers *sql.DB

	mu      sync.Mutex
	schemas map[string]Schema
}

func openSQLite(ctx context.Context, dir, service string) (Backend, error) {
	if dir == "" {
		return nil, errors.New("STORE_URL: sqlite:// needs a directory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make store directory: %w", err)
	}
	file := filepath.Join(dir, service+".db")
	writer, err := sql.Open("sqlite", dsn(file, "immediate"))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	writer.SetMaxOpenConns(1)
	if err := writer.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), writer.Close())
	}
	readers, err := sql.Open("sqlite", dsn(file, "deferred"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), writer.Close())
	}
	readers.SetMaxOpenConns(max(4, runtime.NumCPU()))
	return &sqlite{writer: writer, readers: readers, schemas: map[string]Schema{}}, nil
}

func dsn(file, lock string) string {
	v := url.Values{"_txlock": {lock}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)", "cache_size(-8000)",
	}}
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + v.Encode()
}

func (s *sqlite) Ping(ctx context.Context) error { return s.readers.PingContext(ctx) }

func (s *sqlite) Close() error { return errors.Join(s.readers.Close(), s.writer.Close()) }

var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,40}$`)

// fieldsOf lists the indexed fields of a schema, sorted.
func (sc Schema) fieldsOf() []string {
	set := map[string]bool{}
	for _, group := range slices.Concat(sc.Unique, sc.Index) {
		for _, f := range group {
			set[f] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func (s *sqlite) Ensure(ctx context.Context, schemas ...Schema) error {
	for _, sc := range schemas {
		missing, err := s.missing(ctx, sc)
		if err != nil {
			return err
		}
		for _, statement := range missing {
			if _, err := s.writer.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("prepare collection %s: %w", sc.Collection, err)
			}
		}
		s.know(sc)
	}
	return nil
}

func (s *sqlite) Verify(ctx context.Context, schemas ...Schema) error {
	var problems []error
	for _, sc := range schemas {
		missing, err := s.missing(ctx, sc)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			problems = append(problems, fmt.Errorf("collection %s lacks %d tables, fields or indexes; run `usher topology apply`", sc.Collection, len(missing)))
		}
		s.know(sc)
	}
	return errors.Join(problems...)
}

func (s *sqlite) know(sc Schema) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schemas[sc.Collection] = sc
}

// missing returns the statements that would complete a collection.
func (s *sqlite) missing(ctx context.Context, sc Schema) ([]string, error) {
	for _, n := range append(sc.fieldsOf(), sc.Collection) {
		if !identifier.MatchString(n) {
			return nil, fmt.Errorf("collection %s: %q is not a name of letters, digits and _", sc.Collection, n)
		}
	}
	have, err := s.existing(ctx, sc.Collection)
	if err != nil {
		return nil, err
	}
	var statements []string
	if !have[sc.Collection] {
		statements = append(statements, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %q (id TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID`, sc.Collection))
	}
	for _, f := range sc.fieldsOf() {
		if !have["field "+f] {
			statements = append(statements, fmt.Sprintf(`ALTER TABLE %q ADD COLUMN %q`, sc.Collection, "f_"+f))
		}
	}
	index := func(kind string, fields []string, unique bool) {
		name := kind + "_" + sc.Collection + "_" + strings.Join(fields, "_")
		if have[name] {
			return
		}
		statement := fmt.Sprintf(`CREATE INDEX IF NOT EXISTS %q ON %q (%s)`, name, sc.Collection, columns(fields, ", "))
		if unique {
			statement = fmt.Sprintf(`CREATE UNIQUE INDEX IF NOT EXISTS %q ON %q (%s) WHERE %s NOT NULL`, name, sc.Collection, columns(fields, ", "), columns(fields, " NOT NULL AND "))
		}
		statements = append(statements, statement)
	}
	for _, fields := range sc.Unique {
		index("u", fields, true)
	}
	for _, fields := range sc.Index {
		index("i", fields, false)
	}
	return statements, nil
}

func columns(fields []string, sep string) string {
	quoted := make([]string, len(fields))
	for i, f := range fields {
		quoted[i] = `"f_` + f + `"`
	}
	return strings.Join(quoted, sep)
}

// existing names the table, "field <name>" and the indexes that a collection has.
func (s *sqlite) existing(ctx context.Context, collection string) (map[string]bool, error) {
	rows, err := s.readers.QueryContext(ctx, `
		SELECT name FROM sqlite_master WHERE tbl_name = ?1 AND name NOT LIKE 'sqlite_%'
		UNION ALL SELECT 'field ' || substr(name, 3) FROM pragma_table_info(?1) WHERE name LIKE 'f\_%' ESCAPE '\'`, collection)
	if err != nil {
		return nil, fmt.Errorf("read schema of %s: %w", collection, err)
	}
	defer rows.Close()
	have := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		have[name] = true
	}
	return have, rows.Err()
}

func (s *sqlite) schema(collection string) (Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc, ok := s.schemas[collection]
	if !ok {
		return Schema{}, fmt.Errorf("collection %s was neither ensured nor verified", collection)
	}
	return sc, nil
}
