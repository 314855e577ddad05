package store_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

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
		t.Skip("NOT RUN: MongoDB. USHER_TEST_MONGODB names no server; `make mongodb` provides one")
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
		if err := client.Database(name).Drop(t.Context()); err != nil && t.Context().Err() == nil {
			t.Errorf("drop the database: %v", err)
		}
		_ = client.Disconnect(t.Context())
	})
	return server + "/" + name
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
