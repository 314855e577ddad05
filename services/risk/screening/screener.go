package screening

import (
	"errors"
	"sync/atomic"

	"github.com/usherhq/usher/pkg/lists"
)

// ErrNoLists says that nothing can be decided: no list has been loaded yet.
var ErrNoLists = errors.New("no list has been loaded")

// Screener screens against the lists in use while others are loaded beside them. The zero value
// has none. Safe for concurrent use.
type Screener struct {
	index atomic.Pointer[Index]
}

// Use indexes a set and then puts it in the place of the one before; give it to
// lists.NewWatcher. Searches that have begun end with the set they began with, and each result
// names the versions it rests on.
func (s *Screener) Use(set *lists.Set) { s.index.Store(NewIndex(set.Lists)) }

// Screen compares a person with those lists in use that have one of the ids, or with all; or it
// returns ErrNoLists.
func (s *Screener) Screen(p Person, threshold int, ids ...string) (Result, error) {
	x := s.index.Load()
	if x == nil {
		return Result{}, ErrNoLists
	}
	return x.Screen(p, threshold, ids...), nil
}
