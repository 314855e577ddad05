package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.opentelemetry.io/otel/trace"
)

const (
	mongoTimeout   = 10 * time.Second // of one operation, with its retries
	mongoSelection = 5 * time.Second  // how long a server that can be written to is looked for
	mongoDatabase  = "usher"          // where the URL names none
)

// mongoStore keeps a service's documents in collections <service>_<collection>. What it
// confirms is on the disks of a majority; what it reads is too.
type mongoStore struct {
	client   *mongo.Client
	database *mongo.Database
	service  string

	mu      sync.Mutex
	schemas map[string]Schema
}

// mongoDocument is a document as MongoDB holds it. The body is text: it comes back byte for
// byte, which embedded BSON would not (numbers, spaces, keys told twice), and people can read
// it. Only fields are ever searched.
type mongoDocument struct {
	ID      string        `bson:"_id"`
	Version int64         `bson:"v"`
	Token   bson.ObjectID `bson:"t"` // of the write that made this version
	Fields  Fields        `bson:"f"`
	Body    string        `bson:"b"`
}

func (d mongoDocument) document() Document {
	return Document{ID: d.ID, Version: d.Version, Body: []byte(d.Body)}
}

func openMongo(url, service string, tracer trace.TracerProvider) (Backend, error) {
	client, err := mongo.Connect(mongoOptions(url, service).SetMonitor(monitor(tracer)))
	if err != nil {
		return nil, errors.New("STORE_URL: not a MongoDB connection string; give mongodb://HOST/DATABASE")
	}
	return &mongoStore{client: client, database: client.Database(databaseOf(url)), service: service, schemas: map[string]Schema{}}, nil
}

// mongoOptions overrules what a URL says of durability, of reading from secondaries and of
// retries: the port promises it.
func mongoOptions(url, service string) *options.ClientOptions {
	majority := writeconcern.Majority()
	journal := true
	majority.Journal = &journal
	return options.Client().ApplyURI(url).SetAppName("usher-" + service).
		SetTimeout(mongoTimeout).SetServerSelectionTimeout(mongoSelection).SetRetryWrites(true).
		SetWriteConcern(majority).SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary())
}

// databaseOf returns the database that a connection string names.
func databaseOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	rest, _, _ = strings.Cut(rest, "?")
	_, name, _ := strings.Cut(rest, "/")
	return cmp.Or(name, mongoDatabase)
}

// Purge implements Backend: what a server keeps in its files, and for how long, is its operator's.
func (s *mongoStore) Purge(context.Context) error { return nil }

func (s *mongoStore) Ping(ctx context.Context) error { return plain(s.client.Ping(ctx, nil)) }

func (s *mongoStore) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), mongoTimeout)
	defer cancel()
	return plain(s.client.Disconnect(ctx))
}

// notPrimary are the codes of a server that hands over or shuts down ("not writable primary" and
// "node is recovering" errors, MongoDB's Server Discovery and Monitoring specification).
var notPrimary = []int{91, 189, 10058, 10107, 11600, 11602, 13435, 13436}

// plain makes an error fit for logs: what a server says of a write quotes its values.
func plain(err error) error {
	if err == nil {
		return nil
	}
	away := mongo.IsNetworkError(err) || mongo.IsTimeout(err)
	var said mongo.ServerError
	if errors.As(err, &said) && !mongo.IsNetworkError(err) {
		away = away || slices.ContainsFunc(notPrimary, said.HasErrorCode)
		err = fmt.Errorf("MongoDB error codes %v", said.ErrorCodes())
	}
	if away {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

func (s *mongoStore) collection(sc Schema) *mongo.Collection {
	return s.database.Collection(s.service + "_" + sc.Collection)
}

const namespaceExists = 48 // MongoDB error NamespaceExists

func (s *mongoStore) Ensure(ctx context.Context, schemas ...Schema) error {
	for _, sc := range schemas {
		if err := sc.check(); err != nil {
			return err
		}
		if err := s.complete(ctx, sc); err != nil {
			return err
		}
	}
	return nil
}

// complete makes what a collection lacks. Where processes start together, one may fail at what
// another has just made.
func (s *mongoStore) complete(ctx context.Context, sc Schema) error {
	for try := 1; ; try++ {
		err := s.create(ctx, sc)
		if err == nil || try == 10 || errors.Is(err, ErrUnreachable) {
			return cmp.Or(err, s.Verify(ctx, sc))
		}
		if s.Verify(ctx, sc) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * 50 * time.Millisecond):
		}
	}
}

func (s *mongoStore) create(ctx context.Context, sc Schema) error {
	err := s.database.CreateCollection(ctx, s.collection(sc).Name(), options.CreateCollection().SetValidator(validator))
	var said mongo.ServerError
	if err != nil && !(errors.As(err, &said) && said.HasErrorCode(namespaceExists)) {
		return fmt.Errorf("make collection %s: %w", sc.Collection, plain(err))
	}
	if indexes := sc.mongoIndexes(); len(indexes) > 0 {
		if _, err := s.collection(sc).Indexes().CreateMany(ctx, indexes); err != nil {
			return fmt.Errorf("make indexes of %s: %w", sc.Collection, plain(err))
		}
	}
	return nil
}

