package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/pkg/store"
)

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
