package jsonbody

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decoder is one pass over a body that is known to be valid UTF-8.
type decoder struct {
	body          []byte
	pos           int
	path          []segment // one per open object or array
	refuseUnknown bool
	xmlOnly       bool
}

// segment is a member's name, or an index where the name is empty and index is set.
type segment struct {
	name  string
	index int // -1 for a member
}

const maxNameInPath = 64 // bytes; a longer name is cut

func (d *decoder) field() string {
	var b strings.Builder
	for _, s := range d.path {
		if s.index >= 0 {
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
			continue
		}
		if b.Len() > 0 && s.name != "" {
			b.WriteByte('.')
		}
		name := s.name
		if len(name) > maxNameInPath {
			name = strings.ToValidUTF8(name[:maxNameInPath], "") + "…"
		}
		b.WriteString(name)
	}
	return b.String()
}

// refuse makes a problem of the place where the decoder stands; detail continues its name.
func (d *decoder) refuse(detail string, args ...any) *Problem {
	p := &Problem{Field: d.field(), Detail: fmt.Sprintf(detail, args...)}
	if p.Field == "" {
		p.Detail = "the body " + p.Detail
	}
	return p
}

func (d *decoder) malformed(want string) *Problem {
	if d.pos >= len(d.body) {
		return d.refuse("is not complete JSON: the body ends where %s was expected", want)
	}
	return d.refuse("is not JSON: expected %s at byte %d of the body", want, d.pos+1)
}

func (d *decoder) space() {
	for d.pos < len(d.body) {
		switch d.body[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// peek returns the next byte that is no space, or 0 at the end.
func (d *decoder) peek() byte {
	d.space()
	if d.pos == len(d.body) {
		return 0
	}
	return d.body[d.pos]
}

func (d *decoder) take(c byte, want string) *Problem {
	if d.peek() != c {
		return d.malformed(want)
	}
	d.pos++
	return nil
}

func (d *decoder) literal(word string) *Problem {
	if !strings.HasPrefix(string(d.body[d.pos:min(len(d.body), d.pos+len(word))]), word) {
		return d.malformed(word)
	}
	d.pos += len(word)
	return nil
}

// text reads a string, the opening quote being next.
func (d *decoder) text() (string, *Problem) {
	d.pos++
	start := d.pos
	for d.pos < len(d.body) {
		switch c := d.body[d.pos]; {
		case c == '"':
			s := string(d.body[start:d.pos])
			d.pos++
			return s, nil
		case c == '\\':
			return d.escapedText(start)
		case c < 0x20:
			return "", d.refuse("must not hold control characters, escape the one at byte %d or leave it out", d.pos+1)
		}
		d.pos++
	}
	return "", d.malformed(`a closing '"'`)
}

func (d *decoder) escapedText(start int) (string, *Problem) {
	b := append(make([]byte, 0, d.pos-start+32), d.body[start:d.pos]...)
	for d.pos < len(d.body) {
		switch c := d.body[d.pos]; {
		case c == '"':
			d.pos++
			return string(b), nil
		case c < 0x20:
			return "", d.refuse("must not hold control characters, escape the one at byte %d or leave it out", d.pos+1)
		case c == '\\':
			r, p := d.escape()
			if p != nil {
				return "", p
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
			d.pos++
		}
	}
	return "", d.malformed(`a closing '"'`)
}

var escapes = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads one escape, the backslash being next.
func (d *decoder) escape() (rune, *Problem) {
	d.pos++
	if d.pos == len(d.body) {
		return 0, d.malformed("an escape")
	}
	c := d.body[d.pos]
	if r, simple := escapes[c]; simple {
		d.pos++
		return r, nil
	}
	if c != 'u' {
		return 0, d.malformed("an escape of JSON")
	}
	r, p := d.hex()
	switch {
	case p != nil:
		return 0, p
	case r == 0:
		return 0, d.refuse(`must not hold NUL (\u0000), leave it out`)
	case !utf16.IsSurrogate(r):
		return r, nil
	}
	return d.lowSurrogate(r)
}

func (d *decoder) lowSurrogate(high rune) (rune, *Problem) {
	if d.pos+1 < len(d.body) && d.body[d.pos] == '\\' && d.body[d.pos+1] == 'u' {
		d.pos++
		low, p := d.hex()
		if p != nil {
			return 0, p
		}
		if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
			return r, nil
		}
	}
	return 0, d.refuse("must not hold half of a surrogate pair, send the whole character")
}

// hex reads uXXXX.
func (d *decoder) hex() (rune, *Problem) {
	if d.pos+5 > len(d.body) {
		d.pos = len(d.body)
		return 0, d.malformed("four hexadecimal digits")
	}
	n, err := strconv.ParseUint(string(d.body[d.pos+1:d.pos+5]), 16, 16)
	if err != nil {
		return 0, d.malformed("four hexadecimal digits")
	}
	d.pos += 5
	return rune(n), nil
}

// number reads a number by the grammar of RFC 8259 section 6 that a float64 can hold.
func (d *decoder) number() (string, *Problem) {
	start := d.pos
	d.skipOne('-')
	if !d.skipOne('0') && !d.digits() {
		return "", d.malformed("a digit")
	}
	if d.skipOne('.') && !d.digits() {
		return "", d.malformed("a digit after the point")
	}
	if d.skipOne('e') || d.skipOne('E') {
		if !d.skipOne('+') {
			d.skipOne('-')
		}
		if !d.digits() {
			return "", d.malformed("a digit of the exponent")
		}
	}
	text := string(d.body[start:d.pos])
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		return "", d.refuse("must be a number between -1.7e308 and 1.7e308")
	}
	return text, nil
}

func (d *decoder) skipOne(c byte) bool {
	if d.pos < len(d.body) && d.body[d.pos] == c {
		d.pos++
		return true
	}
	return false
}

func (d *decoder) digits() bool {
	start := d.pos
	for d.pos < len(d.body) && '0' <= d.body[d.pos] && d.body[d.pos] <= '9' {
		d.pos++
	}
	return d.pos > start
}
