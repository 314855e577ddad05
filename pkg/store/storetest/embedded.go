package storetest

import (
	"testing"

	"github.com/usherhq/usher/pkg/store"
)

// Embedded opens the embedded store in a directory of the test, with these collections. It is
// closed when the test ends.
func Embedded(t testing.TB, schemas ...store.Schema) store.Backend {
	t.Helper()
	b, err := store.Open(t.Context(), "sqlite://"+t.TempDir(), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	if err := b.Ensure(t.Context(), schemas...); err != nil {
		t.Fatal(err)
	}
	return b
}
