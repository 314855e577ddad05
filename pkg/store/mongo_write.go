package store

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Write sends all ops as one unordered bulk. The server tells which of them failed, but not
// which of the guarded updates matched nothing: each write leaves its own token in the
// document, and where some matched nothing the documents are read back.
func (s *mongoStore) Write(ctx context.Context, collection string, ops []Op) []error {
	results := make([]error, len(ops))
	sc, err := s.schema(collection)
	if err != nil {
		return all(results, err)
	}
	w := &mongoBulk{store: s, schema: sc, ops: ops, results: results}
	for i, op := range ops {
		if results[i] = sc.checkOp(op); results[i] == nil {
			w.add(i, op)
		}
	}
	if len(w.models) == 0 {
		return results
	}
	done, err := s.collection(sc).BulkWrite(ctx, w.models, options.BulkWrite().SetOrdered(false))
	var failed mongo.BulkWriteException
	switch {
	case err == nil:
	case !errors.As(err, &failed) || failed.WriteConcernError != nil || len(failed.WriteErrors) == 0:
		// Without the majority's word nothing is confirmed.
		w.settle(fmt.Errorf("write %s: %w", collection, plain(err)))
		return results
	}
	for _, f := range failed.WriteErrors {
		w.refused(ctx, f)
	}
	if done != nil && done.MatchedCount < int64(w.updates) {
		w.readBack(ctx)
	}
	return results
}

func all(results []error, err error) []error {
	for i := range results {
		results[i] = err
	}
	return results
}

// mongoBulk is one bulk under way.
type mongoBulk struct {
	store   *mongoStore
	schema  Schema
	ops     []Op
	results []error

	models  []mongo.WriteModel
	of      []int // the op of each model
	tokens  []bson.ObjectID
	updates int
}

func (w *mongoBulk) add(i int, op Op) {
	d, token := op.Document, bson.NewObjectID()
	fields := map[string]any{}
	for name, value := range d.Fields {
		fields[name] = value
	}
	var model mongo.WriteModel
	switch op.Kind {
	case Insert:
		model = mongo.NewInsertOneModel().SetDocument(mongoDocument{ID: d.ID, Version: 1, Token: token, Fields: fields, Body: string(d.Body)})
	case Update:
		w.updates++
		next := mongoDocument{ID: d.ID, Version: d.Version + 1, Token: token, Fields: fields, Body: string(d.Body)}
		model = mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: d.ID}, {Key: "v", Value: d.Version}}).SetReplacement(next)
	case Delete:
		model = mongo.NewDeleteOneModel().SetFilter(bson.D{{Key: "_id", Value: d.ID}})
	}
	w.models, w.of, w.tokens = append(w.models, model), append(w.of, i), append(w.tokens, token)
}

// settle gives every op that was sent the same result.
func (w *mongoBulk) settle(err error) {
	for _, i := range w.of {
		w.results[i] = err
	}
}

const duplicateKey = 11000 // MongoDB error DuplicateKey

// refused judges an op that the server refused. What it says of a duplicate is not relied on:
// the documents tell.
func (w *mongoBulk) refused(ctx context.Context, f mongo.BulkWriteError) {
	if f.Index < 0 || f.Index >= len(w.of) {
		w.settle(errors.New("write: MongoDB reported an error of an unknown op"))
		return
	}
	i := w.of[f.Index]
	op := w.ops[i]
	if f.Code != duplicateKey {
		w.results[i] = fmt.Errorf("write %s: MongoDB error code %d", w.schema.Collection, f.Code)
		return
	}
	if op.Kind == Insert {
		found, err := w.store.Get(ctx, w.schema.Collection, op.Document.ID)
		if err != nil {
			w.results[i] = err
			return
		}
		if _, exists := found[op.Document.ID]; exists {
			w.results[i] = ErrExists
			return
		}
	}
	w.results[i] = w.duplicate(ctx, op.Document)
}

// duplicate finds the unique fields that kept a document out.
func (w *mongoBulk) duplicate(ctx context.Context, d Document) error {
	for _, unique := range w.schema.Unique {
		filter := bson.D{{Key: "_id", Value: bson.M{"$ne": d.ID}}}
		for _, f := range unique {
			if value, has := d.Fields[f]; has {
				filter = append(filter, bson.E{Key: "f." + f, Value: value})
			}
		}
		if len(filter) <= len(unique) {
			continue
		}
		n, err := w.store.collection(w.schema).CountDocuments(ctx, filter, options.Count().SetLimit(1))
		if err != nil {
			return fmt.Errorf("find the duplicate in %s: %w", w.schema.Collection, plain(err))
		}
		if n > 0 {
			return &DuplicateError{Fields: unique}
		}
	}
	return fmt.Errorf("write %s: refused because of a document that is gone", w.schema.Collection)
}

// readBack finds out which updates matched nothing.
func (w *mongoBulk) readBack(ctx context.Context) {
	var ids []string
	for _, i := range w.of {
		if w.ops[i].Kind == Update && w.results[i] == nil {
			ids = append(ids, w.ops[i].Document.ID)
		}
	}
	found, err := w.store.read(ctx, w.schema, ids)
	for m, i := range w.of {
		if op := w.ops[i]; op.Kind == Update && w.results[i] == nil {
			w.results[i] = err
			if err == nil {
				w.results[i] = judge(op.Document, w.tokens[m], found)
			}
		}
	}
}

// judge tells from the stored document whether an update took effect.
func judge(d Document, token bson.ObjectID, found map[string]mongoDocument) error {
	stored, exists := found[d.ID]
	switch {
	case !exists:
		return ErrNotFound
	case stored.Token == token:
		return nil
	case stored.Version <= d.Version+1:
		return ErrConflict
	}
	return errors.New("the document was changed again: whether this update took effect is unknown")
}
