package keys

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Kept is what a key file tells without its secrets.
type Kept struct {
	Name        string
	Generations int
	Since       time.Time // when the generation in use became active; zero for the first one made
	Next        time.Time // when the next one does; zero where there is none
	Err         error     // why the file cannot be used
}

// Inspect tells of every key file in a directory.
func Inspect(dir string, now time.Time) ([]Kept, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	found, err := fs.Glob(os.DirFS(dir), "*.json")
	if err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	var all []Kept
	for _, name := range found {
		all = append(all, inspect(dir, strings.TrimSuffix(filepath.Base(name), ".json"), now))
	}
	return all, nil
}

func inspect(dir, name string, now time.Time) Kept {
	f, err := read(dir, name)
	if err != nil {
		return Kept{Name: name, Err: err}
	}
	k := Kept{Name: name, Generations: len(f.Keys)}
	slices.SortFunc(f.Keys, func(a, b generation) int { return a.ActiveFrom.Compare(b.ActiveFrom) })
	active := false
	for _, g := range f.Keys {
		if g.ActiveFrom.After(now) {
			k.Next = g.ActiveFrom
			break
		}
		active, k.Since = true, g.ActiveFrom
	}
	if !active {
		k.Err = fmt.Errorf("key %s: no generation is active yet", name)
	}
	return k
}
