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
	return d
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
	if err == nil {
		return Stored[T]{ID: id, Version: 1, Value: v}, true, nil
	}
	if !errors.Is(err, ErrExists) {
		return Stored[T]{}, false, err
	}
	s, err = d.Get(ctx, id)
	return s, false, err
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

func (d *Docs[T]) decode(doc Document) (Stored[T], error) {
	s := Stored[T]{ID: doc.ID, Version: doc.Version}
	if err := json.Unmarshal(doc.Body, &s.Value); err != nil {
		// The cause is left out: encoding/json quotes the data.
		return Stored[T]{}, fmt.Errorf("decode document of %s: not of its type", d.collection)
	}
	return s, nil
}
