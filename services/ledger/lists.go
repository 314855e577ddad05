package ledger

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/services/ledger/console"
)

// listsEvery is how often the directory of lists is looked at.
const listsEvery = 10 * time.Second

// listed finds the entries of the lists in use, to show them beside a person.
type listed struct {
	set     atomic.Pointer[lists.Set]
	watcher *lists.Watcher // nil for the demonstration's
}

// newListed follows the lists of a directory until ctx ends; without one it has those of the
// demonstration, as risk has. What is not loaded yet is not found.
func newListed(ctx context.Context, dir string, log *slog.Logger) *listed {
	l := &listed{}
	if dir == "" {
		l.set.Store(&lists.Set{Lists: []*lists.List{lists.Demo()}})
		return l
	}
	l.watcher = lists.NewWatcher(lists.Settings{Dir: dir, Every: listsEvery, Log: log}, l.set.Store)
	go l.watcher.Run(ctx)
	return l
}

// entry is a list's entry as it is now, and the version of the list; nil for what is not there.
func (l *listed) entry(list, id string) (e *lists.Entry, version string) {
	set := l.set.Load()
	if set == nil {
		return nil, ""
	}
	found, version, ok := set.Entry(list, id)
	if !ok {
		return nil, version
	}
	return &found, version
}

// loaded tells of every list that is or should be there.
func (l *listed) loaded() []console.List {
	var all []console.List
	if l.watcher != nil {
		for _, s := range l.watcher.Status() {
			all = append(all, console.List{ID: s.List, Version: s.Version, Entries: s.Entries, State: string(s.State), Problem: s.Problem, Confirmed: s.Confirmed})
		}
		return all
	}
	for _, list := range l.set.Load().Lists {
		all = append(all, console.List{ID: list.ID, Version: list.Version(), Entries: len(list.Entries)})
	}
	return all
}
