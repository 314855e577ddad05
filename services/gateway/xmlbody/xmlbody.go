// Package xmlbody decodes XML that comes from outside, into the structs that package jsonbody
// decodes JSON into: a `json` tag names an element, an element that repeats is a slice. Limits
// and problems are those of jsonbody.
package xmlbody

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/usherhq/usher/services/gateway/jsonbody"
)

// Decode reads one document with the given root element into the struct that into points to.
// Elements match by their local name, in any order; namespaces, attributes, comments, white space
// between elements and elements that the target does not name do not matter. Targets are
// strings, booleans, structs, pointers to and slices of them; other types panic.
//
// Refused are: more than jsonbody.MaxBytes, where nothing before that is refused; more than
// jsonbody.MaxDepth or MaxItems; another encoding than UTF-8; document type declarations, so that
// there are no entities but the five of XML; processing instructions; a second element where the
// target has no slice; text beside elements. The error is always a *jsonbody.Problem, the first
// one met; Field does not name the root.
func Decode(body []byte, root string, into any) error {
	if p := decode(body, root, into); p != nil {
		return p
	}
	return nil
}

var byteOrderMark = []byte("\ufeff")

func decode(body []byte, root string, into any) *jsonbody.Problem {
	if len(body) <= jsonbody.MaxBytes {
		if !utf8.Valid(body) {
			return &jsonbody.Problem{Detail: "the body must be valid UTF-8"}
		}
		return document(bytes.NewReader(bytes.TrimPrefix(body, byteOrderMark)), root, into)
	}
	limit := &limitReader{rest: bytes.TrimPrefix(body[:jsonbody.MaxBytes], byteOrderMark)}
	p := document(limit, root, into)
	if limit.passed {
		return &jsonbody.Problem{Detail: fmt.Sprintf("the body must not be larger than %d KiB", jsonbody.MaxBytes>>10), TooLarge: true}
	}
	return p
}

// limitReader reads the beginning of a body that is too large. It passes the limit where more is
// asked for: nothing was wrong until there.
type limitReader struct {
	rest   []byte
	passed bool
}

