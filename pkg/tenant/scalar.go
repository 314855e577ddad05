package tenant

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// scalar fills a string, bool or number. It never says which value was there instead: that may
// be a secret in the wrong place.
func (r *reader) scalar(node ast.Node, into reflect.Value, path string) {
	switch into.Kind() {
	case reflect.String:
		switch n := node.(type) {
		case *ast.StringNode:
			into.SetString(n.Value)
		case *ast.LiteralNode:
			into.SetString(n.Value.Value)
		default:
			r.misfit(path, node, "is not text; put it in quotes")
		}
	case reflect.Bool:
		if n, ok := node.(*ast.BoolNode); ok {
			into.SetBool(n.Value)
			return
		}
		r.misfit(path, node, "is neither true nor false; write one")
	case reflect.Float64:
		if n, ok := number(node); ok {
			into.SetFloat(n)
			return
		}
		r.misfit(path, node, "is not a number; write e.g. 0.8")
	default:
		if !whole(node, into) {
			r.misfit(path, node, "is not a whole number that fits; write e.g. 5")
		}
	}
}

func number(node ast.Node) (float64, bool) {
	switch n := node.(type) {
	case *ast.FloatNode:
		return n.Value, true
	case *ast.IntegerNode:
		v := reflect.ValueOf(n.Value)
		if v.CanFloat() || v.CanInt() || v.CanUint() {
			return v.Convert(reflect.TypeFor[float64]()).Float(), true
		}
	}
	return 0, false
}

// whole sets an integer and reports whether the node holds one that fits.
func whole(node ast.Node, into reflect.Value) bool {
	n, ok := node.(*ast.IntegerNode)
	if !ok {
		return false
	}
	v := reflect.ValueOf(n.Value)
	switch {
	case into.CanInt() && v.CanInt() && !into.OverflowInt(v.Int()):
		into.SetInt(v.Int())
	case into.CanInt() && v.CanUint() && int64(v.Uint()) >= 0 && !into.OverflowInt(int64(v.Uint())):
		into.SetInt(int64(v.Uint()))
	case into.CanUint() && v.CanUint() && !into.OverflowUint(v.Uint()):
		into.SetUint(v.Uint())
	case into.CanUint() && v.CanInt() && v.Int() >= 0 && !into.OverflowUint(uint64(v.Int())):
		into.SetUint(uint64(v.Int()))
	default:
		return false
	}
	return true
}
