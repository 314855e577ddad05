package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/usherhq/usher/pkg/group"
)

// groupMax bounds how many concurrent calls share one call of the backend.
const groupMax = 512

// Docs is a collection of values of one type, kept as JSON. Its concurrent writes share a
// transaction, its concurrent reads a query. Safe for concurrent use.
type Docs[T any] struct {
	backend    Backend
	collection string
	fields     func(T) Fields
	writes     *group.Group[Op, struct{}]
	reads      *group.Group[string, *Document]
	tallies    *group.Group[[]Tally, []int64]
}

// Stored is a value as it was read; an update of it is guarded by the version.
type Stored[T any] struct {
	ID      string
	Version int64
	Value   T
}

// NewDocs returns the collection of a schema that Ensure has made. fields gives a value's
// indexed fields.
func NewDocs[T any](b Backend, s Schema, fields func(T) Fields) *Docs[T] {
	d := &Docs[T]{backend: b, collection: s.Collection, fields: fields}
	d.writes = group.New(0, groupMax, d.writeBatch)
	d.reads = group.New(0, groupMax, d.readBatch)
	d.tallies = group.New(0, groupMax, d.tallyBatch)
	return d
}

// tallyBatch counts what several callers ask for, and what they ask alike once.
func (d *Docs[T]) tallyBatch(ctx context.Context, asked [][]Tally) []group.Result[[]int64] {
	var all []Tally
	index := map[Tally]int{}
	for _, tallies := range asked {
		for _, t := range tallies {
			if _, known := index[t]; !known {
				index[t] = len(all)
				all = append(all, t)
			}
		}
	}
	counts, err := d.backend.Tally(ctx, d.collection, all)
	results := make([]group.Result[[]int64], len(asked))
	for i, tallies := range asked {
		results[i].Err = err
		for _, t := range tallies {
			if err == nil {
				results[i].Value = append(results[i].Value, counts[index[t]])
			}
		}
	}
	return results
}

func (d *Docs[T]) readBatch(ctx context.Context, ids []string) []group.Result[*Document] {
	results := make([]group.Result[*Document], len(ids))
	found, err := d.backend.Get(ctx, d.collection, ids...)
	for i, id := range ids {
		if doc, ok := found[id]; ok {
			results[i].Value = &doc
		}
		results[i].Err = err
	}
	return results
}

func (d *Docs[T]) writeBatch(ctx context.Context, ops []Op) []group.Result[struct{}] {
	results := make([]group.Result[struct{}], len(ops))
	for i, err := range d.backend.Write(ctx, d.collection, ops) {
		results[i].Err = err
	}
	return results
}

func (d *Docs[T]) write(ctx context.Context, kind OpKind, s Stored[T]) error {
	body, err := json.Marshal(s.Value)
	if err != nil {
		return fmt.Errorf("encode document of %s: %w", d.collection, err)
	}
	doc := Document{ID: s.ID, Version: s.Version, Fields: d.fields(s.Value), Body: body}
	_, err = d.writes.Do(ctx, Op{Kind: kind, Document: doc})
	return err
}

// Insert stores v under a new id; ErrExists or a DuplicateError say why not.
func (d *Docs[T]) Insert(ctx context.Context, id string, v T) error {
	return d.write(ctx, Insert, Stored[T]{ID: id, Value: v})
}

// InsertOrGet stores v under id unless a document is there: then that one is returned.
func (d *Docs[T]) InsertOrGet(ctx context.Context, id string, v T) (s Stored[T], inserted bool, err error) {
	err = d.Insert(ctx, id, v)
	switch {
	case err == nil:
		return Stored[T]{ID: id, Version: 1, Value: v}, true, nil
	case errors.Is(err, ErrExists):
		s, err = d.Get(ctx, id)
	}
	return s, false, err
}