func (l *limitReader) Read(into []byte) (n int, err error) {
	if len(l.rest) == 0 {
		l.passed = true
		return 0, io.EOF
	}
	n = copy(into, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func document(body io.Reader, root string, into any) *jsonbody.Problem {
	d := &decoder{tokens: xml.NewDecoder(body)}
	d.tokens.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errEncoding }
	start, p := d.prolog()
	switch {
	case p != nil:
		return p
	case start.Name.Local != root:
		return d.refuse("must have the root element %s", root)
	}
	if p := d.value(reflect.ValueOf(into).Elem()); p != nil {
		return p
	}
	return d.epilog()
}

var errEncoding = errors.New("another encoding")

// decoder is one pass over a document.
type decoder struct {
	tokens *xml.Decoder
	path   []string // of the open elements, without the root
	depth  int
}

// refuse makes a problem of the element where the decoder stands; detail continues its name.
func (d *decoder) refuse(detail string, args ...any) *jsonbody.Problem {
	p := &jsonbody.Problem{Field: strings.Join(d.path, "."), Detail: fmt.Sprintf(detail, args...)}
	if p.Field == "" {
		p.Detail = "the body " + p.Detail
	}
	return p
}

// next returns the next token that is no comment; io.EOF is nil. It refuses what no body needs.
func (d *decoder) next() (xml.Token, *jsonbody.Problem) {
	for {
		atStart := d.tokens.InputOffset() == 0
		token, err := d.tokens.Token()
		switch {
		case err == io.EOF:
			return nil, nil
		case errors.Is(err, errEncoding):
			return nil, d.refuse("must be UTF-8, and its XML declaration say so")
		case err != nil:
			line, _ := d.tokens.InputPos()
			return nil, d.refuse("is not well-formed XML 1.0 at line %d: close every element, write & and < as &amp; and &lt;, use no other entities and no control characters", line)
		}
		switch t := token.(type) {
		case xml.Comment:
			continue
		case xml.Directive:
			return nil, d.refuse("must not have a document type declaration, leave it out")
		case xml.ProcInst:
			if t.Target == "xml" && atStart {
				continue
			}
			return nil, d.refuse("must not have processing instructions, leave them out")
		}
		return token, nil
	}
}

func isBlank(text xml.CharData) bool { return len(bytes.Trim(text, " \t\r\n")) == 0 }

// prolog reads up to the root element.
func (d *decoder) prolog() (xml.StartElement, *jsonbody.Problem) {
	for {
		token, p := d.next()
		if p != nil {
			return xml.StartElement{}, p
		}
		switch t := token.(type) {
		case xml.StartElement:
			return t, nil
		case nil:
			return xml.StartElement{}, d.refuse("is empty, send one XML document")
		case xml.CharData:
			if !isBlank(t) {
				return xml.StartElement{}, d.refuse("must begin with an XML element")
			}
		}
	}
}

// epilog reads to the end of the document.
func (d *decoder) epilog() *jsonbody.Problem {
	for {
		token, p := d.next()
		if token == nil || p != nil {
			return p
		}
		if text, ok := token.(xml.CharData); !ok || !isBlank(text) {
			return d.refuse("must end after its root element")
		}
	}
}

// value reads the content of an element that has just begun, and its end; an invalid target is
// skipped.
func (d *decoder) value(target reflect.Value) *jsonbody.Problem {
	if d.depth++; d.depth > jsonbody.MaxDepth {
		return d.refuse("must not be nested deeper than %d levels", jsonbody.MaxDepth)
	}
	defer func() { d.depth-- }()
	if target.IsValid() && target.Kind() == reflect.Pointer {
		target.Set(reflect.New(target.Type().Elem()))
		target = target.Elem()
	}
	switch target.Kind() {
	case reflect.Invalid:
		return d.skip()
	case reflect.Struct:
		return d.children(target)
	case reflect.String:
		text, p := d.text()
		if p == nil {
			target.SetString(text)
		}
		return p
	case reflect.Bool:
		return d.boolean(target)
	}
	panic("xmlbody: unsupported target " + target.Kind().String())
}

// children reads the elements of a struct.
func (d *decoder) children(target reflect.Value) *jsonbody.Problem {
	var seen []string
	for {
		token, p := d.next()
		if p != nil {
			return p
		}
		switch t := token.(type) {
		case xml.EndElement:
			return nil
		case xml.CharData:
			if !isBlank(t) {
				return d.refuse("must hold elements, not text")
			}
		case xml.StartElement:
			name := t.Name.Local
			field := jsonbody.Member(target, name)
			if p := d.child(name, field, &seen); p != nil {
				return p
			}
		}
	}
}

func (d *decoder) child(name string, field reflect.Value, seen *[]string) *jsonbody.Problem {
	if !field.IsValid() {
		return d.skipping()
	}
	d.path = append(d.path, name)
	defer func() { d.path = d.path[:len(d.path)-1] }()
	if field.Kind() == reflect.Slice {
		return d.item(field)
	}
	for _, s := range *seen {
		if s == name {
			return d.refuse("must be sent once, it is there twice")
		}
	}
	*seen = append(*seen, name)
	return d.value(field)
}

func (d *decoder) item(slice reflect.Value) *jsonbody.Problem {
	n := slice.Len()
	if n == jsonbody.MaxItems {
		return d.refuse("is one too many, at most %d are read", jsonbody.MaxItems)
	}
	d.path[len(d.path)-1] += "[" + strconv.Itoa(n) + "]"
	slice.Grow(1)
	slice.SetLen(n + 1)
	slice.Index(n).SetZero()
	return d.value(slice.Index(n))
}

// skipping reads an element that nobody asked for; it must be well-formed all the same.
func (d *decoder) skipping() *jsonbody.Problem { return d.value(reflect.Value{}) }

func (d *decoder) skip() *jsonbody.Problem {
	for {
		token, p := d.next()
		if p != nil {
			return p
		}
		switch token.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if p := d.skipping(); p != nil {
				return p
			}
		}
	}
}

func (d *decoder) text() (string, *jsonbody.Problem) {
	var text []byte
	for {
		token, p := d.next()
		if p != nil {
			return "", p
		}
		switch t := token.(type) {
		case xml.EndElement:
			return string(text), nil
		case xml.CharData:
			text = append(text, t...)
		case xml.StartElement:
			return "", d.refuse("must be text, not elements")
		}
	}
}

// boolean reads true, false, 1 or 0 (XML Schema part 2, section 3.2.2).
func (d *decoder) boolean(target reflect.Value) *jsonbody.Problem {
	text, p := d.text()
	if p != nil {
		return p
	}
	switch strings.Trim(text, " \t\r\n") {
	case "true", "1":
		target.SetBool(true)
	case "false", "0":
	default:
		return d.refuse("must be true or false")
	}
	return nil
}
