package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Backend {
		dir := t.TempDir()
		return func() store.Backend {
			b, err := store.Open(t.Context(), "sqlite://"+dir, "test", nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	})
}

func TestTheFilesAreTheirOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "test.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := store.Open(t.Context(), "sqlite://"+dir, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Ensure(t.Context(), storetest.Schema); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "test.db*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", filepath.Base(file), info.Mode(), err)
		}
	}
}

func TestAStoreURLThatCannotWorkIsNamed(t *testing.T) {
	for _, url := range []string{"", "sqlite://", "oracle://x"} {
		if b, err := store.Open(t.Context(), url, "test", nil); err == nil {
			b.Close()
			t.Errorf("%q was opened", url)
		}
	}
}

type person struct{ Name string }

// BenchmarkInsert compares inserts that share transactions with those of one caller.
func BenchmarkInsert(b *testing.B) {
	for _, callers := range []int{1, 256} {
		b.Run(fmt.Sprintf("%d callers", callers), func(b *testing.B) {
			backend, err := store.Open(b.Context(), "sqlite://"+b.TempDir(), "bench", nil)
			if err != nil {
				b.Fatal(err)
			}
			defer backend.Close()
			if err := backend.Ensure(b.Context(), storetest.Schema); err != nil {
				b.Fatal(err)
			}
			docs := store.NewDocs(backend, storetest.Schema, func(p person) store.Fields { return store.Fields{"tenant": "t", "u_email": p.Name} })
			var n atomic.Int64
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := fmt.Sprint(n.Add(1))
					if err := docs.Insert(b.Context(), id, person{id}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
