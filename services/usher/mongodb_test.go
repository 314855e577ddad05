package usher

import (
	"net/url"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// everyMongoDocument gives each document of a database, as the server sends it, to read.
func everyMongoDocument(t *testing.T, server string, read func(where string, content []byte)) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	client, err := mongo.Connect(options.Client().ApplyURI(server))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(t.Context())
	database := client.Database(strings.TrimPrefix(u.Path, "/"))
	collections, err := database.ListCollectionNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	documents := 0
	for _, name := range collections {
		cursor, err := database.Collection(name).Find(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		for cursor.Next(t.Context()) {
			documents++
			read("a document of "+name, cursor.Current)
		}
		if err := cursor.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if documents < 5 {
		t.Errorf("%d documents were read, want those of five services", documents)
	}
}
