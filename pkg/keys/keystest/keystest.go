// Package keystest gives tests keys of their own.
package keystest

import (
	"testing"

	"github.com/usherhq/usher/pkg/keys"
)

// Ring returns every key that a service needs, made for this test.
func Ring(t testing.TB) *keys.Ring {
	t.Helper()
	dir := t.TempDir()
	if err := keys.Generate(dir); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}
