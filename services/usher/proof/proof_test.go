package proof

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/keys/keystest"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
)

var person = Person{Tenant: "acme", ID: "4fe07e3a-176d-855f-8337-52c4df8ff1ad", Values: []string{"Zoë Quillonda", "zoe@example.com", "US_SSN|12-b"}}

func newSearch(t *testing.T) (*Search, *keys.Ring) {
	t.Helper()
	ring := keystest.Ring(t)
	s, err := New(person, ring, func(string, int, string) {})
	if err != nil {
		t.Fatal(err)
	}
	return s, ring
}

func TestEveryFormOfAValueIsFound(t *testing.T) {
	_, ring := newSearch(t)
	hash := func(purpose, value string) string {
		mac, err := ring.MAC(keys.Index, purpose, "acme", []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(mac)
	}
	bound := func(key, tenant, aad string) string {
		raw, err := ring.Seal(key, tenant, aad, []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(raw)
	}
	sealed := func(key, tenant, id string) string { return bound(key, tenant, tenant+"|"+id+"|person") }
	const opens = "a sealed field that a key at hand opens"
	for name, test := range map[string]struct{ data, found string }{
		"nothing":                    {"a tombstone of " + person.ID, ""},
		"in clear":                   {`x"zoe@example.com"y`, "value 2 in clear"},
		"in another case":            {"ZOË QUILLONDA", "value 1 in clear"},
		"in base64":                  {base64.StdEncoding.EncodeToString([]byte("zoe@example.com")), "value 2 in base64"},
		"in base64, one byte later":  {base64.StdEncoding.EncodeToString([]byte("<zoe@example.com>")), "value 2 in base64"},
		"in base64, two bytes later": {base64.StdEncoding.EncodeToString([]byte("<<zoe@example.com")), "value 2 in base64"},
		"as accounts hashes it":      {hash("u_email", "zoe@example.com"), "value 2 as a keyed hash"},
		"as validator hashes it":     {"acme/nid/" + hash("mark-nid", "US_SSN|12-B"), "value 3 as a keyed hash"},
		"sealed with the data key":   {`{"person":"` + sealed(keys.Data, "acme", person.ID) + `"}`, opens},
		"sealed with the vault key":  {sealed(keys.Vault, "acme", person.ID), opens},
		"sealed for a case":          {sealed(keys.Vault, "acme", vault.CaseOf(person.ID)), opens},
		"sealed by risk":             {bound(keys.Data, "acme", "acme|"+person.ID+"|customer"), opens},
		"sealed by the notifier":     {bound(keys.Data, "acme", "acme|"+person.ID+"|recipient"), opens},
		"a note of the first review": {bound(keys.Data, "acme", "acme|"+person.ID+"-2|note"), opens},
		"a note of a later review":   {bound(keys.Data, "acme", "acme|"+person.ID+"-10|note"), opens},
		"sealed for another":         {sealed(keys.Data, "acme", "4fe07e3a-176d-855f-8337-000000000000"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(person, ring, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.Data("here", []byte("before "+test.data+" after"))
			var found []string
			for _, f := range s.Findings() {
				found = append(found, f.What)
			}
			if got := strings.Join(found, ", "); got != test.found {
				t.Errorf("found %q, want %q", got, test.found)
			}
		})
	}
}

func TestWhatIsSealedIsBlamedOnlyInDocumentsOfTheRegistration(t *testing.T) {
	hash := strings.Repeat("0123456789abcdef", 4)
	own, other := person.ID, "4fe07e3a-176d-855f-8337-000000000000"
	const member, id = "a document of the registration with something sealed or hashed: requestMac", "a document of the registration whose id is a hash"
	for name, test := range map[string]struct{ id, body, found string }{
		"its own":                           {own, `{"requestMac":"` + hash + `"}`, member},
		"of a later version of it":          {own + "/2", `{"requestMac":"` + hash + `"}`, member},
		"of a review of it":                 {own + "-2", `{"requestMac":"` + hash + `"}`, member},
		"that has it as its registration":   {"7", `{"registration":"` + own + `","requestMac":"` + hash + `"}`, member},
		"whose id is a hash of its person":  {"acme/nid/" + hash, `{"registration":"` + own + `"}`, id},
		"its tombstone":                     {own, `{"erased":true}`, ""},
		"another's that may be its double":  {other, `{"possibleDuplicateOf":"` + own + `","requestMac":"` + hash + `"}`, ""},
		"another's turned down for it":      {other, `{"notice":{"registration":"` + own + `"},"requestMac":"` + hash + `"}`, ""},
		"one whose id begins with the same": {own + "0", `{"requestMac":"` + hash + `"}`, ""},
		"another's with its value":          {other, `{"email":"zoe@example.com"}`, "value 2 in clear"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSearch(t)
			s.document("here", store.Document{ID: test.id, Body: []byte(test.body)})
			var found []string
			for _, f := range s.Findings() {
				found = append(found, f.What)
			}
			if got := strings.Join(found, ", "); got != test.found {
				t.Errorf("found %q, want %q", got, test.found)
			}
		})
	}
}

func TestAnEntryOfTheVaultIsFoundAlsoOfACase(t *testing.T) {
	for name, test := range map[string]struct {
		of   string
		left bool
	}{
		"of the registration": {person.ID, true},
		"of a case":           {vault.CaseOf(person.ID), true},
		"of another":          {"4fe07e3a-176d-855f-8337-000000000000", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, ring := newSearch(t)
			sealed, err := ring.Seal(keys.Vault, "acme", "acme|"+test.of+"|person", []byte(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			subject := vault.Subject("acme", test.of)
			entry := append(binary.AppendUvarint(nil, uint64(len(sealed))), sealed...)
			s.message("stream", &jetstream.RawStreamMsg{Subject: subject, Sequence: 1})
			s.Data("file", append([]byte("before "+subject), entry...))
			want := []Finding(nil)
			if test.left {
				want = []Finding{{"stream, message 1", "the person's entry of the vault"}, {"file", "an entry of the vault that a key at hand opens"}}
			}
			if !slices.Equal(s.Findings(), want) {
				t.Errorf("found %q, want %q", s.Findings(), want)
			}
		})
	}
}

func TestAValueAcrossPiecesOfAFileIsFound(t *testing.T) {
	for _, at := range []int{0, piece - 3, piece, piece + overlap - 3, 2*piece + overlap - 3} {
		s, _ := newSearch(t)
		dir := t.TempDir()
		content := make([]byte, 2*piece+overlap+100)
		copy(content[at:], "zoe@example.com")
		if err := os.WriteFile(filepath.Join(dir, "file"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Files(dir); err != nil || len(s.Findings()) != 1 {
			t.Errorf("at %d: %v, %v", at, s.Findings(), err)
		}
	}
}

func TestValuesThatStandEverywhereAreRefused(t *testing.T) {
	if values, err := ReadValues(strings.NewReader("Quillonda\n\n  zoe@example.com \n")); err != nil || len(values) != 2 || values[1] != "zoe@example.com" {
		t.Errorf("read %v, %v", values, err)
	}
	for _, bad := range []string{"good one\nabc\n", "\xff\xff\xff\xff"} {
		if _, err := ReadValues(strings.NewReader(bad)); err == nil || strings.Contains(err.Error(), "abc") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
