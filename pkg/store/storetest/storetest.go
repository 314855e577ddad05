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

func isolatesFailures(t *testing.T, b store.Backend) {
	must(t, insert(b, document("taken", store.Fields{"tenant": "t", "u_email": "x"})))
	errs := b.Write(t.Context(), Schema.Collection, []store.Op{
		{Kind: store.Insert, Document: document("first", nil)},
		{Kind: store.Insert, Document: document("taken", nil)},
		{Kind: store.Insert, Document: document("duplicate", store.Fields{"tenant": "t", "u_email": "x"})},
		{Kind: store.Update, Document: document("absent", nil)},
		{Kind: store.Insert, Document: document("bad", store.Fields{"tenant": 1.5})},
		{Kind: store.Insert, Document: document("last", nil)},
	})
	failed := make([]bool, len(errs))
	for i, err := range errs {
		failed[i] = err != nil
	}
	if want := []bool{false, true, true, true, true, false}; !slices.Equal(failed, want) {
		t.Errorf("errors %v", errs)
	}
	for _, id := range []string{"first", "last"} {
		if _, ok := get(t, b, id); !ok {
			t.Errorf("%s is not stored", id)
		}
	}
}

func paginates(t *testing.T, b store.Backend) {
	const n = 25
	for i := range n {
		must(t, insert(b, document(fmt.Sprintf("%02d", i), store.Fields{"tenant": "t", "at": int64(i / 7), "status": "s"})))
	}
	must(t, insert(b, document("other", store.Fields{"tenant": "u", "at": int64(1)})))
	for _, order := range []string{"", "at", "-at", "-tenant"} {
		q := store.Query{Where: store.Fields{"tenant": "t"}, Order: order, Limit: 4}
		ids := ids(t, b, q)
		want := slices.Sorted(slices.Values(ids))
		if strings.HasPrefix(order, "-") {
			slices.Reverse(want)
		}
		if len(slices.Compact(slices.Clone(want))) != n || !slices.Equal(ids, want) {
			t.Errorf("order %q gave %v", order, ids)
		}
	}
	page, _, err := b.Find(t.Context(), Schema.Collection, store.Query{Range: &store.Range{Field: "at", From: 1, To: 2}, Order: "at", Limit: 100})
	if err != nil || len(page) != 15 {
		t.Errorf("range found %d, %v", len(page), err)
	}
}

// ids reads all pages of a query, in their order.
func ids(t *testing.T, b store.Backend, q store.Query) (all []string) {
	t.Helper()
	for {
		page, next, err := b.Find(t.Context(), Schema.Collection, q)
		must(t, err)
		for _, d := range page {
			all = append(all, d.ID)
		}
		if next == "" {
			return all
		}
		if len(all) > 1000 {
			t.Fatal("the pages have no end")
		}
		q.After = next
	}
}

func ordersAbsent(t *testing.T, b store.Backend) {
	for i := range 5 {
		must(t, insert(b, document(fmt.Sprint("with", i), store.Fields{"tenant": "t", "at": int64(i / 2)})))
		must(t, insert(b, document(fmt.Sprint("without", i), store.Fields{"tenant": "t"})))
	}
	want := []string{"without0", "without1", "without2", "without3", "without4", "with0", "with1", "with2", "with3", "with4"}
	for limit := 1; limit <= 11; limit++ {
		for _, order := range []string{"at", "-at"} {
			got := ids(t, b, store.Query{Where: store.Fields{"tenant": "t"}, Order: order, Limit: limit})
			if order == "-at" {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want) {
				t.Errorf("order %q by %d gave %v", order, limit, got)
			}
		}
	}
}

