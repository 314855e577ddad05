package store_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
)

type filled struct{ ID, Text string }

// BenchmarkInsert stores documents of 1.5 KB under random ids, as intake does: each call waits
// for its own fsync, which concurrent callers share.
func BenchmarkInsert(b *testing.B) {
	text := strings.Repeat("x", 1500)
	for _, callers := range []int{2, 64, 256} {
		b.Run(fmt.Sprintf("%d callers", callers), func(b *testing.B) {
			docs := store.NewDocs(preparedSQLite(b, b.TempDir()), storetest.Schema, func(f filled) store.Fields {
				return store.Fields{"tenant": "t", "u_email": f.ID}
			})
			b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := randomID()
					if err := docs.Insert(b.Context(), id, filled{id, text}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "docs/s")
		})
	}
}

func randomID() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
