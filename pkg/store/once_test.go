package store_test

import (
	"errors"
	"testing"

	"github.com/usherhq/usher/pkg/store"
)

func TestWhatWasDecidedOnceCountsForEver(t *testing.T) {
	b, err := store.Open(t.Context(), "sqlite://"+t.TempDir(), "once", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	schema := store.Schema{Collection: "decisions"}
	if err := b.Ensure(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	docs := store.NewDocs(b, schema, func(map[string]string) store.Fields { return nil })
	says := func(word string) func() (map[string]string, error) {
		return func() (map[string]string, error) { return map[string]string{"says": word}, nil }
	}
	fault := errors.New("cannot decide")
	fails := func() (map[string]string, error) { return nil, fault }

	for _, step := range []struct {
		name, id string
		decide   func() (map[string]string, error)
		want     string
		err      error
	}{
		{"a decision that fails before there is one is an error", "a", fails, "", fault},
		{"the first decision is stored", "a", says("yes"), "yes", nil},
		{"a second one yields to it", "a", says("no"), "yes", nil},
		{"so does one that fails", "a", fails, "yes", nil},
		{"another id has its own", "b", says("no"), "no", nil},
	} {
		got, err := docs.Once(t.Context(), step.id, step.decide)
		if got.Value["says"] != step.want || !errors.Is(err, step.err) {
			t.Errorf("%s: got %q, %v", step.name, got.Value["says"], err)
		}
	}
}