func bindsCursors(t *testing.T, b store.Backend) {
	for i := range 4 {
		must(t, insert(b, document(fmt.Sprint(i), store.Fields{"tenant": "t", "at": int64(i)})))
	}
	q := store.Query{Where: store.Fields{"tenant": "t"}, Order: "at", Limit: 2}
	_, next, err := b.Find(t.Context(), Schema.Collection, q)
	must(t, err)
	for name, other := range map[string]store.Query{
		"another tenant":      {Where: store.Fields{"tenant": "u"}, Order: "at", Limit: 2, After: next},
		"no condition":        {Order: "at", Limit: 2, After: next},
		"another order":       {Where: q.Where, Order: "-at", Limit: 2, After: next},
		"another range":       {Where: q.Where, Range: &store.Range{Field: "at", To: 9}, Order: "at", Limit: 2, After: next},
		"rubbish":             {Where: q.Where, Order: "at", Limit: 2, After: "rubbish"},
		"rubbish that is b64": {Where: q.Where, Order: "at", Limit: 2, After: "e30"},
	} {
		if _, _, err := b.Find(t.Context(), Schema.Collection, other); !errors.Is(err, store.ErrCursor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty := store.Query{Order: "at", Limit: 1}
	if _, empty.After, err = b.Find(t.Context(), Schema.Collection, empty); err != nil {
		t.Fatal(err)
	}
	empty.Where = store.Fields{}
	if _, _, err := b.Find(t.Context(), Schema.Collection, empty); err != nil {
		t.Errorf("no condition told in another way: %v", err)
	}
	q.After, q.Limit = next, 3
	if page, _, err := b.Find(t.Context(), Schema.Collection, q); err != nil || len(page) != 2 || page[0].ID != "2" {
		t.Errorf("another limit: %v, %v", page, err)
	}
}

func refusesOversized(t *testing.T, b store.Backend) {
	huge := store.Document{ID: "huge", Body: fmt.Appendf(nil, `{"v":%q}`, strings.Repeat("x", store.MaxBody))}
	long := document(strings.Repeat("i", store.MaxID+1), nil)
	errs := b.Write(t.Context(), Schema.Collection, []store.Op{
		{Kind: store.Insert, Document: document("first", nil)},
		{Kind: store.Insert, Document: huge},
		{Kind: store.Insert, Document: long},
		{Kind: store.Insert, Document: store.Document{ID: "list", Body: []byte("[]")}},
		{Kind: store.Insert, Document: document("last", nil)},
	})
	if errs[0] != nil || errs[1] == nil || errs[2] == nil || errs[3] == nil || errs[4] != nil {
		t.Errorf("errors %v", errs)
	}
	if _, ok := get(t, b, "last"); !ok {
		t.Error("the last is not stored")
	}
}

func getsMany(t *testing.T, b store.Backend) {
	must(t, insert(b, document("a", nil)))
	asked := []string{"a", "a"}
	for i := range 40_000 {
		asked = append(asked, fmt.Sprint("absent", i))
	}
	found, err := b.Get(t.Context(), Schema.Collection, asked...)
	if err != nil || len(found) != 1 {
		t.Errorf("found %d, %v", len(found), err)
	}
	if found, err := b.Get(t.Context(), Schema.Collection); err != nil || len(found) != 0 {
		t.Errorf("nothing asked: found %d, %v", len(found), err)
	}
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

func refusesBadFields(t *testing.T, b store.Backend) {
	for name, fields := range map[string]store.Fields{"unknown": {"surprise": "x"}, "of another type": {"tenant": true}} {
		if err := insert(b, document("a", fields)); err == nil {
			t.Errorf("a field %s was accepted", name)
		}
	}
	for name, query := range map[string]store.Query{
		"by a field without an index":         {Where: store.Fields{"surprise": "x"}, Limit: 1},
		"by a value of another type":          {Where: store.Fields{"tenant": 1.5}, Limit: 1},
		"of a range of a field without index": {Range: &store.Range{Field: "surprise"}, Limit: 1},
		"ordered by a field without an index": {Order: "-surprise", Limit: 1},
		"without a limit":                     {},
	} {
		if _, _, err := b.Find(t.Context(), Schema.Collection, query); err == nil {
			t.Errorf("a query %s was accepted", name)
		}
	}
	if _, err := b.Count(t.Context(), Schema.Collection, store.Fields{"surprise": "x"}); err == nil {
		t.Error("a count by a field without an index was accepted")
	}
	if err := insert(b, store.Document{ID: "a", Body: []byte("{")}); err == nil {
		t.Error("a body that is no JSON was accepted")
	}
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

func honoursContext(t *testing.T, b store.Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Write(ctx, Schema.Collection, []store.Op{{Kind: store.Insert, Document: document("a", nil)}})[0]; err == nil {
		t.Error("a cancelled write succeeded")
	}
	if _, ok := get(t, b, "a"); ok {
		t.Error("a cancelled write is stored")
	}
}

func survivesCancelling(t *testing.T, b store.Backend) {
	for i := range 600 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%120)*time.Microsecond)
		b.Write(ctx, Schema.Collection, []store.Op{{Kind: store.Insert, Document: document(fmt.Sprint("cut short ", i), nil)}})
		cancel()
		if err := insert(b, document(fmt.Sprint(i), nil)); err != nil {
			t.Fatalf("the write after one that was cut short: %v", err)
		}
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

func refusesSchemas(t *testing.T, open func() store.Backend) {
	b := open()
	defer b.Close()
	for name, sc := range map[string]store.Schema{
		"an index of no field":                       {Collection: "c", Index: [][]string{{}}},
		"a unique set of no field":                   {Collection: "c", Unique: [][]string{{}}},
		"two indexes of one name":                    {Collection: "c", Index: [][]string{{"a_b", "c"}, {"a", "b_c"}}},
		"fields that differ in upper and lower case": {Collection: "c", Index: [][]string{{"a"}, {"A"}}},
		"a field that is no name":                    {Collection: "c", Index: [][]string{{"a.b"}}},
		"a collection that is no name":               {Collection: "c$"},
		"a collection without a name":                {},
	} {
		if err := b.Ensure(t.Context(), sc); err == nil {
			t.Errorf("%s was accepted", name)
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

func names(t *testing.T, open func() store.Backend) {
	b := open()
	defer b.Close()
	if err := b.Verify(t.Context(), Schema); err == nil || !strings.Contains(err.Error(), Schema.Collection) {
		t.Errorf("nothing is there: %v", err)
	}
	must(t, b.Ensure(t.Context(), Schema))
	wider := Schema
	wider.Index = slices.Concat(Schema.Index, [][]string{{"colour"}, {"status", "at"}})
	wider.Unique = slices.Concat(Schema.Unique, [][]string{{"tenant", "at"}})
	err := b.Verify(t.Context(), wider)
	for _, what := range []string{"colour", "status_at", "tenant_at"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s is not named: %v", what, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "email") {
		t.Errorf("what is there is named: %v", err)
	}
	must(t, b.Ensure(t.Context(), wider))
	must(t, b.Verify(t.Context(), wider))
}
