package lists

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// State is how it stands with a list's files.
type State string

// States of a list.
const (
	// Missing: there are no files of it. A version loaded before stays in use until the process
	// ends: an empty directory is more often a mistake than the end of a list.
	Missing State = "missing"
	// Loading: another version has appeared and is being written or read.
	Loading State = "loading"
	// Current: the version in use is what the files say.
	Current State = "current"
	// Broken: the files cannot be used. A version loaded before stays in use.
	Broken State = "broken"
)

// Status is what an outage policy and metrics look at.
type Status struct {
	List    string
	State   State
	Version string // in use; empty when there is none
	Entries int    // in use
	// Problem names file, line and reason of a broken list; it names no person.
	Problem string
	// Confirmed is when the publisher's content was last known to be that in use: the later of
	// the date in the file and the time its files were written. Whoever fetches a list writes
	// its files also when nothing changed.
	Confirmed time.Time
	// Stale: Confirmed is longer ago than the settings allow.
	Stale bool
}

// Usable tells whether a decision may rest on the list.
func (s Status) Usable() bool { return s.Version != "" && !s.Stale }

// Set is the lists in use at a time, in the order of their ids. It is never changed.
type Set struct{ Lists []*List }

// Versions maps the id of each list to its version.
func (s *Set) Versions() map[string]string {
	versions := map[string]string{}
	for _, l := range s.Lists {
		versions[l.ID] = l.Version()
	}
	return versions
}

// Settings of a Watcher.
type Settings struct {
	Dir      string
	Every    time.Duration            // between looks
	Required []string                 // ids of lists that are missing when they are not there
	MaxAge   map[string]time.Duration // by id of a list; lists without one never grow stale
	Log      *slog.Logger
}

// Watcher keeps the lists of a directory loaded. Safe for concurrent use.
type Watcher struct {
	settings Settings
	use      func(*Set)

	look    sync.Mutex // one look at a time
	problem string     // of the directory, as logged

	mu    sync.Mutex
	known map[string]*watched
}

// watched is what a Watcher knows of a list.
type watched struct {
	state     State
	problem   string
	list      *List  // in use
	seen      string // fingerprint of the look before
	refused   string // fingerprint of a broken version
	confirmed time.Time
}

// NewWatcher watches a directory. use is called with every new set before the watcher's status
// tells of it, one call at a time; a decision then finds either the old lists or the new.
func NewWatcher(s Settings, use func(*Set)) *Watcher {
	w := &Watcher{settings: s, use: use, known: map[string]*watched{}}
	for _, id := range s.Required {
		w.known[id] = &watched{state: Missing}
	}
	return w
}

// Run looks at once and then at every interval until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(w.settings.Every)
	defer tick.Stop()
	for {
		w.Look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Look compares the directory with what is in use and loads what is new. A list that is in use
// is replaced only by content that two looks in a row found the same: it is then not being
// written.
func (w *Watcher) Look() {
	w.look.Lock()
	defer w.look.Unlock()
	sources, err := find(w.settings.Dir)
	if err != nil {
		w.unreadable(err)
		return
	}
	w.problem = ""
	next := map[string]*watched{}
	changed := false
	for _, s := range sources {
		now := w.before(s.id)
		changed = w.inspect(s, &now) || changed
		next[s.id] = &now
	}
	w.keepMissing(next, "")
	if changed {
		w.use(setOf(next))
	}
	w.commit(next)
}

// before is a copy of what is known of a list.
func (w *Watcher) before(id string) watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.known[id]; known != nil {
		return *known
	}
	return watched{state: Loading}
}

// inspect brings one list up to date and tells whether another version is to be used.
func (w *Watcher) inspect(s source, now *watched) bool {
	if _, err := s.format(); err != nil {
		now.broken("", err)
		return false
	}
	sum, written, err := s.fingerprint()
	if err != nil {
		now.broken("", err)
		return false
	}
	settled := sum == now.seen
	now.seen = sum
	switch {
	case now.list != nil && now.list.Hash == sum:
		now.state, now.problem, now.refused = Current, "", ""
		now.confirmed = latest(now.confirmed, past(written))
		return false
	case now.refused == sum:
		now.state = Broken
		return false
	case now.list != nil && !settled:
		now.state, now.problem = Loading, ""
		return false
	}
	list, err := s.load()
	if err != nil {
		now.broken(sum, err)
		return false
	}
	if list.Hash != sum {
		now.state, now.seen = Loading, list.Hash
		return false
	}
	*now = watched{state: Current, list: list, seen: sum, confirmed: latest(past(dated(list.Date)), past(written))}
	return true
}

func (known *watched) broken(sum string, err error) {
	known.state, known.problem, known.refused = Broken, err.Error(), sum
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// past keeps clocks that run ahead from confirming what has not been seen.
func past(t time.Time) time.Time {
	if now := time.Now(); t.After(now) {
		return now
	}
	return t
}

// dated reads the date in a file; the zero time if it has none.
func dated(date string) time.Time {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, date); err == nil {
			return t
		}
	}
	return time.Time{}
}

// keepMissing adds the lists that were not found but are in use or required.
func (w *Watcher) keepMissing(next map[string]*watched, problem string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, known := range w.known {
		if next[id] != nil || known.list == nil && !slices.Contains(w.settings.Required, id) {
			continue
		}
		gone := *known
		gone.state, gone.problem, gone.seen = Missing, problem, ""
		next[id] = &gone
	}
}

// unreadable is a directory that cannot be read: what is in use stays.
func (w *Watcher) unreadable(err error) {
	if w.problem != err.Error() {
		w.problem = err.Error()
		w.settings.Log.Error("lists cannot be read", "error", err)
	}
	next := map[string]*watched{}
	w.keepMissing(next, err.Error())
	w.commit(next)
}

// commit makes what was found the status, and logs what is different.
func (w *Watcher) commit(next map[string]*watched) {
	w.mu.Lock()
	before := w.known
	w.known = next
	w.mu.Unlock()
	for id, now := range next {
		was := before[id]
		if was != nil && was.state == now.state && was.problem == now.problem && was.list == now.list {
			continue
		}
		w.log(id, now)
	}
}

func (w *Watcher) log(id string, now *watched) {
	level := slog.LevelInfo
	if now.state == Missing || now.state == Broken {
		level = slog.LevelError
	}
	version, entries := now.inUse()
	w.settings.Log.Log(context.Background(), level, fmt.Sprintf("list is %s", now.state),
		"list", id, "version", version, "entries", entries, "problem", now.problem)
}

func (known *watched) inUse() (version string, entries int) {
	if known.list == nil {
		return "", 0
	}
	return known.list.Version(), len(known.list.Entries)
}

func setOf(all map[string]*watched) *Set {
	set := &Set{}
	for _, known := range all {
		if known.list != nil {
			set.Lists = append(set.Lists, known.list)
		}
	}
	slices.SortFunc(set.Lists, func(a, b *List) int { return cmp.Compare(a.ID, b.ID) })
	return set
}

// Status is how it stands with every list that is required or was found, in the order of ids.
func (w *Watcher) Status() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]Status, 0, len(w.known))
	for id, known := range w.known {
		s := Status{List: id, State: known.state, Problem: known.problem, Confirmed: known.confirmed}
		s.Version, s.Entries = known.inUse()
		limit, limited := w.settings.MaxAge[id]
		s.Stale = limited && s.Version != "" && time.Since(known.confirmed) > limit
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.List, b.List) })
	return all
}
