package submit

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// summary is of a file of which rows are stored, and each fifth is refused.
func summary(t *testing.T, rows int) Summary {
	t.Helper()
	o := options(t, "a.ndjson", numbered(rows), &gateway{answer: func(n int, _ string) int {
		if n%5 == 0 {
			return http.StatusBadRequest
		}
		return http.StatusAccepted
	}})
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRowsThatThePipelineTurnsDownAreWrittenWithWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := summary(t, 1500)
		var mu sync.Mutex
		asked := map[string]int{}
		f := Following{File: s.Results + ".outcomes", Wait: time.Minute, Begin: func(int64) {}, Progress: func(int64) {}}
		f.Status = func(_ context.Context, id string) (o Outcome, settled, down bool, err error) {
			mu.Lock()
			defer mu.Unlock()
			n := len(asked)
			if _, before := asked[id]; before {
				n = asked[id]
			} else if asked[id] = n; n%3 > 0 {
				return o, false, false, []error{&Refusal{Status: 429, RetryAfter: 3 * time.Second}, errors.New("connection reset")}[n%3-1]
			}
			switch {
			case n%100 == 0:
				return Outcome{Status: "RECEIVED"}, false, false, nil // never done
			case n%10 == 1:
				return Outcome{Status: "REJECTED", Codes: []string{"X"}}, true, true, nil
			}
			return Outcome{Status: "ACTIVATION_SENT"}, true, false, nil
		}
		done, err := Follow(t.Context(), s, f)
		want := map[string]int64{"RECEIVED": 12, "REJECTED": 120, "ACTIVATION_SENT": 1068}
		if err != nil || !maps.Equal(done.Outcomes, want) || done.TurnedDown != 120 {
			t.Errorf("%v, %v", done, err)
		}
		raw, _ := os.ReadFile(f.File)
		if strings.Count(string(raw), `"status":"REJECTED","codes":["X"]}`) != 120 || strings.Count(string(raw), "\n") != 120 {
			t.Errorf("%d bytes: %.200s", len(raw), raw)
		}
	})
}

func TestOutcomesThatCannotBeAskedForEndTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := summary(t, 20)
		for sentence, refused := range map[string]error{
			"a token that is not valid any more": &Refusal{Status: 401, Err: errors.New("no")},
			"a gateway that is gone":             errors.New("connection refused"),
		} {
			f := Following{File: s.Results + ".outcomes", Wait: time.Minute, Begin: func(int64) {}, Progress: func(int64) {},
				Status: func(context.Context, string) (Outcome, bool, bool, error) { return Outcome{}, false, false, refused }}
			if _, err := Follow(t.Context(), s, f); !errors.Is(err, refused) {
				t.Errorf("%s: %v", sentence, err)
			}
			if _, err := os.Stat(f.File); err == nil {
				t.Errorf("%s: a part of the outcomes is written as all", sentence)
			}
		}
	})
}
