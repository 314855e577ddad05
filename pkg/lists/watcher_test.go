package lists

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const every = 30 * time.Second

// watch is a directory that a watcher runs over, on the clock of a synctest bubble.
type watch struct {
	*testing.T
	dir     string
	watcher *Watcher
	stop    func()

	mu   sync.Mutex
	used []*Set
}

func watching(t *testing.T, s Settings) *watch {
	w := &watch{T: t, dir: s.Dir}
	s.Every = every
	s.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	w.watcher = NewWatcher(s, func(set *Set) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.used = append(w.used, set)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.watcher.Run(ctx) }()
	w.stop = func() { cancel(); <-done }
	synctest.Wait()
	return w
}

// write puts a file there with the time of the bubble as its own.
func (w *watch) write(name, content string) {
	w.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		w.Fatal(err)
	}
}

// looks lets that many looks happen.
func (w *watch) looks(n int) {
	time.Sleep(time.Duration(n) * every)
	synctest.Wait()
}

// status checks the state of the only list, and whether a version is in use.
func (w *watch) status(state State, usable bool) Status {
	w.Helper()
	all := w.watcher.Status()
	if len(all) != 1 {
		w.Fatalf("%d lists are known", len(all))
	}
	if all[0].State != state || all[0].Usable() != usable {
		w.Errorf("status %+v, want %s, usable %v", all[0], state, usable)
	}
	return all[0]
}

// sets are all that have been in use, the latest last.
func (w *watch) sets() []*Set {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.used)
}

func (w *watch) inUse() *List {
	w.Helper()
	sets := w.sets()
	if len(sets) == 0 || len(sets[len(sets)-1].Lists) != 1 {
		w.Fatal("no list is in use")
	}
	return sets[len(sets)-1].Lists[0]
}

const (
	oneEntry   = ownHead + ownRow
	twoEntries = ownHead + ownRow + "x-2,individual,Another Example,,,,\n"
)

