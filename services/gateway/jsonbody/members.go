package jsonbody

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// names are the members an object has had so far.
type names struct {
	few  []string
	many map[string]bool
}

// add reports whether name is new.
func (n *names) add(name string) bool {
	const few = 24
	if n.many == nil {
		if slices.Contains(n.few, name) {
			return false
		}
		if n.few = append(n.few, name); len(n.few) < few {
			return true
		}
		n.many = make(map[string]bool, 2*few)
		for _, s := range n.few {
			n.many[s] = true
		}
		return true
	}
	if n.many[name] {
		return false
	}
	n.many[name] = true
	return true
}

var fieldIndexes sync.Map // reflect.Type -> map[string][]int

// Member returns the field of a struct whose `json` tag has a member's name, or the invalid
// value. Its callers read other notations into the same structs.
func Member(target reflect.Value, name string) reflect.Value {
	if !target.IsValid() {
		return reflect.Value{}
	}
	indexes, known := fieldIndexes.Load(target.Type())
	if !known {
		indexes, _ = fieldIndexes.LoadOrStore(target.Type(), indexFields(target.Type()))
	}
	if i, ok := indexes.(map[string][]int)[name]; ok {
		return target.FieldByIndex(i)
	}
	return reflect.Value{}
}

// indexFields finds the fields of t by their tag; those of embedded structs count as its own.
func indexFields(t reflect.Type) map[string][]int {
	m := make(map[string][]int, t.NumField())
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous || name == "-":
		case name == "":
			panic(fmt.Sprintf("jsonbody: %s.%s has no json tag", t, f.Name))
		default:
			m[name] = f.Index
		}
	}
	return m
}
