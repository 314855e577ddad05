package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// What every backend takes, so that a document which one of them stores fits into all.
const (
	MaxID    = 512     // bytes of a document's id
	MaxBody  = 8 << 20 // bytes of a document's body
	MaxField = 1024    // bytes of a string field
)

var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,40}$`)

// indexed lists the indexed fields of a schema, sorted.
func (sc Schema) indexed() []string {
	set := map[string]bool{}
	for _, fields := range slices.Concat(sc.Unique, sc.Index) {
		for _, f := range fields {
			set[f] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// check refuses a schema whose parts a backend could not name, or not tell apart.
func (sc Schema) check() error {
	for _, name := range append(sc.indexed(), sc.Collection) {
		if !identifier.MatchString(name) {
			return fmt.Errorf("collection %s: %q is not a name of letters, digits and _", sc.Collection, name)
		}
	}
	fields := map[string]bool{}
	for _, name := range sc.indexed() {
		if fields[strings.ToLower(name)] {
			return fmt.Errorf("collection %s: field %s differs from another in upper and lower case only", sc.Collection, name)
		}
		fields[strings.ToLower(name)] = true
	}
	return errors.Join(sc.checkSets(sc.Unique), sc.checkSets(sc.Index))
}

// checkSets refuses sets of fields that would give indexes without a name of their own.
func (sc Schema) checkSets(sets [][]string) error {
	names := map[string]bool{}
	for _, fields := range sets {
		name := strings.Join(fields, "_")
		if name == "" || names[name] {
			return fmt.Errorf("collection %s: the name of index %q is taken or empty", sc.Collection, name)
		}
		names[name] = true
	}
	return nil
}

// checkOp refuses a write that a backend could not do, before anything of it is done.
func (sc Schema) checkOp(op Op) error {
	switch id := op.Document.ID; {
	case id == "":
		return errors.New("a document needs an id")
	case !utf8.ValidString(id):
		return fmt.Errorf("the id of a document of %s is not UTF-8", sc.Collection)
	case len(id) > MaxID:
		return fmt.Errorf("the id of a document of %s is longer than %d bytes", sc.Collection, MaxID)
	}
	switch op.Kind {
	case Delete:
		return nil
	case Insert, Update:
	default:
		return fmt.Errorf("unknown kind of write %d", op.Kind)
	}
	if len(op.Document.Body) > MaxBody {
		return fmt.Errorf("the body of a document of %s is larger than %d bytes", sc.Collection, MaxBody)
	}
	if !isObject(op.Document.Body) {
		return fmt.Errorf("the body of a document of %s is not a JSON object in UTF-8", sc.Collection)
	}
	return sc.checkFields(op.Document.Fields)
}

func isObject(body []byte) bool {
	for _, c := range body {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{':
			return json.Valid(body) && utf8.Valid(body)
		}
		return false
	}
	return false
}

// checkFields refuses fields that no index has, and values that are neither string nor int64.
func (sc Schema) checkFields(fields Fields) error {
	for name, value := range fields {
		if err := sc.checkField(name); err != nil {
			return err
		}
		switch v := value.(type) {
		case int64:
		case string:
			if len(v) > MaxField || !utf8.ValidString(v) {
				return fmt.Errorf("field %s of %s is not UTF-8 of at most %d bytes", name, sc.Collection, MaxField)
			}
		default:
			return fmt.Errorf("field %s of %s is a %T; want string or int64", name, sc.Collection, value)
		}
	}
	return nil
}

func (sc Schema) checkField(name string) error {
	for _, fields := range slices.Concat(sc.Unique, sc.Index) {
		if slices.Contains(fields, name) {
			return nil
		}
	}
	return fmt.Errorf("field %s is not indexed in %s", name, sc.Collection)
}

// checkQuery refuses what no index serves.
func (sc Schema) checkQuery(q Query) error {
	if q.Limit < 1 || q.Limit > 1000 {
		return fmt.Errorf("find in %s: limit %d is not within 1 to 1000", sc.Collection, q.Limit)
	}
	problems := []error{sc.checkFields(q.Where)}
	if q.Range != nil {
		problems = append(problems, sc.checkField(q.Range.Field))
	}
	if field, _ := q.order(); field != "" {
		problems = append(problems, sc.checkField(field))
	}
	return errors.Join(problems...)
}

// checkTallies refuses what no index serves, and counts without a bound.
func (sc Schema) checkTallies(tallies []Tally) error {
	for _, t := range tallies {
		if t.Most < 1 || t.Most > 1000 {
			return fmt.Errorf("tally in %s: bound %d is not within 1 to 1000", sc.Collection, t.Most)
		}
		err := sc.checkFields(Fields{t.Field: t.Value})
		if err == nil && t.Range.Field != "" {
			err = sc.checkField(t.Range.Field)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// conditions of a tally, as a query has them.
func (t Tally) conditions() (Fields, *Range) {
	if t.Range.Field == "" {
		return Fields{t.Field: t.Value}, nil
	}
	return Fields{t.Field: t.Value}, &t.Range
}
