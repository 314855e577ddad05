package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/usherhq/usher/pkg/store"
)

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

func tallies(t *testing.T, b store.Backend) {
	for i := range 12 {
		must(t, insert(b, document(fmt.Sprintf("%02d", i), store.Fields{"tenant": "t", "at": int64(i), "status": []string{"odd", "even"}[i%2]})))
	}
	must(t, insert(b, document("without", store.Fields{"tenant": "t"})))
	hour := func(from, to int64) store.Range { return store.Range{Field: "at", From: from, To: to} }
	rows := []struct {
		store.Tally
		want int64
	}{
		{store.Tally{Field: "tenant", Value: "t", Most: 1000}, 13},
		{store.Tally{Field: "tenant", Value: "t", Most: 4}, 4},
		{store.Tally{Field: "tenant", Value: "t", Range: hour(3, 5), Most: 9}, 3},
		{store.Tally{Field: "tenant", Value: "t", Range: hour(0, 11), Most: 9}, 9},
		{store.Tally{Field: "tenant", Value: "u", Range: hour(0, 11), Most: 9}, 0},
		{store.Tally{Field: "status", Value: "odd", Most: 9}, 6},
		{store.Tally{Field: "status", Value: "odd", Most: 9}, 6},
	}
	var asked []store.Tally
	for _, r := range rows {
		asked = append(asked, r.Tally)
	}
	counts, err := b.Tally(t.Context(), Schema.Collection, asked)
	must(t, err)
	for i, r := range rows {
		if len(counts) != len(rows) || counts[i] != r.want {
			t.Errorf("%+v counts %v, want %d", r.Tally, counts, r.want)
		}
	}
	docs := store.NewDocs(b, Schema, func(struct{}) store.Fields { return nil })
	if shared, err := docs.Tally(t.Context(), asked...); err != nil || !slices.Equal(shared, counts) {
		t.Errorf("counted once for all: %v, %v", shared, err)
	}
	for name, bad := range map[string]store.Tally{
		"no bound": {Field: "tenant", Value: "t"}, "too high a bound": {Field: "tenant", Value: "t", Most: 1001},
		"a field of no index": {Field: "colour", Value: "t", Most: 1}, "a range of no index": {Field: "tenant", Value: "t", Range: store.Range{Field: "colour"}, Most: 1},
	} {
		if _, err := b.Tally(t.Context(), Schema.Collection, []store.Tally{bad}); err == nil {
			t.Errorf("%s was counted", name)
		}
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
