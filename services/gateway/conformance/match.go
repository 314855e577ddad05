package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// comparison holds what an answer differs in.
type comparison struct {
	ctx      context.Context
	values   *values
	found    map[string]string // to be remembered when all is well
	problems []string
}

func (c *comparison) differs(place, format string, a ...any) {
	if place == "" {
		place = "body"
	}
	c.problems = append(c.problems, strings.TrimPrefix(place, ".")+": "+fmt.Sprintf(format, a...))
}

func (c *comparison) body(media, want string, got []byte) {
	switch {
	case want == "":
		if len(got) > 0 {
			c.differs("", "there must be none, there are %d bytes", len(got))
		}
	case strings.Contains(media, "json") && !strings.Contains(media, "ndjson"):
		c.json(want, got)
	case strings.Contains(media, "xml"):
		c.xml(want, got)
	default:
		c.text("", want, strings.TrimSpace(string(got)))
	}
}

func (c *comparison) json(want string, got []byte) {
	wanted, err := decodeJSON([]byte(want))
	if err != nil {
		c.differs("", "the case is no JSON: %v", err)
		return
	}
	answered, err := decodeJSON(got)
	if err != nil {
		c.differs("", "the answer is no JSON: %v", err)
		return
	}
	c.value("", wanted, answered)
}

func decodeJSON(raw []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return v, nil
}

const more = "..." // allows more members or elements

func (c *comparison) value(place string, want, got any) {
	switch want := want.(type) {
	case map[string]any:
		got, is := got.(map[string]any)
		if !is {
			c.differs(place, "must be an object")
			return
		}
		c.object(place, want, got)
	case []any:
		got, is := got.([]any)
		if !is {
			c.differs(place, "must be an array")
			return
		}
		c.array(place, want, got)
	case string:
		c.scalar(place, want, got)
	default:
		if want != got {
			c.differs(place, "is %v, must be %v", got, want)
		}
	}
}

func (c *comparison) object(place string, want, got map[string]any) {
	_, open := want[more]
	for name := range got {
		if _, is := want[name]; !is && !open {
			c.differs(place+"."+name, "must be absent")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value, is := got[name]
		switch {
		case name == more:
		case !is:
			c.differs(place+"."+name, "is missing")
		default:
			c.value(place+"."+name, want[name], value)
		}
	}
}

func (c *comparison) array(place string, want, got []any) {
	open := len(want) > 0 && want[len(want)-1] == more
	if open {
		want = want[:len(want)-1]
	}
	if len(got) < len(want) || len(got) > len(want) && !open {
		c.differs(place, "has %d elements, must have %d", len(got), len(want))
		return
	}
	for i := range want {
		c.value(fmt.Sprintf("%s[%d]", place, i), want[i], got[i])
	}
}

func (c *comparison) scalar(place, want string, got any) {
	switch got := got.(type) {
	case string:
		if want == "{{number}}" {
			c.differs(place, "must be a number, is a string")
			return
		}
		c.text(place, want, got)
	case json.Number:
		if want != "{{number}}" && want != "{{any}}" {
			c.differs(place, "is the number %v, must be the string %s", got, want)
		}
	default:
		if want != "{{any}}" {
			c.differs(place, "is %v, must be the string %s", got, want)
		}
	}
}

// text compares a text in which placeholders may stand.
func (c *comparison) text(place, want, got string) {
	pattern, names, err := c.pattern(want)
	if err != nil {
		c.differs(place, "%v", err)
		return
	}
	groups := pattern.FindStringSubmatch(got)
	if groups == nil {
		c.differs(place, "is %q, must be %q", shortened(got), want)
		return
	}
	for i, name := range names {
		if name != "" {
			c.found[name] = groups[i+1]
		}
	}
}

// pattern makes one of a text, with a group and a name ("" for none) for each placeholder.
func (c *comparison) pattern(want string) (*regexp.Regexp, []string, error) {
	var b strings.Builder
	var names []string
	rest := want
	b.WriteString(`\A`)
	for _, at := range placeholder.FindAllStringSubmatchIndex(want, -1) {
		parts := placeholder.FindStringSubmatch(want[at[0]:at[1]])
		b.WriteString(regexp.QuoteMeta(rest[:at[0]-(len(want)-len(rest))]))
		rest = want[at[1]:]
		expression, name, is := patterns[parts[1]], parts[2], false
		if _, is = patterns[parts[1]]; !is {
			value, err := c.values.value(c.ctx, parts[1], parts[2])
			if err != nil {
				return nil, nil, fmt.Errorf("{{%s}}: %w", parts[1], err)
			}
			expression, name = regexp.QuoteMeta(value), ""
		}
		b.WriteString("(" + expression + ")")
		names = append(names, name)
	}
	b.WriteString(regexp.QuoteMeta(rest) + `\z`)
	pattern, err := regexp.Compile(b.String())
	return pattern, names, err
}

const longestShown = 300

func shortened(text string) string {
	if len(text) > longestShown {
		return text[:longestShown] + "…"
	}
	return text
}

// xml compares elements, attributes and text, not the space between elements.
func (c *comparison) xml(want string, got []byte) {
	wanted, err := flatten([]byte(want))
	if err != nil {
		c.differs("", "the case is no XML: %v", err)
		return
	}
	answered, err := flatten(got)
	if err != nil {
		c.differs("", "the answer is no XML: %v", err)
		return
	}
	for i := range min(len(wanted), len(answered)) {
		before := len(c.problems)
		if c.text(answered[i].place, wanted[i].text, answered[i].text); len(c.problems) > before {
			return
		}
	}
	if len(wanted) != len(answered) {
		c.differs("", "has %d elements and texts, must have %d", len(answered), len(wanted))
	}
}

// piece is a start, an end or a text of an XML document.
type piece struct{ place, text string }

func flatten(raw []byte) (pieces []piece, err error) {
	d := xml.NewDecoder(bytes.NewReader(raw))
	place := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return pieces, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			place += "." + token.Name.Local
			pieces = append(pieces, piece{place, startOf(token)})
		case xml.EndElement:
			pieces = append(pieces, piece{place, "</" + token.Name.Local + ">"})
			place = place[:strings.LastIndexByte(place, '.')]
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" {
				pieces = append(pieces, piece{place, text})
			}
		}
	}
}

func startOf(e xml.StartElement) string {
	var attributes []string
	for _, a := range e.Attr {
		attributes = append(attributes, " "+a.Name.Local+"="+a.Value)
	}
	slices.Sort(attributes)
	return "<" + e.Name.Space + " " + e.Name.Local + strings.Join(attributes, "") + ">"
}
