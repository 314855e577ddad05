package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	driver "modernc.org/sqlite"
)

// sqlite keeps one file a service: a single writer, WAL, and fsync at every commit. A
// collection is a table with a column for each indexed field.
type sqlite struct {
	database *sql.DB // of the writer
	readers  *sql.DB

	writing    sync.Mutex // guards the writer and its statements
	writer     *sql.Conn
	statements map[string]*sql.Stmt

	mu      sync.Mutex
	schemas map[string]Schema
	queries map[string]*sql.Stmt // of the readers
}

const (
	readersMax  = 2
	busyTimeout = 10 * time.Second // how long another process may hold the database
)

func openSQLite(ctx context.Context, dir, service string) (Backend, error) {
	if dir == "" {
		return nil, errors.New("STORE_URL: sqlite:// needs a directory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make store directory: %w", err)
	}
	file := filepath.Join(dir, service+".db")
	if err := private(file); err != nil {
		return nil, fmt.Errorf("make %s: %w", file, err)
	}
	s := &sqlite{schemas: map[string]Schema{}, statements: map[string]*sql.Stmt{}, queries: map[string]*sql.Stmt{}}
	var errWriter, errReaders error
	s.database, errWriter = sql.Open("sqlite", dsn(file, "cache_size(-8000)"))
	s.readers, errReaders = sql.Open("sqlite", dsn(file, "cache_size(-2000)"))
	if err := errors.Join(errWriter, errReaders); err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	s.readers.SetMaxOpenConns(readersMax)
	s.readers.SetMaxIdleConns(readersMax)
	var err error
	if s.writer, err = connect(ctx, s.database); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), s.database.Close(), s.readers.Close())
	}
	return s, nil
}

