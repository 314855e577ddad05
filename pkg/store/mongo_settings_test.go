package store

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// A server that is no replica set is not asked by this, so the wire does not show it.
func TestMongoReadsFromThePrimaryAndRetriesWhateverTheURLSays(t *testing.T) {
	o := mongoOptions("mongodb://127.0.0.1:1/x?readPreference=secondaryPreferred&retryWrites=false", "test")
	if mode := o.ReadPreference.Mode(); mode != readpref.PrimaryMode {
		t.Errorf("it reads from %v", mode)
	}
	if !*o.RetryWrites {
		t.Error("a write is not tried again where the server knows it")
	}
}

func TestMongoDatabaseIsTheURLs(t *testing.T) {
	for url, want := range map[string]string{
		"mongodb://a":                                  "usher",
		"mongodb://a/":                                 "usher",
		"mongodb://a?replicaSet=r":                     "usher",
		"mongodb://a/?replicaSet=r":                    "usher",
		"mongodb://user:word@a,b:1/there?replicaSet=r": "there",
		"mongodb+srv://a/there":                        "there",
		"mongodb://a/?proxyHost=x/y":                   "usher",
		"mongodb://a?tlsCAFile=/etc/ca.pem":            "usher",
	} {
		if got := databaseOf(url); got != want {
			t.Errorf("%s is database %s, want %s", url, got, want)
		}
	}
}
