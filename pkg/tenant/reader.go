package tenant

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxNodes bounds what aliases may expand to.
const maxNodes = 200_000

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_<-]+$`)

// reader fills Go values from YAML. Unlike a decoder it does not stop at the first thing that
// does not fit: it notes it, leaves the default, and goes on. Unknown and repeated keys, empty
// values, tags and merges do not fit; text must be text, so that 01111 is never read as 585.
type reader struct {
	problems problems
	at       map[string]token.Position // by path
	anchors  map[string]ast.Node
	nodes    int
}

func newReader() *reader {
	return &reader{at: map[string]token.Position{}, anchors: map[string]ast.Node{}}
}

// document reads the only document of raw. It reports whether it was read to its end.
func (r *reader) document(raw []byte, into any) bool {
	file, err := parser.ParseBytes(raw, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return false
	}
	if len(file.Docs) > 1 {
		r.misfit("", file.Docs[1], "is a second document; keep one")
		return false
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		r.misfit("", nil, "the file is empty; configure at least one tenant")
		return false
	}
	r.read(file.Docs[0].Body, reflect.ValueOf(into).Elem(), "")
	return r.nodes <= maxNodes
}

func (r *reader) syntax(err error) {
	what := "is not YAML"
	var at yaml.Error
	if errors.As(err, &at) {
		what = strings.Join(strings.Fields(at.GetMessage()), " ")
		if t := at.GetToken(); t != nil && t.Position != nil {
			r.at[""] = *t.Position
		}
	}
	r.problems.misfit("", "%s; mend the YAML", what)
}

// misfit notes what does not fit at path. The node says where, if the path is not known yet.
func (r *reader) misfit(path string, node ast.Node, what string, args ...any) {
	r.locate(path, node)
	r.problems.misfit(path, what, args...)
}

func (r *reader) locate(path string, node ast.Node) {
	if _, known := r.at[path]; known || node == nil {
		return
	}
	if t := first(node); t != nil && t.Position != nil {
		r.at[path] = *t.Position
	}
}

// first is the token a reader of the file sees first in a node.
func first(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return first(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return first(n.Key)
	case *ast.DocumentNode:
		return n.Start // of an empty document too, which has no token of its own
	}
	return node.GetToken()
}

// read fills into from node. A value that does not fit leaves into as it was; a pointer is set
// even then, so that no element of a list is nil.
func (r *reader) read(node ast.Node, into reflect.Value, path string) {
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	if r.nodes++; r.nodes > maxNodes {
		if r.nodes == maxNodes+1 {
			r.misfit(path, node, "is more than %d values in; use fewer aliases", maxNodes)
		}
		return
	}
	r.locate(path, node)
	switch n := node.(type) {
	case *ast.AnchorNode:
		r.read(n.Value, into, path)
		r.anchors[n.Name.GetToken().Value] = n.Value
		return
	case *ast.AliasNode:
		if named, ok := r.anchors[n.Value.GetToken().Value]; ok {
			r.read(named, into, path)
			return
		}
		r.misfit(path, node, "names no earlier anchor; write the value here")
		return
	case *ast.TagNode:
		r.misfit(path, node, "has a tag; remove the tag")
		return
	}
	if node.Type() == ast.NullType {
		r.misfit(path, node, "is empty; give it a value, {} for all defaults, or remove it")
		return
	}
	r.fill(node, into, path)
}

func (r *reader) fill(node ast.Node, into reflect.Value, path string) {
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		r.text(node, text, path)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		r.structure(node, into, path)
	case reflect.Map:
		into.Set(reflect.MakeMap(into.Type()))
		r.entries(node, path, func(key string, value ast.Node, at string) {
			element := reflect.New(into.Type().Elem()).Elem()
			r.read(value, element, at)
			into.SetMapIndex(reflect.ValueOf(key), element)
		})
	case reflect.Slice:
		r.list(node, into, path)
	default:
		r.scalar(node, into, path)
	}
}

func (r *reader) structure(node ast.Node, into reflect.Value, path string) {
	if d, ok := into.Addr().Interface().(interface{ setDefaults() }); ok {
		d.setDefaults()
	}
	r.entries(node, path, func(key string, value ast.Node, at string) {
		for i := range into.NumField() {
			if into.Type().Field(i).Tag.Get("yaml") == key && key != "-" {
				r.read(value, into.Field(i), at)
				return
			}
		}
		r.misfit(at, value, "is not a setting; mend its name or remove it")
	})
}

// entries visits a mapping. An entry stands where its key stands.
func (r *reader) entries(node ast.Node, path string, visit func(key string, value ast.Node, at string)) {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		r.misfit(path, node, "is not a mapping; write key: value")
		return
	}
	seen := map[string]bool{}
	for i := mapping.MapRange(); i.Next(); {
		key := i.Key().GetToken().Value
		at := join(path, key)
		_, plain := i.Key().(ast.ScalarNode)
		switch {
		case !plain || i.Key().IsMergeKey():
			r.misfit(at, i.Key(), "is not a plain key; write the keys out")
		case seen[key]:
			r.at[at] = *i.Key().GetToken().Position
			r.misfit(at, i.Key(), "is there twice; keep one")
		default:
			seen[key] = true
			r.locate(at, i.Key())
			visit(key, i.Value(), at)
		}
	}
}

// join appends a key to a path, quoted where it would not read as one word.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func (r *reader) list(node ast.Node, into reflect.Value, path string) {
	array, ok := node.(ast.ArrayNode)
	if !ok {
		r.misfit(path, node, "is not a list; write [a, b]")
		return
	}
	elements := reflect.MakeSlice(into.Type(), 0, 0)
	for i := array.ArrayRange(); i.Next(); {
		element := reflect.New(into.Type().Elem()).Elem()
		r.read(i.Value(), element, fmt.Sprintf("%s[%d]", path, elements.Len()))
		elements = reflect.Append(elements, element)
	}
	into.Set(elements)
}

func (r *reader) text(node ast.Node, into encoding.TextUnmarshaler, path string) {
	var text string
	switch n := node.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = n.Value.Value
	}
	if err := into.UnmarshalText([]byte(text)); err != nil {
		r.misfit(path, node, "%s", err)
	}
}
