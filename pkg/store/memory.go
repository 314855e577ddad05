package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a backend that keeps documents in this process and nowhere else: for tests. Close
// loses nothing.
type Memory struct {
	mu          sync.Mutex
	collections map[string]*collection
}

type collection struct {
	schema    Schema
	documents map[string]Document
	taken     []map[string]string // for each unique set: its values to the id that has them
}

// NewMemory returns a backend without collections.
func NewMemory() *Memory { return &Memory{collections: map[string]*collection{}} }

// Ensure implements Backend.
func (m *Memory) Ensure(_ context.Context, schemas ...Schema) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, sc := range schemas {
		if err := sc.check(); err != nil {
			return err
		}
		c := m.collections[sc.Collection]
		if c == nil {
			c = &collection{documents: map[string]Document{}}
			m.collections[sc.Collection] = c
		}
		unique, index := missingSets(c.schema.Unique, sc.Unique), missingSets(c.schema.Index, sc.Index)
		c.schema = Schema{Collection: sc.Collection, Unique: append(c.schema.Unique, unique...), Index: append(c.schema.Index, index...)}
		if err := c.claimAll(); err != nil {
			return fmt.Errorf("prepare collection %s: %w", sc.Collection, err)
		}
	}
	return nil
}

// Verify implements Backend.
func (m *Memory) Verify(_ context.Context, schemas ...Schema) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var problems []string
	for _, sc := range schemas {
		c := m.collections[sc.Collection]
		if c == nil {
			problems = append(problems, "collection "+sc.Collection)
			continue
		}
		for _, set := range append(missingSets(c.schema.Unique, sc.Unique), missingSets(c.schema.Index, sc.Index)...) {
			problems = append(problems, "index "+sc.Collection+"_"+strings.Join(set, "_"))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(problems, ", "))
	}
	return nil
}

func missingSets(has, want [][]string) (missing [][]string) {
	for _, set := range want {
		if !slices.ContainsFunc(has, func(h []string) bool { return slices.Equal(h, set) }) {
			missing = append(missing, set)
		}
	}
	return missing
}

// Write implements Backend.
func (m *Memory) Write(ctx context.Context, collection string, ops []Op) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := make([]error, len(ops))
	c, err := m.collection(collection)
	for i, op := range ops {
		switch {
		case err != nil:
			errs[i] = err
		case ctx.Err() != nil:
			errs[i] = ctx.Err()
		default:
			errs[i] = c.write(op)
		}
	}
	return errs
}

