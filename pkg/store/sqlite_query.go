package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
)

// getMax is how many documents one statement reads.
const getMax = 512

func (s *sqlite) Get(ctx context.Context, collection string, ids ...string) (map[string]Document, error) {
	found := make(map[string]Document, len(ids))
	for chunk := range slices.Chunk(ids, getMax) {
		if err := s.get(ctx, collection, chunk, found); err != nil {
			return nil, fmt.Errorf("read %s: %w", collection, err)
		}
	}
	return found, nil
}

func (s *sqlite) get(ctx context.Context, collection string, ids []string, found map[string]Document) error {
	args := make([]any, 1<<bits.Len(uint(len(ids)-1))) // few lengths, and so few statements
	for i := range args {
		args[i] = ids[min(i, len(ids)-1)]
	}
	statement, err := s.query(ctx, fmt.Sprintf(`SELECT id, version, body FROM %q WHERE id IN (?%s)`,
		collection, strings.Repeat(", ?", len(args)-1)))
	if err != nil {
		return err
	}
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var d Document
		if err := rows.Scan(&d.ID, &d.Version, &d.Body); err != nil {
			return err
		}
		found[d.ID] = d
	}
	return rows.Err()
}

// query returns a prepared statement of the readers.
func (s *sqlite) query(ctx context.Context, text string) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if prepared, ok := s.queries[text]; ok {
		return prepared, nil
	}
	prepared, err := s.readers.PrepareContext(ctx, text)
	if err == nil {
		s.queries[text] = prepared
	}
	return prepared, err
}

func (s *sqlite) Find(ctx context.Context, collection string, q Query) (page []Document, next string, err error) {
	sc, err := s.schema(collection)
	if err != nil {
		return nil, "", err
	}
	if err := sc.checkQuery(q); err != nil {
		return nil, "", err
	}
	after, err := q.after(collection)
	if err != nil {
		return nil, "", err
	}
	clause, args := where(q.Where, q.Range)
	beyond, more := q.beyond(after)
	order, by := q.orderBy()
	statement, err := s.query(ctx, fmt.Sprintf(`SELECT id, version, body, %s FROM %q WHERE %s%s ORDER BY %s LIMIT ?`, order, collection, clause, beyond, by))
	if err != nil {
		return nil, "", fmt.Errorf("find in %s: %w", collection, err)
	}
	rows, err := statement.QueryContext(ctx, append(append(args, more...), q.Limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("find in %s: %w", collection, err)
	}
	defer rows.Close()
	var last any
	for rows.Next() {
		if len(page) == q.Limit {
			return page, q.next(collection, last, page[len(page)-1].ID), nil
		}
		var d Document
		if err := rows.Scan(&d.ID, &d.Version, &d.Body, &last); err != nil {
			return nil, "", fmt.Errorf("find in %s: %w", collection, err)
		}
		page = append(page, d)
	}
	return page, "", rows.Err()
}

// orderBy returns the column that documents are ordered by, and the whole order. SQLite sorts
// NULL, here a document without the field, before every value.
func (q Query) orderBy() (column, by string) {
	field, descending := q.order()
	direction := ""
	if descending {
		direction = " DESC"
	}
	if field == "" {
		return "id", "id" + direction
	}
	column = columns([]string{field}, "")
	return column, column + direction + ", id" + direction
}

// beyond returns the condition of what comes after a cursor.
func (q Query) beyond(c *cursor) (clause string, args []any) {
	if c == nil {
		return "", nil
	}
	column, _ := q.orderBy()
	_, descending := q.order()
	switch {
	case column == "id" && descending:
		return " AND id < ?", []any{c.ID}
	case column == "id":
		return " AND id > ?", []any{c.ID}
	case c.Value == nil && descending:
		return fmt.Sprintf(" AND %s IS NULL AND id < ?", column), []any{c.ID}
	case c.Value == nil:
		return fmt.Sprintf(" AND (%[1]s IS NOT NULL OR id > ?)", column), []any{c.ID}
	case descending:
		return fmt.Sprintf(" AND ((%[1]s, id) < (?, ?) OR %[1]s IS NULL)", column), []any{c.Value, c.ID}
	}
	return fmt.Sprintf(" AND (%s, id) > (?, ?)", column), []any{c.Value, c.ID}
}

func (s *sqlite) Count(ctx context.Context, collection string, equal Fields) (int64, error) {
	sc, err := s.schema(collection)
	if err != nil {
		return 0, err
	}
	if err := sc.checkFields(equal); err != nil {
		return 0, err
	}
	clause, args := where(equal, nil)
	var n int64
	err = s.readers.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM %q WHERE %s`, collection, clause), args...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count in %s: %w", collection, err)
	}
	return n, nil
}

func (s *sqlite) Tally(ctx context.Context, collection string, tallies []Tally) ([]int64, error) {
	sc, err := s.schema(collection)
	if err != nil {
		return nil, err
	}
	if err := sc.checkTallies(tallies); err != nil {
		return nil, err
	}
	counts := make([]int64, len(tallies))
	for i, t := range tallies {
		clause, args := where(t.conditions())
		// The bound is part of the text: SQLite prepares a statement again whose LIMIT is bound anew.
		statement, err := s.query(ctx, fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM %q WHERE %s LIMIT %d)`, collection, clause, t.Most))
		if err == nil {
			err = statement.QueryRowContext(ctx, args...).Scan(&counts[i])
		}
		if err != nil {
			return nil, fmt.Errorf("tally in %s: %w", collection, err)
		}
	}
	return counts, nil
}

func where(equal Fields, r *Range) (clause string, args []any) {
	clause = "1"
	for _, f := range slices.Sorted(maps.Keys(equal)) {
		clause, args = clause+fmt.Sprintf(` AND "f_%s" = ?`, f), append(args, equal[f])
	}
	if r != nil {
		clause, args = clause+fmt.Sprintf(` AND "f_%s" BETWEEN ? AND ?`, r.Field), append(args, r.From, r.To)
	}
	return clause, args
}
