package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
)

// mongoServer is the server to test against, e.g. mongodb://127.0.0.1:27017.
func mongoServer(t testing.TB) string {
	t.Helper()
	server := os.Getenv("USHER_TEST_MONGODB")
	if server == "" {
		t.Skip("NOT RUN: MongoDB conformance. USHER_TEST_MONGODB names no server; `make mongodb` provides one, and fails where it cannot")
	}
	return server
}

var databases atomic.Int64

// mongoDatabase returns the URL of an empty database that is dropped after the test.
func mongoDatabase(t testing.TB) string {
	t.Helper()
	server := mongoServer(t)
	name := fmt.Sprintf("store_%d_%d", os.Getpid(), databases.Add(1))
	client, err := mongo.Connect(options.Client().ApplyURI(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t's has ended
		defer cancel()
		if err := errors.Join(client.Database(name).Drop(ctx), client.Disconnect(ctx)); err != nil {
			t.Errorf("drop the database: %v", err)
		}
	})
	return server + "/" + name
}

// preparedMongo returns a backend with the suite's collection in the database of a URL.
func preparedMongo(t testing.TB, url string) store.Backend {
	t.Helper()
	b, err := store.Open(t.Context(), url, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := b.Ensure(t.Context(), storetest.Schema); err != nil {
		t.Fatal(err)
	}
	return b
}

// direct returns the suite's collection as the driver sees it.
func direct(t *testing.T, url string) *mongo.Collection {
	t.Helper()
	server, database, _ := strings.Cut(strings.TrimPrefix(url, "mongodb://"), "/")
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return client.Database(database).Collection("test_" + storetest.Schema.Collection)
}

func TestMongoDB(t *testing.T) {
	mongoServer(t)
	storetest.Run(t, func(t *testing.T) func() store.Backend {
		url := mongoDatabase(t)
		return func() store.Backend {
			b, err := store.Open(t.Context(), url, "test", nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	})
}

func body(id string, version int64) store.Document {
	return store.Document{ID: id, Version: version, Body: []byte("{}")}
}

// exactly says whether err is the outcome wanted: nil, or an error that wraps it.
func exactly(err, want error) bool {
	return want == nil && err == nil || want != nil && errors.Is(err, want)
}

func TestMongoDBTellsTheOutcomeOfEachOp(t *testing.T) {
	mongoServer(t)
	insert := func(id string) store.Op { return store.Op{Kind: store.Insert, Document: body(id, 0)} }
	update := func(id string, version int64) store.Op {
		return store.Op{Kind: store.Update, Document: body(id, version)}
	}
	remove := func(id string) store.Op { return store.Op{Kind: store.Delete, Document: body(id, 0)} }
	for name, test := range map[string]struct {
		ops  []store.Op // on documents old, of version 4, and new, of version 1
		want []error
	}{
		"an update many versions late conflicts":                     {[]store.Op{update("old", 1)}, []error{store.ErrConflict}},
		"updates many versions late conflict beside one done":        {[]store.Op{update("old", 1), update("new", 1), update("none", 1)}, []error{store.ErrConflict, nil, store.ErrNotFound}},
		"an update of a version to come conflicts":                   {[]store.Op{update("old", 9), update("new", 1)}, []error{store.ErrConflict, nil}},
		"of two updates of one version the first wins":               {[]store.Op{update("new", 1), update("new", 1)}, []error{nil, store.ErrConflict}},
		"updates of one document follow each other":                  {[]store.Op{update("new", 1), update("new", 2), update("old", 1), update("new", 3)}, []error{nil, nil, store.ErrConflict, nil}},
		"an insert and its update follow each other":                 {[]store.Op{insert("a"), update("a", 1), insert("a")}, []error{nil, nil, store.ErrExists}},
		"a document is deleted and inserted again":                   {[]store.Op{remove("new"), insert("new"), update("new", 1)}, []error{nil, nil, nil}},
		"an update after a deletion finds nothing":                   {[]store.Op{update("new", 1), remove("new"), update("new", 2)}, []error{nil, nil, store.ErrNotFound}},
		"of two inserts of one id the second is told that it exists": {[]store.Op{insert("a"), insert("a")}, []error{nil, store.ErrExists}},
	} {
		t.Run(name, func(t *testing.T) {
			b := preparedMongo(t, mongoDatabase(t))
			for _, op := range []store.Op{insert("old"), update("old", 1), update("old", 2), update("old", 3), insert("new")} {
				if err := b.Write(t.Context(), storetest.Schema.Collection, []store.Op{op})[0]; err != nil {
					t.Fatal(err)
				}
			}
			got := b.Write(t.Context(), storetest.Schema.Collection, test.ops)
			if !slices.EqualFunc(got, test.want, exactly) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestMongoDBNamesAnIndexThatWouldNotKeepAccountsApart(t *testing.T) {
	url := mongoDatabase(t)
	name := "u_tenant_u_email"
	plain := mongo.IndexModel{Keys: bson.D{{Key: "f.tenant", Value: 1}, {Key: "f.u_email", Value: 1}}, Options: options.Index().SetName(name)}
	if _, err := direct(t, url).Indexes().CreateOne(t.Context(), plain); err != nil {
		t.Fatal(err)
	}
	b, err := store.Open(t.Context(), url, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Ensure(t.Context(), storetest.Schema); err == nil {
		t.Error("it was taken for the unique one")
	}
	if err := b.Verify(t.Context(), storetest.Schema); err == nil || !strings.Contains(err.Error(), name+" that is not the one") {
		t.Errorf("it is told as %v", err)
	}
}

// Writers race for the same documents in batches. What was confirmed is what was done.
func TestMongoDBCountsEachUpdateOnce(t *testing.T) {
	const writers, rounds, documents = 6, 25, 3
	b := preparedMongo(t, mongoDatabase(t))
	names := []string{"a", "b", "c"}
	for _, id := range names {
		if err := b.Write(t.Context(), storetest.Schema.Collection, []store.Op{{Kind: store.Insert, Document: body(id, 0)}})[0]; err != nil {
			t.Fatal(err)
		}
	}
	var confirmed, unknown, late [documents]atomic.Int64
	var racing sync.WaitGroup
	for range writers {
		racing.Go(func() {
			for range rounds {
				now, err := b.Get(t.Context(), storetest.Schema.Collection, names...)
				if err != nil {
					t.Error(err)
					return
				}
				var ops []store.Op
				for _, id := range names {
					ops = append(ops, store.Op{Kind: store.Update, Document: body(id, now[id].Version)})
				}
				for i, err := range b.Write(t.Context(), storetest.Schema.Collection, ops) {
					switch {
					case err == nil:
						confirmed[i].Add(1)
					case errors.Is(err, store.ErrConflict):
						late[i].Add(1)
					default:
						unknown[i].Add(1)
					}
				}
			}
		})
	}
	racing.Wait()
	now, err := b.Get(t.Context(), storetest.Schema.Collection, names...)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range names {
		done := now[id].Version - 1
		t.Logf("%s: %d done, %d confirmed, %d unknown, %d too late", id, done, confirmed[i].Load(), unknown[i].Load(), late[i].Load())
		if done < confirmed[i].Load() || done > confirmed[i].Load()+unknown[i].Load() {
			t.Errorf("%s was updated %d times", id, done)
		}
	}
}

// BenchmarkMongoInsert is BenchmarkInsert on a server: one call for a document, and calls that
// share bulks.
func BenchmarkMongoInsert(b *testing.B) {
	text := strings.Repeat("x", 1500)
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("%d callers", callers), func(b *testing.B) {
			docs := store.NewDocs(preparedMongo(b, mongoDatabase(b)), storetest.Schema, func(f filled) store.Fields {
				return store.Fields{"tenant": "t", "u_email": f.ID}
			})
			work := make(chan struct{})
			var calling sync.WaitGroup
			b.ResetTimer()
			for range callers {
				calling.Go(func() {
					for range work {
						id := randomID()
						if err := docs.Insert(b.Context(), id, filled{id, text}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			calling.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "docs/s")
		})
	}
}
