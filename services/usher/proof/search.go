package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/vault"
)

// Finding is something of the person that is left. It tells where and what, and never the value.
type Finding struct{ Place, What string }

// needle is a form of a value that is looked for.
type needle struct {
	text    []byte
	anyCase bool // text is in lower case
	what    string
}

// Search looks for one person. It collects findings and goes on. Not for concurrent use.
type Search struct {
	person   Person
	ring     *keys.Ring // nil: without keys nothing is opened, and no hash is known
	needles  []needle
	sealings map[string][]string // by key
	found    []Finding
	Progress func(place string, searched int, unit string)
}

// New prepares the search for a person.
func New(p Person, ring *keys.Ring, progress func(place string, searched int, unit string)) (*Search, error) {
	s := &Search{person: p, ring: ring, sealings: p.sealings(), Progress: progress}
	for i, value := range p.Values {
		if err := s.lookFor(value, fmt.Sprintf("value %d", i+1)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Findings returns what was found, once each.
func (s *Search) Findings() []Finding { return s.found }

func (s *Search) find(place, what string) {
	if f := (Finding{place, what}); !slices.Contains(s.found, f) {
		s.found = append(s.found, f)
	}
}

// lookFor adds all forms of a value.
func (s *Search) lookFor(value, name string) error {
	plain := func(text, what string) {
		s.needles = append(s.needles, needle{bytes.ToLower([]byte(text)), true, name + what})
	}
	plain(value, " in clear")
	if quoted, err := json.Marshal(value); err == nil && string(quoted[1:len(quoted)-1]) != value {
		plain(string(quoted[1:len(quoted)-1]), " in clear")
	}
	for _, form := range base64Forms(value) {
		s.needles = append(s.needles, needle{[]byte(form), false, name + " in base64"})
	}
	if s.ring == nil {
		return nil
	}
	for purpose, forms := range hashed {
		for _, form := range forms(value) {
			mac, err := s.ring.MAC(keys.Index, purpose, s.person.Tenant, []byte(form))
			if err != nil {
				return fmt.Errorf("hash a value: %w", err)
			}
			s.needles = append(s.needles, needle{[]byte(hex.EncodeToString(mac)), false, name + " as a keyed hash"})
		}
	}
	return nil
}

// hashed are the purposes of the hashes that accounts and validator keep of unique values, with what
// is hashed of a value. A national id is hashed with its type: give it as TYPE|VALUE too.
var hashed = map[string]func(string) []string{
	"u_email": lower, "u_username": lower, "u_member": upper, "u_nid": typed, "mark-member": upper, "mark-nid": typed,
}

func lower(v string) []string { return []string{strings.ToLower(v)} }
func upper(v string) []string { return []string{strings.ToUpper(v)} }

func typed(v string) []string {
	kind, number, _ := strings.Cut(v, "|")
	return []string{kind + "|" + strings.ToUpper(number)}
}

// base64Forms are what a value is in base64, wherever in the encoded bytes it begins: the digits
// that depend on the bytes beside it are left out.
func base64Forms(value string) (forms []string) {
	for before := range 3 {
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), value...))
		first, last := (before*8+5)/6, (before+len(value))*8/6
		if form := encoded[first:last]; len(form) >= shortest {
			forms = append(forms, form)
		}
	}
	return forms
}

// Data searches some bytes for the values, and for what the keys open of the person.
func (s *Search) Data(place string, data []byte) {
	folded := bytes.ToLower(data)
	for _, n := range s.needles {
		if n.anyCase && bytes.Contains(folded, n.text) || !n.anyCase && bytes.Contains(data, n.text) {
			s.find(place, n.what)
		}
	}
	if s.ring == nil {
		return
	}
	s.openEntries(place, data)
	for _, run := range encodedRuns.FindAll(data, -1) {
		sealed := make([]byte, base64.StdEncoding.DecodedLen(len(run)))
		n, _ := base64.StdEncoding.Decode(sealed, run)
		if s.opens(sealed[:n]) {
			s.find(place, "a sealed field that a key at hand opens")
		}
	}
}

// encodedRuns are what can be a sealed field: key id, nonce, text and tag in base64.
var encodedRuns = regexp.MustCompile(`[A-Za-z0-9+/]{43,}={0,2}`)

// opens reports whether a key at hand opens a sealed field of the person.
func (s *Search) opens(sealed []byte) bool {
	for key, bound := range s.sealings {
		for _, aad := range bound {
			_, err := s.ring.Open(key, s.person.Tenant, aad, sealed)
			if err == nil {
				return true
			}
			if errors.Is(err, keys.ErrUnknownKey) {
				break
			}
		}
	}
	return false
}

// openEntries tries what follows the subject of the person's entries, as the broker's files have it.
func (s *Search) openEntries(place string, data []byte) {
	for _, id := range s.person.entries() {
		subject := []byte(vault.Subject(s.person.Tenant, id))
		for _, after, found := bytes.Cut(data, subject); found; _, after, found = bytes.Cut(after, subject) {
			if vault.Opens(s.ring, s.person.Tenant, id, withoutHeader(after)) {
				s.find(place, "an entry of the vault that a key at hand opens")
			}
		}
	}
}

// withoutHeader is what follows the header of a message that has one, as the broker's files have it: its
// length in four bytes and the header itself.
func withoutHeader(after []byte) []byte {
	const length, longest = 4, 4 << 10
	if len(after) < length || !bytes.HasPrefix(after[length:], []byte("NATS/1.0\r\n")) {
		return after
	}
	end := bytes.Index(after[:min(len(after), longest)], []byte("\r\n\r\n"))
	if end < 0 {
		return after
	}
	return after[end+4:]
}
