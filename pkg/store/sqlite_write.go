package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Write runs all ops in one transaction. Every statement touches one document and conflicts
// are no errors of the statement, so an op that does not apply leaves the others alone.
func (s *sqlite) Write(ctx context.Context, collection string, ops []Op) []error {
	results := make([]error, len(ops))
	fail := func(err error) []error {
		for i := range results {
			results[i] = err
		}
		return results
	}
	sc, err := s.schema(collection)
	if err != nil {
		return fail(err)
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fail(fmt.Errorf("write %s: %w", collection, err))
	}
	w := sqliteWriter{tx: tx, schema: sc, fields: sc.fieldsOf()}
	for i, op := range ops {
		results[i] = w.apply(ctx, op)
	}
	if w.broken != nil {
		return fail(errors.Join(fmt.Errorf("write %s: %w", collection, w.broken), tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fail(fmt.Errorf("commit %s: %w", collection, err))
	}
	return results
}

// sqliteWriter applies ops within one transaction. broken is set when the transaction as a
// whole cannot be trusted any more.
type sqliteWriter struct {
	tx     *sql.Tx
	schema Schema
	fields []string
	broken error
}

func (w *sqliteWriter) apply(ctx context.Context, op Op) error {
	if w.broken != nil {
		return w.broken
	}
	if err := w.check(op); err != nil {
		return err
	}
	switch op.Kind {
	case Insert:
		return w.insert(ctx, op.Document)
	case Update:
		return w.update(ctx, op.Document)
	case Delete:
		_, err := w.exec(ctx, fmt.Sprintf(`DELETE FROM %q WHERE id = ?`, w.schema.Collection), op.Document.ID)
		return err
	}
	return fmt.Errorf("unknown kind of write %d", op.Kind)
}

func (w *sqliteWriter) check(op Op) error {
	if op.Document.ID == "" {
		return errors.New("a document needs an id")
	}
	for name, value := range op.Document.Fields {
		if !slices.Contains(w.fields, name) {
			return fmt.Errorf("field %s is not in the schema of %s", name, w.schema.Collection)
		}
		switch value.(type) {
		case string, int64:
		default:
			return fmt.Errorf("field %s of %s is a %T; want string or int64", name, w.schema.Collection, value)
		}
	}
	if op.Kind != Delete && !json.Valid(op.Document.Body) {
		return fmt.Errorf("body of a document of %s is not JSON", w.schema.Collection)
	}
	return nil
}

func (w *sqliteWriter) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := w.tx.ExecContext(ctx, statement, args...)
	if err != nil {
		w.broken = err
		return 0, err
	}
	return result.RowsAffected()
}

func (w *sqliteWriter) values(d Document) []any {
	values := make([]any, len(w.fields))
	for i, f := range w.fields {
		values[i] = d.Fields[f]
	}
	return values
}

func (w *sqliteWriter) insert(ctx context.Context, d Document) error {
	names, marks := "", ""
	if len(w.fields) > 0 {
		names, marks = ", "+columns(w.fields, ", "), strings.Repeat(", ?", len(w.fields))
	}
	statement := fmt.Sprintf(`INSERT INTO %q (id, version, body%s) VALUES (?, 1, ?%s) ON CONFLICT DO NOTHING`, w.schema.Collection, names, marks)
	n, err := w.exec(ctx, statement, append([]any{d.ID, d.Body}, w.values(d)...)...)
	if err != nil || n == 1 {
		return err
	}
	return w.refused(ctx, d, ErrExists)
}

func (w *sqliteWriter) update(ctx context.Context, d Document) error {
	set := ""
	for _, f := range w.fields {
		set += fmt.Sprintf(`, "f_%s" = ?`, f)
	}
	statement := fmt.Sprintf(`UPDATE OR IGNORE %q SET version = version + 1, body = ?%s WHERE id = ? AND version = ?`, w.schema.Collection, set)
	args := append([]any{d.Body}, w.values(d)...)
	n, err := w.exec(ctx, statement, append(args, d.ID, d.Version)...)
	if err != nil || n == 1 {
		return err
	}
	return w.refused(ctx, d, nil)
}

// refused finds out why a document was not written. ifPresent answers for an insert; an
// update looks at the stored version.
func (w *sqliteWriter) refused(ctx context.Context, d Document, ifPresent error) error {
	var version int64
	err := w.tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT version FROM %q WHERE id = ?`, w.schema.Collection), d.ID).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if ifPresent == nil {
			return ErrNotFound
		}
	case err != nil:
		w.broken = err
		return err
	case ifPresent != nil:
		return ifPresent
	case version != d.Version:
		return ErrConflict
	}
	for _, unique := range w.schema.Unique {
		taken, err := w.taken(ctx, unique, d)
		if err != nil {
			w.broken = err
			return err
		}
		if taken {
			return &DuplicateError{Fields: unique}
		}
	}
	return fmt.Errorf("write %s: refused for no visible reason", w.schema.Collection)
}

func (w *sqliteWriter) taken(ctx context.Context, unique []string, d Document) (bool, error) {
	args := make([]any, 0, len(unique)+1)
	for _, f := range unique {
		value, has := d.Fields[f]
		if !has {
			return false, nil
		}
		args = append(args, value)
	}
	var n int
	err := w.tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM %q WHERE %s = ? AND id <> ?`,
		w.schema.Collection, columns(unique, " = ? AND ")), append(args, d.ID)...).Scan(&n)
	return n > 0, err
}