func bubble(name string, t *testing.T, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestAListThroughItsLife(t *testing.T) {
	bubble("a required list that is not there is missing, and used when it comes", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: t.TempDir(), Required: []string{"own"}})
		defer w.stop()
		w.status(Missing, false)
		w.write("own.csv", oneEntry)
		w.looks(1)
		if s := w.status(Current, true); s.Entries != 1 || s.Version != w.inUse().Version() {
			t.Errorf("status %+v", s)
		}
	})
	bubble("a directory that is not there is a problem of every required list", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: filepath.Join(t.TempDir(), "none"), Required: []string{"own"}})
		defer w.stop()
		if s := w.status(Missing, false); !strings.Contains(s.Problem, "read the directory") {
			t.Errorf("problem %q", s.Problem)
		}
	})
	bubble("a new version is used when two looks found it the same", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: write(t, map[string]string{"own.csv": oneEntry})})
		defer w.stop()
		old := w.inUse()
		w.write("own.csv", twoEntries)
		w.looks(1)
		if s := w.status(Loading, true); s.Version != old.Version() || w.inUse() != old {
			t.Errorf("what was seen once is in use: %+v", s)
		}
		w.looks(1)
		if s := w.status(Current, true); s.Version == old.Version() || s.Entries != 2 || len(w.inUse().Entries) != 2 {
			t.Errorf("status %+v", s)
		}
		if len(old.Entries) != 1 || len(w.sets()) != 2 {
			t.Errorf("the old list has %d entries, there were %d sets", len(old.Entries), len(w.sets()))
		}
	})
	bubble("a broken version is refused, the old one stays, the next good one is used", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: write(t, map[string]string{"own.csv": oneEntry})})
		defer w.stop()
		old := w.inUse()
		w.write("own.csv", oneEntry+"x-2,individual\n")
		w.looks(2)
		if s := w.status(Broken, true); s.Problem != "own.csv:3: the row has 2 columns, not 7; was the file cut off?" || s.Version != old.Version() {
			t.Errorf("status %+v", s)
		}
		w.looks(3)
		w.status(Broken, true)
		w.write("own.csv", twoEntries)
		w.looks(2)
		if s := w.status(Current, true); s.Problem != "" || s.Entries != 2 {
			t.Errorf("status %+v", s)
		}
	})
	bubble("a broken version that is taken back leaves nothing behind", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: write(t, map[string]string{"own.csv": oneEntry})})
		defer w.stop()
		w.write("own.csv", "broken")
		w.looks(2)
		w.write("own.csv", oneEntry)
		w.looks(1)
		if s := w.status(Current, true); s.Problem != "" || len(w.sets()) != 1 {
			t.Errorf("status %+v, %d sets", s, len(w.sets()))
		}
	})
	bubble("a list that is broken from the start is of no use", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: write(t, map[string]string{"own.csv": "broken"})})
		defer w.stop()
		w.status(Broken, false)
		if len(w.sets()) != 0 {
			t.Errorf("%d sets", len(w.sets()))
		}
	})
	bubble("a list whose file is gone stays in use and is missing", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: write(t, map[string]string{"own.csv": oneEntry})})
		defer w.stop()
		if err := os.Remove(filepath.Join(w.dir, "own.csv")); err != nil {
			t.Fatal(err)
		}
		w.looks(2)
		if s := w.status(Missing, true); s.Entries != 1 || len(w.sets()) != 1 {
			t.Errorf("status %+v", s)
		}
	})
	bubble("a stray file that is taken away is forgotten", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: write(t, map[string]string{"own.pdf": "x"})})
		defer w.stop()
		w.status(Broken, false)
		if err := os.Remove(filepath.Join(w.dir, "own.pdf")); err != nil {
			t.Fatal(err)
		}
		w.looks(1)
		if all := w.watcher.Status(); len(all) != 0 {
			t.Errorf("status %+v", all)
		}
	})
	bubble("a directory that goes away leaves its lists in use", t, func(t *testing.T) {
		w := watching(t, Settings{Dir: write(t, map[string]string{"own.csv": oneEntry})})
		defer w.stop()
		if err := os.RemoveAll(w.dir); err != nil {
			t.Fatal(err)
		}
		w.looks(1)
		if s := w.status(Missing, true); !strings.Contains(s.Problem, "read the directory") || len(w.sets()) != 1 {
			t.Errorf("status %+v", s)
		}
	})
	bubble("a list grows stale, and is confirmed by being written again", t, func(t *testing.T) {
		dir := t.TempDir()
		first := &watch{T: t, dir: dir}
		first.write("own.csv", oneEntry)
		w := watching(t, Settings{Dir: dir, MaxAge: map[string]time.Duration{"own": 24 * time.Hour}})
		defer w.stop()
		time.Sleep(24 * time.Hour)
		w.status(Current, true)
		w.looks(1)
		if s := w.status(Current, false); !s.Stale {
			t.Errorf("status %+v", s)
		}
		w.write("own.csv", oneEntry)
		w.looks(1)
		if s := w.status(Current, true); s.Stale || len(w.sets()) != 1 {
			t.Errorf("status %+v, %d sets", s, len(w.sets()))
		}
	})
	bubble("a file from the future confirms nothing beyond now", t, func(t *testing.T) {
		dir := t.TempDir()
		(&watch{T: t, dir: dir}).write("own.csv", "# date: 2999-01-01\n"+oneEntry)
		w := watching(t, Settings{Dir: dir, MaxAge: map[string]time.Duration{"own": time.Hour}})
		defer w.stop()
		w.status(Current, true)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		w.status(Current, false)
	})
}

// generation makes a directory as Kubernetes mounts one: links to files in ..data, which is
// itself a link that is swapped.
func generation(t *testing.T, dir, name, content string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, name), 0o700))
	must(os.WriteFile(filepath.Join(dir, name, "own.csv"), []byte(content), 0o600))
	must(os.Symlink(name, filepath.Join(dir, "..next")))
	must(os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")))
}

func TestASwappedLinkOfKubernetesIsANewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		generation(t, dir, "..1", oneEntry)
		if err := os.Symlink("..data/own.csv", filepath.Join(dir, "own.csv")); err != nil {
			t.Fatal(err)
		}
		w := watching(t, Settings{Dir: dir})
		defer w.stop()
		w.status(Current, true)
		generation(t, dir, "..2", twoEntries)
		w.looks(2)
		if s := w.status(Current, true); s.Entries != 2 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestOtherListsGoOnBesideABrokenOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, Settings{Dir: write(t, map[string]string{"a.csv": oneEntry, "b.csv": "broken", "c.pdf": "x", "README.md": "x"})})
		defer w.stop()
		var got []string
		for _, s := range w.watcher.Status() {
			got = append(got, s.List+" "+string(s.State))
		}
		if strings.Join(got, ", ") != "a current, b broken, c.pdf broken" {
			t.Errorf("got %s", got)
		}
		if versions := w.sets()[0].Versions(); len(versions) != 1 || versions["a"] == "" {
			t.Errorf("versions %v", versions)
		}
	})
}
