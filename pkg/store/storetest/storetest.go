// Package storetest is the conformance suite of store.Backend: every implementation passes it.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/store"
)

// Schema is the collection that the suite uses.
var Schema = store.Schema{
	Collection: "people",
	Unique:     [][]string{{"tenant", "u_email"}, {"tenant", "u_nid"}},
	Index:      [][]string{{"tenant", "at"}, {"status"}},
}

// Run tests a backend. open returns one on the same empty data each time within one test, so
// that what was written survives its closing; the suite closes it.
func Run(t *testing.T, fresh func(t *testing.T) (open func() store.Backend)) {
	tests := []struct {
		name string
		run  func(*testing.T, store.Backend)
	}{
		{"an id is inserted once and the first document stays", insertsOnce},
		{"an update of a document that changed since is refused", guardsUpdates},
		{"a unique value belongs to one document of a tenant", keepsUnique},
		{"two documents without a unique field do not collide", allowsAbsent},
		{"a tombstone without the field frees the unique value", freesByTombstone},
		{"of writers racing for one id or one value exactly one wins", letsOneWin},
		{"a failing write of a batch leaves the others alone", isolatesFailures},
		{"a document that no store takes leaves the others of its batch alone", refusesOversized},
		{"pages neither skip nor repeat, also under equal keys", paginates},
		{"documents without the field they are ordered by come before all others", ordersAbsent},
		{"a cursor serves only the query that gave it", bindsCursors},
		{"a tally counts no further than its bound", tallies},
		{"fields that are not of the schema or of another type are refused", refusesBadFields},
		{"any number of documents is read at once", getsMany},
		{"a deleted document is gone and deleting it again is no error", deletes},
		{"a cancelled write writes nothing", honoursContext},
		{"a write that is cut short leaves the store able to write", survivesCancelling},
		{"text that is not UTF-8 is refused, in ids and fields, and any other comes back", keepsText},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := prepared(t, fresh(t))
			defer b.Close()
			test.run(t, b)
		})
	}
	t.Run("what was confirmed is there after reopening", func(t *testing.T) { survives(t, fresh(t)) })
	t.Run("processes that start together all make the collection", func(t *testing.T) { ensuresTogether(t, fresh(t)) })
	t.Run("a schema whose parts a backend could not tell apart is refused", func(t *testing.T) { refusesSchemas(t, fresh(t)) })
	t.Run("a missing collection, field or index is named", func(t *testing.T) { names(t, fresh(t)) })
}