// Once returns the document under id: the one that is there, else the one that decide makes,
// stored. decide runs in either case, so that the usual first time costs one write; where it
// fails, a document that is there counts all the same.
func (d *Docs[T]) Once(ctx context.Context, id string, decide func() (T, error)) (Stored[T], error) {
	v, err := decide()
	if err == nil {
		stored, _, err := d.InsertOrGet(ctx, id, v)
		return stored, err
	}
	stored, absent := d.Get(ctx, id)
	switch {
	case absent == nil:
		return stored, nil
	case errors.Is(absent, ErrNotFound):
		return Stored[T]{}, err
	}
	return Stored[T]{}, errors.Join(err, absent)
}

// Get returns a document or ErrNotFound.
func (d *Docs[T]) Get(ctx context.Context, id string) (Stored[T], error) {
	doc, err := d.reads.Do(ctx, id)
	if err != nil {
		return Stored[T]{}, err
	}
	if doc == nil {
		return Stored[T]{}, ErrNotFound
	}
	return d.decode(*doc)
}

// GetMany returns the documents that exist, by id.
func (d *Docs[T]) GetMany(ctx context.Context, ids ...string) (map[string]Stored[T], error) {
	documents, err := d.backend.Get(ctx, d.collection, ids...)
	if err != nil {
		return nil, err
	}
	found := make(map[string]Stored[T], len(documents))
	for id, doc := range documents {
		s, err := d.decode(doc)
		if err != nil {
			return nil, err
		}
		found[id] = s
	}
	return found, nil
}

// Update replaces the document that s was read as and returns it with its new version.
// ErrConflict means that it has changed since: read again and decide again.
func (d *Docs[T]) Update(ctx context.Context, s Stored[T]) (Stored[T], error) {
	if err := d.write(ctx, Update, s); err != nil {
		return Stored[T]{}, err
	}
	s.Version++
	return s, nil
}

// Put stores v under id, whatever is there.
func (d *Docs[T]) Put(ctx context.Context, id string, v T) error {
	_, err := d.PutIf(ctx, id, v, func(T) bool { return true })
	return err
}

// PutIf stores v under id unless a document is there that must stay; put reports whether it did.
func (d *Docs[T]) PutIf(ctx context.Context, id string, v T, replaceable func(there T) bool) (put bool, err error) {
	for {
		stored, inserted, err := d.InsertOrGet(ctx, id, v)
		if err == nil && !inserted {
			if !replaceable(stored.Value) {
				return false, nil
			}
			stored.Value = v
			_, err = d.Update(ctx, stored)
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
			return err == nil, err
		}
	}
}

// Delete removes a document; it may be absent.
func (d *Docs[T]) Delete(ctx context.Context, id string) error {
	_, err := d.writes.Do(ctx, Op{Kind: Delete, Document: Document{ID: id}})
	return err
}

// Find returns one page and the cursor of the next, "" after the last.
func (d *Docs[T]) Find(ctx context.Context, q Query) (page []Stored[T], next string, err error) {
	documents, next, err := d.backend.Find(ctx, d.collection, q)
	if err != nil {
		return nil, "", err
	}
	for _, doc := range documents {
		s, err := d.decode(doc)
		if err != nil {
			return nil, "", err
		}
		page = append(page, s)
	}
	return page, next, nil
}

// Count returns how many documents have these fields.
func (d *Docs[T]) Count(ctx context.Context, where Fields) (int64, error) {
	return d.backend.Count(ctx, d.collection, where)
}

// Tally returns a count for each.
func (d *Docs[T]) Tally(ctx context.Context, tallies ...Tally) ([]int64, error) {
	if len(tallies) == 0 {
		return nil, nil
	}
	return d.tallies.Do(ctx, tallies)
}

func (d *Docs[T]) decode(doc Document) (Stored[T], error) {
	s := Stored[T]{ID: doc.ID, Version: doc.Version}
	if err := json.Unmarshal(doc.Body, &s.Value); err != nil {
		// The cause is left out: encoding/json quotes the data.
		return Stored[T]{}, fmt.Errorf("decode document of %s: not of its type", d.collection)
	}
	return s, nil
}
