package ledger

import (
	"fmt"
	"sync"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

// BenchmarkFold folds the way of one registration in b.N, a thousand at a time, as they come
// from a pipeline that is busy: each stage's events of all in one batch.
func BenchmarkFold(b *testing.B) {
	backend, err := store.Open(b.Context(), "sqlite://"+b.TempDir(), "ledger", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { backend.Close() })
	if err := backend.Ensure(b.Context(), registrationSchema); err != nil {
		b.Fatal(err)
	}
	m := newReadModel(backend)
	for from := 0; from < b.N; from += 1000 {
		var stages [7][]events.Record
		for i := from; i < min(from+1000, b.N); i++ {
			for stage, r := range history(fmt.Sprint("r", i)) {
				stages[stage] = append(stages[stage], r)
			}
		}
		for _, records := range stages {
			var wg sync.WaitGroup
			for _, r := range records {
				wg.Go(func() {
					if err := m.onAnyEvent(b.Context(), r); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
		}
	}
}
