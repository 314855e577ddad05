package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/usherhq/usher/pkg/store"
)

const documentsAtOnce = 500

// Store searches every document of a service's collections, which must be there. Those of the
// registration must also hold nothing that is sealed or hashed; what is indexed of a document is in it.
func (s *Search) Store(ctx context.Context, service string, b store.Backend, schemas ...store.Schema) error {
	if err := b.Verify(ctx, schemas...); err != nil {
		return fmt.Errorf("open the documents of %s: %w", service, err)
	}
	for _, schema := range schemas {
		place := "documents " + service + " " + schema.Collection
		searched, after := 0, ""
		for {
			page, next, err := b.Find(ctx, schema.Collection, store.Query{Limit: documentsAtOnce, After: after})
			if err != nil {
				return fmt.Errorf("search %s: %w", place, err)
			}
			for _, d := range page {
				s.document(place, d)
			}
			searched += len(page)
			if after = next; next == "" {
				break
			}
			if searched%tellEvery == 0 {
				s.Progress(place, searched, "documents")
			}
		}
		s.Progress(place, searched, "documents")
	}
	return nil
}

func (s *Search) document(place string, d store.Document) {
	// The id of a document may be a hash of the person, which is not to be told.
	all := append([]byte(d.ID+"\n"), d.Body...)
	s.Data(place, all)
	if !s.person.has(d) {
		return
	}
	if opaque.MatchString(d.ID) {
		s.find(place, "a document of the registration whose id is a hash")
	}
	var body any
	if json.Unmarshal(d.Body, &body) == nil {
		s.members(place, "", body)
	}
}

// has reports whether a document is of the person's registration, and does not merely name it: its id
// is the registration's, alone or before a separator, or it has it as its member registration.
func (p Person) has(d store.Document) bool {
	if after, is := strings.CutPrefix(d.ID, p.ID); is && (after == "" || strings.ContainsAny(after[:1], "/-.|")) {
		return true
	}
	var of struct {
		Registration any `json:"registration"`
	}
	return json.Unmarshal(d.Body, &of) == nil && of.Registration == p.ID
}

// opaque is what is sealed, hashed or a password's hash: base64 or hexadecimal of 30 bytes and more,
// or a PHC string. Ids and trace contexts have hyphens.
var opaque = regexp.MustCompile(`(^|/)[A-Za-z0-9+/]{40,}={0,2}$|^\$argon2`)

// members walks the members of a document of the registration.
func (s *Search) members(place, name string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for member, inner := range v {
			s.members(place, strings.TrimPrefix(name+"."+member, "."), inner)
		}
	case []any:
		for _, inner := range v {
			s.members(place, name, inner)
		}
	case string:
		if opaque.MatchString(v) {
			s.find(place, "a document of the registration with something sealed or hashed: "+name)
		}
	}
}
