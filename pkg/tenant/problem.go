package tenant

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// problem is something wrong at a path of the file, and how to mend it.
type problem struct{ path, what string }

// problems collects everything wrong with a file: none hides another.
type problems struct {
	shape   []problem // what does not fit the schema
	content []problem // what fits it and cannot work
}

// that notes a problem of the content unless ok.
func (p *problems) that(ok bool, path, what string, args ...any) {
	if !ok {
		p.content = append(p.content, problem{path, fmt.Sprintf(what, args...)})
	}
}

// misfit notes a problem of the shape.
func (p *problems) misfit(path, what string, args ...any) {
	p.shape = append(p.shape, problem{path, fmt.Sprintf(what, args...)})
}

// all lists the problems, without those that only follow from a misfit at or above their path.
func (p *problems) all() []problem {
	follows := func(c problem) bool {
		return slices.ContainsFunc(p.shape, func(s problem) bool { return within(c.path, s.path) })
	}
	return append(slices.Clone(p.shape), slices.DeleteFunc(slices.Clone(p.content), follows)...)
}

func within(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || above == "" || rest[0] == '.' || rest[0] == '[')
}

// report joins the problems in the order of the file, or returns nil when there is none.
func (r *reader) report(name string) error {
	type line struct {
		at   token.Position
		text string
	}
	var lines []line
	for _, p := range r.problems.all() {
		at := r.position(p.path)
		lines = append(lines, line{at, fmt.Sprintf("%s:%d:%d %s", name, at.Line, at.Column, strings.TrimPrefix(p.path+": "+p.what, ": "))})
	}
	slices.SortStableFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.at.Line, b.at.Line), cmp.Compare(a.at.Column, b.at.Column), strings.Compare(a.text, b.text))
	})
	lines = slices.Compact(lines)
	all := make([]error, len(lines))
	for i, l := range lines {
		all[i] = errors.New(l.text)
	}
	return errors.Join(all...)
}

// position is where a path stands, or the nearest one above it that the file has.
func (r *reader) position(path string) token.Position {
	for path != "" {
		if at, ok := r.at[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	if at, ok := r.at[""]; ok {
		return at
	}
	return token.Position{Line: 1, Column: 1}
}
