package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type bigdoc struct{ Tenant, Email, Status, Pad string; At int64 }

func TestZZ(t *testing.T) {
	sc := Schema{Collection: "people", Unique: [][]string{{"tenant", "u_email"}, {"tenant", "u_nid"}}, Index: [][]string{{"tenant", "at"}, {"status"}}}
	total := 200000
	pad := strings.Repeat("abcdefghij", 150)
	for _, callers := range []int{64, 256, 1024} {
		dir, _ := os.MkdirTemp("", "zz")
		b, err := Open(t.Context(), "sqlite://"+dir, "x")
		if err != nil { t.Fatal(err) }
		if err := b.Ensure(t.Context(), sc); err != nil { t.Fatal(err) }
		var batches, ops atomic.Int64
		docs := NewDocs(counting{b, &batches, &ops}, sc, func(p bigdoc) Fields { return Fields{"tenant": p.Tenant, "u_email": p.Email, "status": p.Status, "at": p.At} })
		var n atomic.Int64
		start := time.Now()
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for {
					i := n.Add(1)
					if i > int64(total) { return }
					if i%50000 == 0 { t.Log(callers, i, time.Since(start)) }
					var raw [16]byte; rand.Read(raw[:])
					id := hex.EncodeToString(raw[:])
					if err := docs.Insert(context.Background(), id, bigdoc{"t", id, "NEW", pad, i}); err != nil { t.Error(err) }
				}
			})
		}
		wg.Wait()
		d := time.Since(start)
		t.Logf("callers %d: %.0f docs/s, mean batch %.0f", callers, float64(total)/d.Seconds(), float64(ops.Load())/float64(batches.Load()))
		b.Close()
		os.RemoveAll(dir)
	}
	_ = fmt.Sprint
}

type counting struct { Backend; n, ops *atomic.Int64 }
func (c counting) Write(ctx context.Context, col string, ops []Op) []error { c.n.Add(1); c.ops.Add(int64(len(ops))); return c.Backend.Write(ctx, col, ops) }
