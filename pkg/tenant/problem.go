package tenant

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// Problem is something wrong with a file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1
	Path    string `json:"path"`   // of the setting; "" for the whole file
	Message string `json:"message"`
}

// Error is file:line:column path: what is wrong; how to mend it.
func (p Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d %s", p.File, p.Line, p.Column, strings.TrimPrefix(p.Path+": "+p.Message, ": "))
}

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

// report lists the problems in the order of the file.
func (r *reader) report(name string) []Problem {
	var list []Problem
	for _, p := range r.problems.all() {
		at := r.position(p.path)
		list = append(list, Problem{File: name, Line: at.Line, Column: at.Column, Path: p.path, Message: p.what})
	}
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Error(), b.Error()))
	})
	return slices.Compact(list)
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