func prepared(t *testing.T, open func() store.Backend) store.Backend {
	t.Helper()
	b := open()
	for range 2 {
		if err := b.Ensure(t.Context(), Schema); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Verify(t.Context(), Schema); err != nil {
		t.Fatal(err)
	}
	return b
}

func document(id string, fields store.Fields) store.Document {
	return store.Document{ID: id, Fields: fields, Body: fmt.Appendf(nil, `{"id":%q}`, id)}
}

func insert(b store.Backend, d store.Document) error { return write(b, store.Insert, d) }
func update(b store.Backend, d store.Document) error { return write(b, store.Update, d) }

func write(b store.Backend, kind store.OpKind, d store.Document) error {
	return b.Write(context.Background(), Schema.Collection, []store.Op{{Kind: kind, Document: d}})[0]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, b store.Backend, id string) (store.Document, bool) {
	t.Helper()
	found, err := b.Get(t.Context(), Schema.Collection, id)
	must(t, err)
	d, ok := found[id]
	return d, ok
}

func insertsOnce(t *testing.T, b store.Backend) {
	must(t, insert(b, store.Document{ID: "a", Body: []byte(`{"v":"Ünï \u0000"}`)}))
	if err := insert(b, document("a", nil)); !errors.Is(err, store.ErrExists) {
		t.Errorf("second insert: %v", err)
	}
	if d, _ := get(t, b, "a"); string(d.Body) != `{"v":"Ünï \u0000"}` || d.Version != 1 {
		t.Errorf("stored %s, version %d", d.Body, d.Version)
	}
}

func guardsUpdates(t *testing.T, b store.Backend) {
	must(t, insert(b, document("a", store.Fields{"status": "new"})))
	d, _ := get(t, b, "a")
	d.Body, d.Fields = []byte(`{"v":2}`), store.Fields{"status": "old"}
	must(t, update(b, d))
	if err := update(b, d); !errors.Is(err, store.ErrConflict) {
		t.Errorf("update of version 1 after it changed: %v", err)
	}
	if err := update(b, document("absent", nil)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("update of an absent document: %v", err)
	}
	if now, _ := get(t, b, "a"); now.Version != 2 || string(now.Body) != `{"v":2}` {
		t.Errorf("version %d, body %s", now.Version, now.Body)
	}
	if n, err := b.Count(t.Context(), Schema.Collection, store.Fields{"status": "old"}); n != 1 || err != nil {
		t.Errorf("%d documents have the new field, %v", n, err)
	}
}

func keepsUnique(t *testing.T, b store.Backend) {
	must(t, insert(b, document("a", store.Fields{"tenant": "t1", "u_email": "x", "u_nid": "1"})))
	must(t, insert(b, document("other tenant", store.Fields{"tenant": "t2", "u_email": "x"})))
	var duplicate *store.DuplicateError
	err := insert(b, document("b", store.Fields{"tenant": "t1", "u_email": "x", "u_nid": "2"}))
	if !errors.As(err, &duplicate) || duplicate.Field() != "u_email" {
		t.Errorf("same e-mail: %v", err)
	}
	err = insert(b, document("b", store.Fields{"tenant": "t1", "u_email": "y", "u_nid": "1"}))
	if !errors.As(err, &duplicate) || duplicate.Field() != "u_nid" {
		t.Errorf("same national id: %v", err)
	}
	if err := insert(b, document("a", store.Fields{"tenant": "t1", "u_email": "x"})); !errors.Is(err, store.ErrExists) {
		t.Errorf("same id and same value: %v", err)
	}
	must(t, insert(b, document("c", store.Fields{"tenant": "t1", "u_email": "z"})))
	c, _ := get(t, b, "c")
	c.Fields = store.Fields{"tenant": "t1", "u_email": "x"}
	if err := update(b, c); !errors.As(err, &duplicate) {
		t.Errorf("update to a taken value: %v", err)
	}
}

func allowsAbsent(t *testing.T, b store.Backend) {
	must(t, insert(b, document("a", store.Fields{"tenant": "t"})))
	must(t, insert(b, document("b", store.Fields{"tenant": "t"})))
}

func freesByTombstone(t *testing.T, b store.Backend) {
	must(t, insert(b, document("a", store.Fields{"tenant": "t", "u_email": "x"})))
	d, _ := get(t, b, "a")
	d.Fields, d.Body = store.Fields{"tenant": "t"}, []byte(`{"erased":true}`)
	must(t, update(b, d))
	must(t, insert(b, document("b", store.Fields{"tenant": "t", "u_email": "x"})))
}

func letsOneWin(t *testing.T, b store.Backend) {
	const writers = 16
	race := func(where store.Fields, d func(i int) store.Document) {
		t.Helper()
		var (
			mu            sync.Mutex
			wins, unknown int
			wg            sync.WaitGroup
		)
		for i := range writers {
			wg.Go(func() {
				err := insert(b, d(i))
				for try := 0; try < 8 && outcomeUnknown(err); try++ { // as every caller has to, not all at once
					mu.Lock()
					unknown++
					mu.Unlock()
					time.Sleep(rand.N(3 * time.Second))
					err = insert(b, d(i))
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					wins++
				case outcomeUnknown(err):
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		n, err := b.Count(t.Context(), Schema.Collection, where)
		must(t, err)
		if n != 1 || wins > 1 || wins == 0 && unknown == 0 {
			t.Errorf("%d writers won, with %d outcomes unknown on the way, and %d documents are there", wins, unknown, n)
		}
	}
	race(store.Fields{"status": "raced"}, func(int) store.Document { return document("same", store.Fields{"status": "raced"}) })
	race(store.Fields{"tenant": "t"}, func(i int) store.Document {
		return document(fmt.Sprint("w", i), store.Fields{"tenant": "t", "u_email": "x"})
	})
}

func outcomeUnknown(err error) bool {
	var duplicate *store.DuplicateError
	return err != nil && !errors.Is(err, store.ErrExists) && !errors.As(err, &duplicate)
}

func ensuresTogether(t *testing.T, open func() store.Backend) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			b := open()
			defer b.Close()
			if err := b.Ensure(t.Context(), Schema); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b := open()
	defer b.Close()
	must(t, b.Verify(t.Context(), Schema))
}

func deletes(t *testing.T, b store.Backend) {
	must(t, insert(b, document("a", nil)))
	for range 2 {
		must(t, write(b, store.Delete, store.Document{ID: "a"}))
	}
	if _, ok := get(t, b, "a"); ok {
		t.Error("the document is still there")
	}
}

func keepsText(t *testing.T, b store.Backend) {
	for name, d := range map[string]store.Document{
		"an id":                document("\xff", nil),
		"a field":              document("a", store.Fields{"tenant": "\xff"}),
		"a field that is long": document("a", store.Fields{"tenant": strings.Repeat("x", store.MaxField+1)}),
	} {
		if err := insert(b, d); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	texts := []string{"", "\x00", " a", "'\"$.%_", "a", "a\x00b", "é", "\ufffd", "😀"}
	slices.Sort(texts) // by their bytes
	for i, text := range texts {
		fields := store.Fields{"tenant": "t", "status": text, "at": int64(i)}
		must(t, insert(b, store.Document{ID: "id " + text, Fields: fields, Body: []byte("{}")}))
	}
	var want []string
	for _, text := range texts {
		want = append(want, "id "+text)
		page, _, err := b.Find(t.Context(), Schema.Collection, store.Query{Where: store.Fields{"status": text}, Limit: 2})
		if err != nil || len(page) != 1 || page[0].ID != "id "+text {
			t.Errorf("%q found %v, %v", text, page, err)
		}
	}
	for _, order := range []string{"", "status"} {
		if got := ids(t, b, store.Query{Order: order, Limit: 1}); !slices.Equal(got, want) {
			t.Errorf("order %q gave %q", order, got)
		}
	}
}

func survives(t *testing.T, open func() store.Backend) {
	b := prepared(t, open)
	for i := range 50 {
		must(t, insert(b, document(fmt.Sprint(i), store.Fields{"status": "kept"})))
	}
	must(t, b.Close())
	b = open()
	defer b.Close()
	must(t, b.Verify(t.Context(), Schema))
	if n, err := b.Count(t.Context(), Schema.Collection, store.Fields{"status": "kept"}); n != 50 || err != nil {
		t.Errorf("%d of 50 documents, %v", n, err)
	}
}
