package jsonbody

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

var rawMessage = reflect.TypeFor[json.RawMessage]()

// value reads the next value into target; an invalid target is skipped.
func (d *decoder) value(target reflect.Value) *Problem {
	d.space()
	if target.IsValid() && target.Type() == rawMessage {
		return d.raw(target)
	}
	start := d.peek()
	if start == 'n' {
		return d.literal("null")
	}
	if target.IsValid() && target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
		target = target.Elem()
	}
	if p := d.checkType(start, target); p != nil {
		return p
	}
	switch start {
	case '{':
		return d.nested(target, d.object)
	case '[':
		return d.nested(target, d.array)
	case '"':
		return d.string(target)
	case 't', 'f':
		return d.boolean(start, target)
	}
	return d.numeric(target)
}

// wanted names the JSON type of a target and the bytes it can start with.
func wanted(kind reflect.Kind) (name, starts string) {
	const number = "-0123456789"
	switch kind {
	case reflect.String:
		return "a string", `"`
	case reflect.Bool:
		return "true or false", "tf"
	case reflect.Int64:
		return "a whole number", number
	case reflect.Float64:
		return "a number", number
	case reflect.Struct, reflect.Map:
		return "an object", "{"
	case reflect.Slice:
		return "an array", "["
	}
	panic("jsonbody: unsupported target " + kind.String())
}

func (d *decoder) checkType(start byte, target reflect.Value) *Problem {
	if start == 0 || !strings.ContainsRune(`{["tf-0123456789`, rune(start)) {
		return d.malformed("a value")
	}
	if !target.IsValid() {
		return nil
	}
	name, starts := wanted(target.Kind())
	if strings.IndexByte(starts, start) >= 0 {
		return nil
	}
	return d.refuse("must be %s", name)
}

func (d *decoder) string(target reflect.Value) *Problem {
	s, p := d.text()
	if p != nil || !target.IsValid() {
		return p
	}
	if d.xmlOnly && strings.ContainsFunc(s, notInXML) {
		return d.refuse("must not hold control characters other than tab and line breaks, leave them out")
	}
	target.SetString(s)
	return nil
}

// notInXML reports what is no Char of XML 1.0 (section 2.2); surrogates cannot occur.
func notInXML(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

func (d *decoder) raw(target reflect.Value) *Problem {
	start := d.pos
	if p := d.value(reflect.Value{}); p != nil {
		return p
	}
	target.SetBytes(slices.Clone(d.body[start:d.pos]))
	return nil
}

func (d *decoder) boolean(start byte, target reflect.Value) *Problem {
	word := map[byte]string{'t': "true", 'f': "false"}[start]
	if p := d.literal(word); p != nil {
		return p
	}
	if target.IsValid() {
		target.SetBool(start == 't')
	}
	return nil
}

func (d *decoder) numeric(target reflect.Value) *Problem {
	text, p := d.number()
	if p != nil || !target.IsValid() {
		return p
	}
	if target.Kind() == reflect.Int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return d.refuse("must be a whole number of at most 64 bits")
		}
		target.SetInt(n)
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return d.refuse("must be a number between -1.7e308 and 1.7e308")
	}
	target.SetFloat(f)
	return nil
}

// nested reads the members between two brackets with one more segment on the path.
func (d *decoder) nested(target reflect.Value, read func(reflect.Value) *Problem) *Problem {
	if len(d.path) == MaxDepth {
		return d.refuse("must not be nested deeper than %d levels", MaxDepth)
	}
	d.pos++
	d.path = append(d.path, segment{index: -1})
	p := read(target)
	d.path = d.path[:len(d.path)-1]
	return p
}

func (d *decoder) object(target reflect.Value) *Problem {
	if d.peek() == '}' {
		d.pos++
		return nil
	}
	seen := names{}
	for {
		if p := d.member(target, &seen); p != nil {
			return p
		}
		if d.peek() == '}' {
			d.pos++
			return nil
		}
		if p := d.take(',', `"," or "}"`); p != nil {
			return p
		}
	}
}

func (d *decoder) member(target reflect.Value, seen *names) *Problem {
	here := &d.path[len(d.path)-1]
	here.name = ""
	if d.peek() != '"' {
		return d.malformed("a member's name")
	}
	name, p := d.text()
	if p != nil {
		return p
	}
	here.name = name
	if !seen.add(name) {
		return d.refuse("must be sent once, it is there twice")
	}
	if p := d.take(':', `":"`); p != nil {
		return p
	}
	if target.IsValid() && target.Kind() == reflect.Map {
		return d.entry(target, name)
	}
	field := Member(target, name)
	if target.IsValid() && !field.IsValid() && d.refuseUnknown {
		return d.refuse("is not a field of this request, leave it out")
	}
	return d.value(field)
}

func (d *decoder) entry(target reflect.Value, name string) *Problem {
	v := reflect.New(target.Type().Elem()).Elem()
	if p := d.value(v); p != nil {
		return p
	}
	if target.IsNil() {
		target.Set(reflect.MakeMap(target.Type()))
	}
	target.SetMapIndex(reflect.ValueOf(name), v)
	return nil
}

func (d *decoder) array(target reflect.Value) *Problem {
	if target.IsValid() {
		target.Set(reflect.MakeSlice(target.Type(), 0, 0))
	}
	if d.peek() == ']' {
		d.pos++
		return nil
	}
	here := len(d.path) - 1
	for i := 0; ; i++ {
		d.path[here].index = i
		if p := d.item(target); p != nil {
			return p
		}
		if d.peek() == ']' {
			d.pos++
			return nil
		}
		if p := d.take(',', `"," or "]"`); p != nil {
			return p
		}
	}
}

func (d *decoder) item(target reflect.Value) *Problem {
	if !target.IsValid() {
		return d.value(target)
	}
	n := target.Len()
	if n == MaxItems {
		return d.refuse("is one too many, at most %d are read", MaxItems)
	}
	target.Grow(1)
	target.SetLen(n + 1)
	target.Index(n).SetZero()
	return d.value(target.Index(n))
}
