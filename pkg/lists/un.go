package lists

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode"
)

const (
	unRoot   = "CONSOLIDATED_LIST"
	maxDepth = 16
)

// unReader walks the XML token by token, so that no more than one entry is held besides the
// entries already read.
type unReader struct {
	file string
	in   *bounded
	xml  *xml.Decoder
	list *builder
	date string

	path   []string // open elements
	text   strings.Builder
	entry  *Entry
	line   int // where the entry begins
	name   []string
	births unBirth
	alias  Name
	place  []string // of an address
}

// unBirth is INDIVIDUAL_DATE_OF_BIRTH.
type unBirth struct{ kind, date, year, from, to string }

// readUN reads the UN Security Council's consolidated list. It returns the date the file says
// it was generated.
func readUN(file string, r io.Reader) ([]Entry, string, error) {
	in := &bounded{from: r}
	u := &unReader{file: file, in: in, xml: xml.NewDecoder(in), list: newBuilder()}
	err := u.walk()
	var located *Error
	if err != nil && !errors.As(err, &located) {
		line, _ := u.xml.InputPos()
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) {
			err = errors.New("not XML: " + syntax.Msg)
		}
		err = &Error{file, line, err.Error()}
	}
	return u.list.entries, u.date, err
}

func (u *unReader) walk() error {
	for {
		token, err := u.xml.Token()
		if err == io.EOF {
			return u.finished()
		}
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			err = u.open(t)
		case xml.CharData:
			u.text.Write(t)
		case xml.EndElement:
			err = u.close()
		case xml.Directive:
			err = errors.New("a document type is not part of the format")
		}
		if err != nil {
			return err
		}
	}
}

func (u *unReader) finished() error {
	if len(u.list.entries) == 0 {
		return &Error{File: u.file, Reason: "the file lists nobody"}
	}
	return nil
}

func (u *unReader) open(t xml.StartElement) error {
	name := t.Name.Local
	if len(u.path) == 0 {
		if name != unRoot {
			return errors.New("the root element is not " + unRoot)
		}
		for _, a := range t.Attr {
			if a.Name.Local == "dateGenerated" {
				u.date = a.Value
			}
		}
	}
	if len(u.path) == maxDepth {
		return errors.New("elements are nested too deeply")
	}
	u.path = append(u.path, name)
	u.text.Reset()
	if len(u.path) == 3 {
		u.begin(name)
	}
	return nil
}

// begin starts an entry; other elements at its level are passed over.
func (u *unReader) begin(name string) {
	u.in.next()
	u.line, _ = u.xml.InputPos()
	u.name = nil
	switch name {
	case "INDIVIDUAL":
		u.entry = &Entry{Kind: Individual}
	case "ENTITY":
		u.entry = &Entry{Kind: Entity}
	default:
		u.entry = nil
	}
}

func (u *unReader) close() error {
	text := strings.TrimSpace(u.text.String())
	u.text.Reset()
	var err error
	if u.entry != nil {
		switch len(u.path) {
		case 3:
			err = u.end()
		case 4:
			u.field(u.path[3], text)
		case 5:
			u.detail(u.path[3]+"/"+u.path[4], text)
		}
	}
	u.path = u.path[:len(u.path)-1]
	return err
}

func (u *unReader) end() error {
	others := u.entry.Names
	u.entry.Names = nil
	addName(u.entry, Name{Text: strings.Join(u.name, " ")})
	for _, n := range others {
		addName(u.entry, n)
	}
	if err := u.list.add(*u.entry); err != nil {
		return &Error{u.file, u.line, err.Error()}
	}
	u.entry = nil
	return nil
}

// field takes a child of an entry.
func (u *unReader) field(name, text string) {
	e := u.entry
	switch name {
	case "REFERENCE_NUMBER":
		e.ID = text
	case "FIRST_NAME", "SECOND_NAME", "THIRD_NAME", "FOURTH_NAME":
		u.name = append(u.name, text)
	case "NAME_ORIGINAL_SCRIPT":
		u.names(Name{Text: text})
	case "UN_LIST_TYPE":
		e.Programs = append(e.Programs, text)
	case "COMMENTS1":
		e.Remarks = text
	case "INDIVIDUAL_ALIAS", "ENTITY_ALIAS":
		u.names(u.alias)
		u.alias = Name{}
	case "INDIVIDUAL_DATE_OF_BIRTH":
		u.birth()
	case "INDIVIDUAL_ADDRESS", "ENTITY_ADDRESS":
		if len(u.place) > 0 {
			e.Addresses = append(e.Addresses, strings.Join(u.place, ", "))
		}
		u.place = nil
	}
}

// detail takes a grandchild of an entry.
func (u *unReader) detail(path, text string) {
	parent, name, _ := strings.Cut(path, "/")
	switch {
	case text == "":
	case path == "NATIONALITY/VALUE":
		addNationality(u.entry, text)
	case strings.HasSuffix(parent, "_ALIAS"):
		u.aliasDetail(name, text)
	case strings.HasSuffix(parent, "_ADDRESS") && name != "NOTE":
		u.place = append(u.place, text)
	case parent == "INDIVIDUAL_DATE_OF_BIRTH":
		u.births.set(name, text)
	}
}

func (u *unReader) aliasDetail(name, text string) {
	switch name {
	case "QUALITY":
		u.alias.Weak = text == "Low"
	case "ALIAS_NAME":
		u.alias.Text = text
	case "DATE_OF_BIRTH":
		if birth, ok := parseBirth(text); ok {
			u.entry.Births = append(u.entry.Births, birth)
		}
	}
}

func (b *unBirth) set(name, text string) {
	switch name {
	case "TYPE_OF_DATE":
		b.kind = text
	case "DATE":
		b.date = text
	case "YEAR":
		b.year = text
	case "FROM_YEAR":
		b.from = text
	case "TO_YEAR":
		b.to = text
	}
}

func (u *unReader) birth() {
	b := u.births
	u.births = unBirth{}
	text := b.date
	if text == "" {
		text = b.year
	}
	if b.from != "" {
		text = b.from + " to " + b.to
	}
	if birth, ok := parseBirth(text); ok {
		birth.About = birth.About || b.kind == "APPROXIMATELY"
		u.entry.Births = append(u.entry.Births, birth)
	}
}

var (
	bracketed   = regexp.MustCompile(`\(([^()]*)\)`)
	enumerated  = regexp.MustCompile(`;|(?:^|\s)[a-z]\)\s`)
	description = regexp.MustCompile(`(?i),?\s+\b(?:born|son of)\b.*$`)
)

// longestInBrackets is the most words in brackets that can be a name; more are a note.
const longestInBrackets = 7

// names adds the names of one field. The UN writes several into one, divided by semicolons or
// as "a) … b) …", with the original script or further names in brackets, and with notes.
func (u *unReader) names(n Name) {
	for _, inside := range bracketed.FindAllStringSubmatch(n.Text, -1) {
		text := strings.TrimPrefix(inside[1], "original script:")
		if !strings.ContainsFunc(text, unicode.IsDigit) {
			u.enumerated(text, n.Weak, longestInBrackets)
		}
	}
	u.enumerated(bracketed.ReplaceAllString(n.Text, " "), n.Weak, len(n.Text))
}

func (u *unReader) enumerated(text string, weak bool, words int) {
	for _, one := range enumerated.Split(text, -1) {
		one = strings.Trim(description.ReplaceAllString(one, ""), " ,.")
		if len(strings.Fields(one)) <= words {
			addName(u.entry, Name{Text: one, Weak: weak})
		}
	}
}