func (m *Memory) collection(name string) (*collection, error) {
	if c := m.collections[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("collection %s is not there", name)
}

func (c *collection) write(op Op) error {
	if err := c.schema.checkOp(op); err != nil {
		return err
	}
	d := op.Document
	old, exists := c.documents[d.ID]
	switch {
	case op.Kind == Delete:
		c.release(old)
		delete(c.documents, d.ID)
		return nil
	case op.Kind == Insert && exists:
		return ErrExists
	case op.Kind == Update && !exists:
		return ErrNotFound
	case op.Kind == Update && old.Version != d.Version:
		return ErrConflict
	}
	if set := c.collision(d); set != nil {
		return &DuplicateError{Fields: set}
	}
	c.release(old)
	d.Version, d.Fields, d.Body = old.Version+1, maps.Clone(d.Fields), slices.Clone(d.Body)
	c.documents[d.ID] = d
	c.claim(d)
	return nil
}

// collision returns a unique set of whose values another document has, or nil.
func (c *collection) collision(d Document) []string {
	for i, set := range c.schema.Unique {
		if id, taken := c.taken[i][valuesOf(d, set)]; taken && id != d.ID {
			return set
		}
	}
	return nil
}

func (c *collection) claim(d Document) {
	for i, set := range c.schema.Unique {
		if values := valuesOf(d, set); values != "" {
			c.taken[i][values] = d.ID
		}
	}
}

func (c *collection) release(d Document) {
	for i, set := range c.schema.Unique {
		delete(c.taken[i], valuesOf(d, set))
	}
}

// claimAll makes the unique indexes anew.
func (c *collection) claimAll() error {
	c.taken = make([]map[string]string, len(c.schema.Unique))
	for i := range c.taken {
		c.taken[i] = map[string]string{}
	}
	for _, d := range c.documents {
		if set := c.collision(d); set != nil {
			return &DuplicateError{Fields: set}
		}
		c.claim(d)
	}
	return nil
}

// valuesOf tells the values of a set apart; "" where the document lacks one of its fields.
func valuesOf(d Document, set []string) string {
	var values strings.Builder
	for _, field := range set {
		v, ok := d.Fields[field]
		if !ok {
			return ""
		}
		fmt.Fprintf(&values, "%q ", fmt.Sprint(v))
	}
	return values.String()
}

// Get implements Backend.
func (m *Memory) Get(ctx context.Context, collection string, ids ...string) (map[string]Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.collection(collection)
	if err != nil || ctx.Err() != nil {
		return nil, cmp.Or(err, ctx.Err())
	}
	found := map[string]Document{}
	for _, id := range ids {
		if d, ok := c.documents[id]; ok {
			found[id] = d
		}
	}
	return found, nil
}

// Find implements Backend.
func (m *Memory) Find(ctx context.Context, collection string, q Query) (page []Document, next string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.collection(collection)
	if err != nil || ctx.Err() != nil {
		return nil, "", cmp.Or(err, ctx.Err())
	}
	if err := c.schema.checkQuery(q); err != nil {
		return nil, "", err
	}
	after, err := q.after(collection)
	if err != nil {
		return nil, "", err
	}
	for _, d := range c.sorted(q) {
		if after == nil || q.compare(d, Document{ID: after.ID, Fields: Fields{q.field(): after.Value}}) > 0 {
			page = append(page, d)
		}
	}
	if len(page) <= q.Limit {
		return page, "", nil
	}
	last := page[q.Limit-1]
	return page[:q.Limit], q.next(collection, last.Fields[q.field()], last.ID), nil
}

func (q Query) field() string {
	field, _ := q.order()
	return field
}

// sorted returns the documents that a query selects, in its order.
func (c *collection) sorted(q Query) []Document {
	var all []Document
	for _, d := range c.documents {
		if q.selects(d) {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, q.compare)
	return all
}

func (q Query) selects(d Document) bool {
	for field, want := range q.Where {
		if d.Fields[field] != want {
			return false
		}
	}
	if q.Range == nil {
		return true
	}
	v, ok := d.Fields[q.Range.Field].(int64)
	return ok && q.Range.From <= v && v <= q.Range.To
}

func (q Query) compare(a, b Document) int {
	field, descending := q.order()
	result := cmp.Or(compareValues(a.Fields[field], b.Fields[field]), cmp.Compare(a.ID, b.ID))
	if descending {
		return -result
	}
	return result
}

// compareValues puts an absent value before all others.
func compareValues(a, b any) int {
	switch x := a.(type) {
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y)
		}
	}
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	}
	return 1
}

// Count implements Backend.
func (m *Memory) Count(ctx context.Context, collection string, where Fields) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.collection(collection)
	if err != nil || ctx.Err() != nil {
		return 0, cmp.Or(err, ctx.Err())
	}
	if err := c.schema.checkFields(where); err != nil {
		return 0, err
	}
	var n int64
	for _, d := range c.documents {
		if (Query{Where: where}).selects(d) {
			n++
		}
	}
	return n, nil
}

// Tally implements Backend.
func (m *Memory) Tally(ctx context.Context, collection string, tallies []Tally) ([]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.collection(collection)
	if err == nil {
		err = cmp.Or(ctx.Err(), c.schema.checkTallies(tallies))
	}
	if err != nil {
		return nil, err
	}
	counts := make([]int64, len(tallies))
	for i, t := range tallies {
		var q Query
		q.Where, q.Range = t.conditions()
		for _, d := range c.documents {
			if counts[i] < int64(t.Most) && q.selects(d) {
				counts[i]++
			}
		}
	}
	return counts, nil
}

// Purge implements Backend.
func (m *Memory) Purge(context.Context) error { return nil }

// Ping implements Backend.
func (m *Memory) Ping(context.Context) error { return nil }

// Close implements Backend.
func (m *Memory) Close() error { return nil }