// validator refuses what this package would never write: a second line of defence.
var validator = bson.M{"$jsonSchema": bson.M{
	"bsonType": "object", "required": bson.A{"_id", "v", "f", "b"},
	"properties": bson.M{
		"_id": bson.M{"bsonType": "string"}, "v": bson.M{"bsonType": "long"}, "f": bson.M{"bsonType": "object"}, "b": bson.M{"bsonType": "string"},
	},
}}

func (sc Schema) mongoIndexes() []mongo.IndexModel {
	var all []mongo.IndexModel
	for _, fields := range sc.Unique {
		present := bson.D{}
		for _, f := range fields {
			present = append(present, bson.E{Key: "f." + f, Value: bson.M{"$exists": true}})
		}
		all = append(all, mongo.IndexModel{Keys: keysOf(fields), Options: options.Index().SetName(indexName("u", fields)).SetUnique(true).SetPartialFilterExpression(present)})
	}
	for _, fields := range sc.Index {
		// With the id, in which the order of a page ends, a page costs what it holds.
		keys := append(keysOf(fields), bson.E{Key: "_id", Value: 1})
		all = append(all, mongo.IndexModel{Keys: keys, Options: options.Index().SetName(indexName("i", fields))})
	}
	return all
}

func indexName(kind string, fields []string) string { return kind + "_" + strings.Join(fields, "_") }

func keysOf(fields []string) bson.D {
	var keys bson.D
	for _, f := range fields {
		keys = append(keys, bson.E{Key: "f." + f, Value: 1})
	}
	return keys
}

func (s *mongoStore) Verify(ctx context.Context, schemas ...Schema) error {
	collections, err := s.database.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return fmt.Errorf("list collections: %w", plain(err))
	}
	var problems []error
	for _, sc := range schemas {
		if err := sc.check(); err != nil {
			return err
		}
		s.know(sc)
		if name := s.collection(sc).Name(); !slices.Contains(collections, name) {
			problems = append(problems, fmt.Errorf("collection %s lacks its MongoDB collection %s; run `usher topology apply`", sc.Collection, name))
			continue
		}
		have, err := s.indexes(ctx, sc)
		if err != nil {
			return err
		}
		problems = append(problems, sc.missing(have)...)
	}
	return errors.Join(problems...)
}

// missing names the indexes that a collection lacks, or has under their names but of another
// kind: one that is not unique would let two accounts in.
func (sc Schema) missing(have map[string]mongoIndex) (problems []error) {
	for kind, sets := range map[string][][]string{"u": sc.Unique, "i": sc.Index} {
		for _, fields := range sets {
			name := indexName(kind, fields)
			index, ok := have[name]
			switch {
			case !ok:
				problems = append(problems, fmt.Errorf("collection %s lacks its index %s; run `usher topology apply`", sc.Collection, name))
			case !index.serves(fields, kind == "u"):
				problems = append(problems, fmt.Errorf("collection %s has an index %s that is not the one it needs; drop it and run `usher topology apply`", sc.Collection, name))
			}
		}
	}
	return problems
}

// mongoIndex is an index as the server describes it.
type mongoIndex struct {
	Name    string `bson:"name"`
	Key     bson.D `bson:"key"`
	Unique  bool   `bson:"unique"`
	Partial bson.M `bson:"partialFilterExpression"`
}

// serves reports whether the index is over these fields, with the id or without, and, to be unique,
// over every document that has them all.
func (x mongoIndex) serves(fields []string, unique bool) bool {
	var names []string
	for _, k := range x.Key {
		if k.Key != "_id" {
			names = append(names, strings.TrimPrefix(k.Key, "f."))
		}
	}
	for name := range x.Partial {
		if !slices.Contains(fields, strings.TrimPrefix(name, "f.")) {
			return false
		}
	}
	return slices.Equal(names, fields) && x.Unique == unique && (unique || len(x.Partial) == 0)
}

func (s *mongoStore) indexes(ctx context.Context, sc Schema) (map[string]mongoIndex, error) {
	var described []mongoIndex
	cursor, err := s.collection(sc).Indexes().List(ctx)
	if err == nil {
		err = cursor.All(ctx, &described)
	}
	if err != nil {
		return nil, fmt.Errorf("list indexes of %s: %w", sc.Collection, plain(err))
	}
	have := make(map[string]mongoIndex, len(described))
	for _, x := range described {
		have[x.Name] = x
	}
	return have, nil
}

func (s *mongoStore) know(sc Schema) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schemas[sc.Collection] = sc
}

func (s *mongoStore) schema(collection string) (Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc, ok := s.schemas[collection]
	if !ok {
		return Schema{}, fmt.Errorf("collection %s was neither ensured nor verified", collection)
	}
	return sc, nil
}
