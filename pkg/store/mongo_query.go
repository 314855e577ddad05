package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func (s *mongoStore) Get(ctx context.Context, collection string, ids ...string) (map[string]Document, error) {
	sc, err := s.schema(collection)
	if err != nil {
		return nil, err
	}
	stored, err := s.read(ctx, sc, ids, whole)
	if err != nil {
		return nil, err
	}
	found := make(map[string]Document, len(stored))
	for id, d := range stored {
		found[id] = d.document()
	}
	return found, nil
}

// What is read of a document.
var (
	whole       = bson.D{}
	versionOnly = bson.D{{Key: "v", Value: 1}, {Key: "t", Value: 1}}
)

func (s *mongoStore) read(ctx context.Context, sc Schema, ids []string, parts bson.D) (map[string]mongoDocument, error) {
	found := make(map[string]mongoDocument, len(ids))
	for chunk := range slices.Chunk(ids, getMax) {
		// One batch: the default of 101 documents would need a second request.
		one := options.Find().SetProjection(parts).SetBatchSize(int32(len(chunk) + 1))
		documents, err := s.find(ctx, sc, bson.D{{Key: "_id", Value: bson.M{"$in": chunk}}}, one)
		if err != nil {
			return nil, err
		}
		for _, d := range documents {
			found[d.ID] = d
		}
	}
	return found, nil
}

func (s *mongoStore) find(ctx context.Context, sc Schema, filter bson.D, o *options.FindOptionsBuilder) (documents []mongoDocument, err error) {
	cursor, err := s.collection(sc).Find(ctx, filter, o)
	if err == nil {
		err = cursor.All(ctx, &documents)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", sc.Collection, plain(err))
	}
	return documents, nil
}

func (s *mongoStore) Find(ctx context.Context, collection string, q Query) (page []Document, next string, err error) {
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
	filter := append(conditions(q.Where, q.Range), q.mongoBeyond(after)...)
	stored, err := s.find(ctx, sc, filter, options.Find().SetSort(q.mongoOrder()).SetLimit(int64(q.Limit)+1).SetBatchSize(int32(q.Limit)+1))
	if err != nil {
		return nil, "", err
	}
	for _, d := range stored[:min(len(stored), q.Limit)] {
		page = append(page, d.document())
	}
	if len(stored) > q.Limit {
		last := stored[q.Limit-1]
		field, _ := q.order()
		next = q.next(collection, last.Fields[field], last.ID)
	}
	return page, next, nil
}

func (q Query) mongoOrder() bson.D {
	field, descending := q.order()
	direction := 1
	if descending {
		direction = -1
	}
	if field == "" {
		return bson.D{{Key: "_id", Value: direction}}
	}
	return bson.D{{Key: "f." + field, Value: direction}, {Key: "_id", Value: direction}}
}

// mongoBeyond is the condition of what comes after a cursor. MongoDB sorts documents without
// the field before all others.
func (q Query) mongoBeyond(c *cursor) bson.D {
	if c == nil {
		return nil
	}
	field, descending := q.order()
	compare := "$gt"
	if descending {
		compare = "$lt"
	}
	beyondID := bson.E{Key: "_id", Value: bson.M{compare: c.ID}}
	if field == "" {
		return bson.D{beyondID}
	}
	name := "f." + field
	absent, present := bson.E{Key: name, Value: bson.M{"$exists": false}}, bson.E{Key: name, Value: bson.M{"$exists": true}}
	var any bson.A
	if c.Value == nil {
		any = bson.A{bson.D{absent, beyondID}}
		if !descending {
			any = append(any, bson.D{present})
		}
	} else {
		any = bson.A{bson.D{{Key: name, Value: bson.M{compare: c.Value}}}, bson.D{{Key: name, Value: c.Value}, beyondID}}
		if descending {
			any = append(any, bson.D{absent})
		}
	}
	return bson.D{{Key: "$or", Value: any}}
}

func (s *mongoStore) Count(ctx context.Context, collection string, equal Fields) (int64, error) {
	sc, err := s.schema(collection)
	if err != nil {
		return 0, err
	}
	if err := sc.checkFields(equal); err != nil {
		return 0, err
	}
	n, err := s.collection(sc).CountDocuments(ctx, conditions(equal, nil))
	if err != nil {
		return 0, fmt.Errorf("count in %s: %w", collection, plain(err))
	}
	return n, nil
}

// talliesAtOnce is how many counts one call has under way: the protocol has none for several.
const talliesAtOnce = 8

func (s *mongoStore) Tally(ctx context.Context, collection string, tallies []Tally) ([]int64, error) {
	sc, err := s.schema(collection)
	if err != nil {
		return nil, err
	}
	if err := sc.checkTallies(tallies); err != nil {
		return nil, err
	}
	counts, errs := make([]int64, len(tallies)), make([]error, len(tallies))
	var wg sync.WaitGroup
	places := make(chan struct{}, talliesAtOnce)
	for i, t := range tallies {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			counts[i], errs[i] = s.collection(sc).CountDocuments(ctx, conditions(t.conditions()), options.Count().SetLimit(int64(t.Most)))
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, fmt.Errorf("tally in %s: %w", collection, plain(errs[i]))
	}
	return counts, nil
}

func conditions(equal Fields, r *Range) bson.D {
	filter := bson.D{}
	for _, f := range slices.Sorted(maps.Keys(equal)) {
		filter = append(filter, bson.E{Key: "f." + f, Value: equal[f]})
	}
	if r != nil {
		filter = append(filter, bson.E{Key: "f." + r.Field, Value: bson.M{"$gte": r.From, "$lte": r.To}})
	}
	return filter
}
