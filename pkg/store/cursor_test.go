package store

import (
	"errors"
	"testing"
)

// FuzzCursor holds that a cursor, whatever a client makes of it, is refused with ErrCursor or
// means the same when it is written again.
func FuzzCursor(f *testing.F) {
	q := Query{Where: Fields{"tenant": "t"}, Order: "-at"}
	for _, value := range []any{nil, "", "x\u0000é", int64(-1), int64(1) << 62} {
		f.Add(q.next("people", value, "id"))
	}
	for _, text := range []string{"rubbish", "e30", "=", "bnVsbA"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q.After = text
		c, err := q.after("people")
		if err != nil {
			if !errors.Is(err, ErrCursor) || c != nil {
				t.Fatalf("%v with cursor %v", err, c)
			}
			return
		}
		if c == nil {
			if text != "" {
				t.Fatal("taken for the first page")
			}
			return
		}
		q.After = q.next("people", c.Value, c.ID)
		if again, err := q.after("people"); err != nil || *again != *c {
			t.Fatalf("%v was written again as %v, %v", c, again, err)
		}
	})
}
