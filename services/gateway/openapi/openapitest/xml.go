package openapitest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// decodeXML decodes a document to the JSON form that its schema describes (OpenAPI 3.1, XML
// Object): names of elements, and arrays as elements that repeat, without a wrapper. An element
// that the schema does not have becomes a member of its own name, so that the schema can refuse
// it. Namespaces count for nothing; attributes, wrapped arrays and combined schemas (allOf and
// the like) are not read.
func decodeXML(body io.Reader, _ http.Header, schema *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	var root element
	d := xml.NewDecoder(body)
	if err := d.Decode(&root); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("after the root: %v", err)
	}
	if schema == nil || schema.Value == nil || schema.Value.XML == nil {
		return nil, errors.New("the schema names no root element")
	}
	if name := schema.Value.XML.Name; name != root.XMLName.Local {
		return nil, fmt.Errorf("the root element is %s, must be %s", root.XMLName.Local, name)
	}
	return root.value(schema.Value), nil
}

type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Elements []element `xml:",any"`
}

// value is the JSON form of an element; what is not of the schema's type stays a string or an
// object, which the schema then refuses.
func (e element) value(s *openapi3.Schema) any {
	text := strings.TrimSpace(e.Text)
	switch {
	case len(e.Elements) > 0 || s != nil && s.Type.Is("object") && text == "":
		return e.object(s)
	case s != nil && s.Type.Is("boolean"):
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	case s != nil && (s.Type.Is("integer") || s.Type.Is("number")):
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	}
	return e.Text
}

func (e element) object(s *openapi3.Schema) map[string]any {
	object := map[string]any{}
	for _, child := range e.Elements {
		name, schema := property(s, child.XMLName.Local)
		_, repeated := object[name]
		switch {
		case schema != nil && schema.Type.Is("array"):
			items, _ := object[name].([]any)
			object[name] = append(items, child.value(itemsOf(schema)))
		case repeated:
			object[name+" again"] = child.value(nil)
		default:
			object[name] = child.value(schema)
		}
	}
	return object
}

// property is the one that an element stands for; nil where the schema has none.
func property(s *openapi3.Schema, element string) (string, *openapi3.Schema) {
	if s == nil {
		return element, nil
	}
	for name, p := range s.Properties {
		if own := p.Value.XML; own != nil && own.Name == element || (own == nil || own.Name == "") && name == element {
			return name, p.Value
		}
	}
	return element, nil
}

func itemsOf(array *openapi3.Schema) *openapi3.Schema {
	if array.Items == nil {
		return nil
	}
	return array.Items.Value
}
