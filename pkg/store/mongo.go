package store

import (
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

// mongoDocument is a document as MongoDB holds it. The body is text, so that it comes back as
// it was and people can read it.
type mongoDocument struct {
	ID      string         `bson:"_id"`
	Version int64          `bson:"v"`
	Token   bson.ObjectID  `bson:"t"` // of the write that made this version
	Fields  map[string]any `bson:"f"`
	Body    string         `bson:"b"`
}

func (d mongoDocument) document() Document {
	return Document{ID: d.ID, Version: d.Version, Body: []byte(d.Body)}
}

func openMongo(url, service string, tracer trace.TracerProvider) (Backend, error) {
	majority := writeconcern.Majority()
	journal := true
	majority.Journal = &journal
	client, err := mongo.Connect(options.Client().ApplyURI(url).
		SetAppName("usher-" + service).SetTimeout(mongoTimeout).SetServerSelectionTimeout(mongoSelection).
		SetWriteConcern(majority).SetReadConcern(readconcern.Majority()).SetRetryWrites(true).SetMonitor(monitor(tracer)))
	if err != nil {
		return nil, errors.New("STORE_URL: not a MongoDB connection string; give mongodb://HOST/DATABASE")
	}
	return &mongoStore{client: client, database: client.Database(databaseOf(url)), service: service, schemas: map[string]Schema{}}, nil
}

// databaseOf returns the database that a connection string names.
func databaseOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	_, path, _ := strings.Cut(rest, "/")
	name, _, _ := strings.Cut(path, "?")
	if name == "" {
		return mongoDatabase
	}
	return name
}

func (s *mongoStore) Ping(ctx context.Context) error { return plain(s.client.Ping(ctx, nil)) }

func (s *mongoStore) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), mongoTimeout)
	defer cancel()
	return plain(s.client.Disconnect(ctx))
}

// plain makes an error fit for logs: what a server says of a write quotes its values.
func plain(err error) error {
	var said mongo.ServerError
	switch {
	case mongo.IsNetworkError(err), mongo.IsTimeout(err):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	case errors.As(err, &said):
		return fmt.Errorf("MongoDB error codes %v", said.ErrorCodes())
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
		// Where processes start together, one may fail at what another has just made.
		err := s.create(ctx, sc)
		for try := 1; err != nil && try < 10 && ctx.Err() == nil && s.Verify(ctx, sc) != nil; try++ {
			time.Sleep(time.Duration(try) * 50 * time.Millisecond)
			err = s.create(ctx, sc)
		}
		if err != nil && s.Verify(ctx, sc) != nil {
			return err
		}
		s.know(sc)
	}
	return nil
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
		all = append(all, mongo.IndexModel{Keys: keysOf(fields), Options: options.Index().SetName(indexName("i", fields))})
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
	lacks := func(sc Schema, what string) {
		problems = append(problems, fmt.Errorf("collection %s lacks its %s; run `usher topology apply`", sc.Collection, what))
	}
	for _, sc := range schemas {
		if err := sc.check(); err != nil {
			return err
		}
		s.know(sc)
		if !slices.Contains(collections, s.collection(sc).Name()) {
			lacks(sc, "collection "+s.collection(sc).Name())
			continue
		}
		have, err := s.indexes(ctx, sc)
		if err != nil {
			return err
		}
		for _, fields := range sc.Unique {
			if !slices.Contains(have, indexName("u", fields)) {
				lacks(sc, "index "+indexName("u", fields))
			}
		}
		for _, fields := range sc.Index {
			if !slices.Contains(have, indexName("i", fields)) {
				lacks(sc, "index "+indexName("i", fields))
			}
		}
	}
	return errors.Join(problems...)
}

func (s *mongoStore) indexes(ctx context.Context, sc Schema) (names []string, err error) {
	specifications, err := s.collection(sc).Indexes().ListSpecifications(ctx)
	if err != nil {
		return nil, fmt.Errorf("list indexes of %s: %w", sc.Collection, plain(err))
	}
	for _, i := range specifications {
		names = append(names, i.Name)
	}
	return names, nil
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
