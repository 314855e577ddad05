package store

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Bounds of one bulk. The driver must not split its commands (at 48 MB or 100,000 ops): of a
// split one it reports only the last write-concern error, and may report none.
const (
	bulkOps   = 1000
	bulkBytes = 16 << 20
)

// Write sends the ops in unordered bulks, one after the other. An id occurs once in a bulk, so
// that ops on one document take effect in their order.
func (s *mongoStore) Write(ctx context.Context, collection string, ops []Op) []error {
	results := make([]error, len(ops))
	sc, err := s.schema(collection)
	if err != nil {
		return all(results, err)
	}
	w := &mongoBulk{store: s, schema: sc, ops: ops, results: results}
	for i, op := range ops {
		if results[i] = sc.checkOp(op); results[i] != nil {
			continue
		}
		if !w.fits(op) {
			w.send(ctx)
			w = &mongoBulk{store: s, schema: sc, ops: ops, results: results}
		}
		w.add(i, op)
	}
	w.send(ctx)
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
	ids     map[string]bool
	bytes   int
	updates int
}

func (w *mongoBulk) fits(op Op) bool {
	return !w.ids[op.Document.ID] && len(w.models) < bulkOps && w.bytes+len(op.Document.Body) <= bulkBytes
}

func (w *mongoBulk) add(i int, op Op) {
	d := op.Document
	next := mongoDocument{ID: d.ID, Version: 1, Token: bson.NewObjectID(), Fields: d.Fields, Body: string(d.Body)}
	if next.Fields == nil {
		next.Fields = Fields{}
	}
	var model mongo.WriteModel
	switch op.Kind {
	case Insert:
		model = mongo.NewInsertOneModel().SetDocument(next)
	case Update:
		w.updates++
		next.Version = d.Version + 1
		model = mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: d.ID}, {Key: "v", Value: d.Version}}).SetReplacement(next)
	case Delete:
		model = mongo.NewDeleteOneModel().SetFilter(bson.D{{Key: "_id", Value: d.ID}})
	}
	if w.ids == nil {
		w.ids = map[string]bool{}
	}
	w.ids[d.ID] = true
	w.bytes += len(d.Body)
	w.models, w.of, w.tokens = append(w.models, model), append(w.of, i), append(w.tokens, next.Token)
}

func (w *mongoBulk) send(ctx context.Context) {
	if len(w.models) == 0 {
		return
	}
	done, err := w.store.collection(w.schema).BulkWrite(ctx, w.models, options.BulkWrite().SetOrdered(false))
	var failed mongo.BulkWriteException
	if err != nil && (!errors.As(err, &failed) || failed.WriteConcernError != nil || len(failed.WriteErrors) == 0) {
		// Without the majority's word nothing is confirmed.
		for _, i := range w.of {
			w.results[i] = fmt.Errorf("write %s: %w", w.schema.Collection, plain(err))
		}
		return
	}
	w.refused(ctx, failed.WriteErrors)
	if done.MatchedCount < int64(w.updates) {
		w.unmatched(ctx, int(done.MatchedCount))
	}
}

const duplicateKey = 11000 // MongoDB error DuplicateKey

// refused judges the ops that the server refused. What it says of a duplicate is not relied
// on: the documents tell.
func (w *mongoBulk) refused(ctx context.Context, failures []mongo.BulkWriteError) {
	var ids []string
	for _, f := range failures {
		if op := w.ops[w.of[f.Index]]; op.Kind == Insert && f.Code == duplicateKey {
			ids = append(ids, op.Document.ID)
		}
	}
	existing, err := w.store.read(ctx, w.schema, ids, versionOnly)
	for _, f := range failures {
		op := w.ops[w.of[f.Index]]
		_, exists := existing[op.Document.ID]
		result := &w.results[w.of[f.Index]]
		switch {
		case f.Code != duplicateKey:
			*result = fmt.Errorf("write %s: MongoDB error code %d", w.schema.Collection, f.Code)
		case op.Kind == Insert && err != nil:
			*result = err
		case op.Kind == Insert && exists:
			*result = ErrExists
		default:
			*result = w.duplicate(ctx, op.Document)
		}
	}
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

// unmatched finds out which updates matched nothing. The server tells only how many did match.
// Each left its token in the document: where as many tokens are there as updates matched, the
// others matched nothing. Tokens are fewer only where another writer was there since.
func (w *mongoBulk) unmatched(ctx context.Context, matched int) {
	var models []int
	var ids []string
	for m, i := range w.of {
		if w.ops[i].Kind == Update && w.results[i] == nil {
			models, ids = append(models, m), append(ids, w.ops[i].Document.ID)
		}
	}
	found, err := w.store.read(ctx, w.schema, ids, versionOnly)
	there := 0
	for n, m := range models {
		if found[ids[n]].Token == w.tokens[m] {
			there++
		}
	}
	for n, m := range models {
		stored, exists := found[ids[n]]
		result := &w.results[w.of[m]]
		switch {
		case err != nil:
			*result = err
		case stored.Token == w.tokens[m]:
		case there < matched:
			*result = fmt.Errorf("write %s: changed again since, whether this update took effect is unknown", w.schema.Collection)
		case exists:
			*result = ErrConflict
		default:
			*result = ErrNotFound
		}
	}
}
