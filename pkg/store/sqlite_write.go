package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// Write runs all ops in one transaction. Every statement touches one document and conflicts
// are no errors of the statement, so an op that does not apply leaves the others alone. Where
// a transaction breaks that had begun, each op is tried in one of its own.
func (s *sqlite) Write(ctx context.Context, collection string, ops []Op) []error {
	results := make([]error, len(ops))
	begun := false
	sc, err := s.schema(collection)
	if err == nil {
		err = s.transaction(ctx, func() error {
			begun = true
			return s.apply(ctx, sc, ops, results)
		})
	}
	switch {
	case err == nil:
	case len(ops) == 1 || !begun || ctx.Err() != nil:
		for i := range results {
			results[i] = fmt.Errorf("write %s: %w", collection, err)
		}
	default:
		for i := range ops {
			results[i] = s.Write(ctx, collection, ops[i:i+1])[0]
		}
	}
	return results
}

// apply does the ops one after the other and notes the result of each. Its own error means
// that the transaction cannot be trusted any more.
func (s *sqlite) apply(ctx context.Context, sc Schema, ops []Op, results []error) error {
	w := sqliteWriter{sqlite: s, schema: sc, fields: sc.indexed()}
	for i, op := range ops {
		if results[i] = sc.checkOp(op); results[i] != nil {
			continue
		}
		results[i] = w.apply(ctx, op)
		if w.broken != nil {
			return w.broken
		}
	}
	return nil
}

// sqliteWriter applies ops within one transaction. broken is set when the transaction as a
// whole cannot be trusted any more.
type sqliteWriter struct {
	*sqlite
	schema Schema
	fields []string
	broken error
}

func (w *sqliteWriter) apply(ctx context.Context, op Op) error {
	switch op.Kind {
	case Insert:
		return w.insert(ctx, op.Document)
	case Update:
		return w.update(ctx, op.Document)
	}
	_, err := w.exec(ctx, fmt.Sprintf(`DELETE FROM %q WHERE id = ?`, w.schema.Collection), op.Document.ID)
	return err
}

func (w *sqliteWriter) exec(ctx context.Context, text string, args ...any) (changed int64, err error) {
	statement, err := w.statement(ctx, text)
	if err == nil {
		var result sql.Result
		if result, err = statement.ExecContext(ctx, args...); err == nil {
			return result.RowsAffected()
		}
	}
	w.broken = err
	return 0, err
}

// one reads a single number.
func (w *sqliteWriter) one(ctx context.Context, text string, args ...any) (n int64, err error) {
	statement, err := w.statement(ctx, text)
	if err == nil {
		err = statement.QueryRowContext(ctx, args...).Scan(&n)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		w.broken = err
	}
	return n, err
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
	text := fmt.Sprintf(`INSERT INTO %q (id, version, body%s) VALUES (?, 1, ?%s) ON CONFLICT DO NOTHING`, w.schema.Collection, names, marks)
	n, err := w.exec(ctx, text, append([]any{d.ID, d.Body}, w.values(d)...)...)
	if err != nil || n == 1 {
		return err
	}
	_, err = w.version(ctx, d.ID)
	switch {
	case err == nil:
		return ErrExists
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	return w.duplicate(ctx, d)
}

func (w *sqliteWriter) update(ctx context.Context, d Document) error {
	set := ""
	for _, f := range w.fields {
		set += fmt.Sprintf(`, "f_%s" = ?`, f)
	}
	text := fmt.Sprintf(`UPDATE OR IGNORE %q SET version = version + 1, body = ?%s WHERE id = ? AND version = ?`, w.schema.Collection, set)
	args := append([]any{d.Body}, w.values(d)...)
	n, err := w.exec(ctx, text, append(args, d.ID, d.Version)...)
	if err != nil || n == 1 {
		return err
	}
	version, err := w.version(ctx, d.ID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	case version != d.Version:
		return ErrConflict
	}
	return w.duplicate(ctx, d)
}

func (w *sqliteWriter) version(ctx context.Context, id string) (int64, error) {
	return w.one(ctx, fmt.Sprintf(`SELECT version FROM %q WHERE id = ?`, w.schema.Collection), id)
}

// duplicate finds the unique fields that kept a document out.
func (w *sqliteWriter) duplicate(ctx context.Context, d Document) error {
	for _, unique := range w.schema.Unique {
		args := make([]any, 0, len(unique)+1)
		for _, f := range unique {
			if value, has := d.Fields[f]; has {
				args = append(args, value)
			}
		}
		if len(args) < len(unique) {
			continue
		}
		n, err := w.one(ctx, fmt.Sprintf(`SELECT count(*) FROM %q WHERE %s = ? AND id <> ?`,
			w.schema.Collection, columns(unique, " = ? AND ")), append(args, d.ID)...)
		if err != nil {
			return err
		}
		if n > 0 {
			return &DuplicateError{Fields: unique}
		}
	}
	return fmt.Errorf("write %s: refused for no visible reason", w.schema.Collection)
}