// connect opens a connection. Of processes that turn a new database to WAL at the same moment
// SQLite sends all but one away at once, whatever their busy timeout.
func connect(ctx context.Context, database *sql.DB) (*sql.Conn, error) {
	const busy = 5 // SQLITE_BUSY
	for begun := time.Now(); ; {
		conn, err := database.Conn(ctx)
		var refused *driver.Error
		if !errors.As(err, &refused) || refused.Code()&0xff != busy || time.Since(begun) > busyTimeout {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// creating is held while a database's descriptor is open here: closing one drops every lock
// that this process holds on the file, SQLite's too.
var creating sync.Mutex

// private makes the database and the files that SQLite makes beside it their owner's alone.
// SQLite gives new ones the mode of the database.
func private(file string) error {
	creating.Lock()
	defer creating.Unlock()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Chmod(file+suffix, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func dsn(file string, pragmas ...string) string {
	pragmas = append([]string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)"}, pragmas...)
	v := url.Values{"_pragma": pragmas}
	return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + v.Encode()
}

// Purge implements Backend. What is deleted is overwritten in the database itself (secure_delete);
// here the log is emptied, which has it too.
func (s *sqlite) Purge(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	var busy, frames, moved int
	if err := s.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("empty the log: %w", err)
	}
	if busy != 0 {
		return errors.New("empty the log: it is being read")
	}
	return nil
}

func (s *sqlite) Ping(ctx context.Context) error { return s.readers.PingContext(ctx) }

func (s *sqlite) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	var problems []error
	for _, statements := range []map[string]*sql.Stmt{s.statements, s.queries} {
		for _, statement := range statements {
			problems = append(problems, statement.Close())
		}
	}
	return errors.Join(append(problems, s.writer.Close(), s.database.Close(), s.readers.Close())...)
}

// transaction runs f on the writer, which has the database to itself until f returns; an
// error of f undoes everything.
func (s *sqlite) transaction(ctx context.Context, f func() error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.control(ctx, "BEGIN IMMEDIATE")
	if err == nil {
		err = f()
	}
	if err == nil {
		err = s.control(ctx, "COMMIT")
	}
	if err == nil {
		return nil
	}
	// Also where it did not begin: a statement that is cut short may have taken effect.
	undo := s.control(context.WithoutCancel(ctx), "ROLLBACK")
	if undo != nil && !strings.Contains(undo.Error(), "no transaction is active") {
		err = errors.Join(err, undo)
	}
	return err
}

func (s *sqlite) control(ctx context.Context, statement string) error {
	prepared, err := s.statement(ctx, statement)
	if err == nil {
		_, err = prepared.ExecContext(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.ToLower(statement), err)
	}
	return nil
}

// statement returns a prepared statement of the writer, for use within a transaction.
func (s *sqlite) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if prepared, ok := s.statements[text]; ok {
		return prepared, nil
	}
	prepared, err := s.writer.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	s.statements[text] = prepared
	return prepared, nil
}

func (s *sqlite) Ensure(ctx context.Context, schemas ...Schema) error {
	for _, sc := range schemas {
		err := s.transaction(ctx, func() error {
			missing, err := s.missing(ctx, s.writer, sc)
			for _, m := range missing {
				if _, err := s.writer.ExecContext(ctx, m.statement); err != nil {
					return fmt.Errorf("make %s: %w", m.what, err)
				}
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("prepare collection %s: %w", sc.Collection, err)
		}
		s.know(sc)
	}
	return nil
}

func (s *sqlite) Verify(ctx context.Context, schemas ...Schema) error {
	var problems []error
	for _, sc := range schemas {
		missing, err := s.missing(ctx, s.readers, sc)
		if err != nil {
			return err
		}
		for _, m := range missing {
			problems = append(problems, fmt.Errorf("collection %s lacks its %s; run `usher topology apply`", sc.Collection, m.what))
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

func (s *sqlite) schema(collection string) (Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc, ok := s.schemas[collection]
	if !ok {
		return Schema{}, fmt.Errorf("collection %s was neither ensured nor verified", collection)
	}
	return sc, nil
}

// part is a piece of a collection and the statement that makes it.
type part struct{ what, statement string }

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// missing returns what would complete a collection, in the order it can be made.
func (s *sqlite) missing(ctx context.Context, q queryer, sc Schema) ([]part, error) {
	if err := sc.check(); err != nil {
		return nil, err
	}
	have, err := existing(ctx, q, sc.Collection)
	if err != nil {
		return nil, err
	}
	var lacks []part
	for _, p := range parts(sc) {
		if !have[p.what] {
			lacks = append(lacks, p)
		}
	}
	return lacks, nil
}

// parts are all pieces of a collection.
func parts(sc Schema) []part {
	all := []part{{"table " + sc.Collection, fmt.Sprintf(
		`CREATE TABLE %q (id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL)`, sc.Collection)}}
	for _, f := range sc.indexed() {
		all = append(all, part{"field " + f, fmt.Sprintf(`ALTER TABLE %q ADD COLUMN %q`, sc.Collection, "f_"+f)})
	}
	for _, fields := range sc.Unique {
		name := "u_" + sc.Collection + "_" + strings.Join(fields, "_")
		all = append(all, part{"index " + name, fmt.Sprintf(`CREATE UNIQUE INDEX %q ON %q (%s) WHERE %s NOT NULL`,
			name, sc.Collection, columns(fields, ", "), columns(fields, " NOT NULL AND "))})
	}
	for _, fields := range sc.Index {
		name := "i_" + sc.Collection + "_" + strings.Join(fields, "_")
		all = append(all, part{"index " + name, fmt.Sprintf(`CREATE INDEX %q ON %q (%s)`, name, sc.Collection, columns(fields, ", "))})
	}
	return all
}

func columns(fields []string, sep string) string {
	quoted := make([]string, len(fields))
	for i, f := range fields {
		quoted[i] = `"f_` + f + `"`
	}
	return strings.Join(quoted, sep)
}

// existing names the parts that a collection has.
func existing(ctx context.Context, q queryer, collection string) (map[string]bool, error) {
	rows, err := q.QueryContext(ctx, `
		SELECT type || ' ' || name FROM sqlite_master WHERE tbl_name = ?1 AND name NOT LIKE 'sqlite_%'
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
