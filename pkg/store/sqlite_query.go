package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (s *sqlite) Get(ctx context.Context, collection string, ids ...string) (map[string]Document, error) {
	found := make(map[string]Document, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	rows, err := s.readers.QueryContext(ctx, fmt.Sprintf(`SELECT id, version, body FROM %q WHERE id IN (?%s)`,
		collection, strings.Repeat(", ?", len(ids)-1)), args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", collection, err)
	}
	defer rows.Close()
	for rows.Next() {
		var d Document
		if err := rows.Scan(&d.ID, &d.Version, &d.Body); err != nil {
			return nil, fmt.Errorf("read %s: %w", collection, err)
		}
		found[d.ID] = d
	}
	return found, rows.Err()
}

// cursor is where a page ended: the value it is ordered by and the id.
type cursor struct {
	Value any    `json:"v"`
	ID    string `json:"i"`
}

func (c cursor) encode() string {
	raw, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// ErrCursor is returned by Find for a cursor that Find did not give.
var ErrCursor = errors.New("not a cursor of this query")

func decodeCursor(s string) (cursor, error) {
	var c cursor
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return c, ErrCursor
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&c); err != nil || c.ID == "" {
		return c, ErrCursor
	}
	if n, ok := c.Value.(json.Number); ok {
		if c.Value, err = n.Int64(); err != nil {
			return c, ErrCursor
		}
	}
	return c, nil
}

func (s *sqlite) Find(ctx context.Context, collection string, q Query) (page []Document, next string, err error) {
	if q.Limit < 1 || q.Limit > 1000 {
		return nil, "", fmt.Errorf("find in %s: limit %d is not within 1 to 1000", collection, q.Limit)
	}
	sc, err := s.schema(collection)
	if err != nil {
		return nil, "", err
	}
	clause, args, err := sc.where(q.Where, q.Range)
	if err != nil {
		return nil, "", err
	}
	field, descending := strings.CutPrefix(q.Order, "-")
	order, compare, direction := "id", ">", ""
	if field != "" {
		if !slices.Contains(sc.fieldsOf(), field) {
			return nil, "", fmt.Errorf("find in %s: %s is not an indexed field", collection, field)
		}
		order = columns([]string{field}, "")
	}
	if descending {
		compare, direction = "<", " DESC"
	}
	if q.After != "" {
		c, err := decodeCursor(q.After)
		if err != nil {
			return nil, "", err
		}
		if field == "" {
			clause, args = clause+" AND id "+compare+" ?", append(args, c.ID)
		} else {
			clause, args = clause+fmt.Sprintf(" AND (%s, id) %s (?, ?)", order, compare), append(args, c.Value, c.ID)
		}
	}
	by := order + direction
	if field != "" {
		by += ", id" + direction
	}
	rows, err := s.readers.QueryContext(ctx, fmt.Sprintf(`SELECT id, version, body, %s FROM %q WHERE %s ORDER BY %s LIMIT %d`,
		order, collection, clause, by, q.Limit+1), args...)
	if err != nil {
		return nil, "", fmt.Errorf("find in %s: %w", collection, err)
	}
	defer rows.Close()
	var last cursor
	for rows.Next() {
		if len(page) == q.Limit {
			return page, last.encode(), nil
		}
		var d Document
		if err := rows.Scan(&d.ID, &d.Version, &d.Body, &last.Value); err != nil {
			return nil, "", fmt.Errorf("find in %s: %w", collection, err)
		}
		last.ID = d.ID
		page = append(page, d)
	}
	return page, "", rows.Err()
}

func (s *sqlite) Count(ctx context.Context, collection string, where Fields) (int64, error) {
	sc, err := s.schema(collection)
	if err != nil {
		return 0, err
	}
	clause, args, err := sc.where(where, nil)
	if err != nil {
		return 0, err
	}
	var n int64
	err = s.readers.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM %q WHERE %s`, collection, clause), args...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count in %s: %w", collection, err)
	}
	return n, nil
}

func (sc Schema) where(equal Fields, r *Range) (clause string, args []any, err error) {
	known := sc.fieldsOf()
	clause = "1"
	for _, f := range slices.Sorted(maps.Keys(equal)) {
		if !slices.Contains(known, f) {
			return "", nil, fmt.Errorf("query of %s: %s is not an indexed field", sc.Collection, f)
		}
		clause, args = clause+fmt.Sprintf(` AND "f_%s" = ?`, f), append(args, equal[f])
	}
	if r != nil {
		if !slices.Contains(known, r.Field) {
			return "", nil, fmt.Errorf("query of %s: %s is not an indexed field", sc.Collection, r.Field)
		}
		clause, args = clause+fmt.Sprintf(` AND "f_%s" BETWEEN ? AND ?`, r.Field), append(args, r.From, r.To)
	}
	return clause, args, nil
}
