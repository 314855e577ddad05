// Package lists loads the lists that persons are screened against — sanctions lists in the
// formats their publishers use, and an organisation's own lists in a CSV — and watches the
// directory they come in. Package screening of risk matches against them; ledger shows an entry
// beside the person.
//
// A list is made of one file, or of several that belong together. Its files say by their names
// what they are:
//
//	<id>_sdn.csv, <id>_add.csv, <id>_alt.csv   OFAC's SDN list, three files; optionally also
//	<id>_sdn_comments.csv                      the fourth, with remarks too long for the first
//	<id>_consolidated.xml                      the consolidated list of the UN Security Council
//	<id>.csv                                   any other list; see demo/README.md
//
// Names that begin with a dot and *.md are ignored. Any other file is a broken list: a list
// that is silently not read is worse than an alarm.
package lists

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Kind is what an entry lists.
type Kind string

// Kinds of entries.
const (
	Individual Kind = "INDIVIDUAL"
	Entity     Kind = "ENTITY"
	Vessel     Kind = "VESSEL"
	Aircraft   Kind = "AIRCRAFT"
)

// List is one version of a list. It is never changed once loaded.
type List struct {
	ID string
	// Date is the day or time the file says it was made, in the file's words; empty where the
	// format has no place for it (OFAC's CSV).
	Date string
	// Hash is the SHA-256 of the content of all its files, in hexadecimal.
	Hash    string
	Entries []Entry // in the order of the file
}

// hashShown is how much of the hash a version shows.
const hashShown = 12

// Version names the content: the beginning of the hash and the date in the file, if it has one.
func (l *List) Version() string {
	v := l.Hash[:min(hashShown, len(l.Hash))]
	if l.Date == "" {
		return v
	}
	return l.Date + "/" + v
}

// Entry is a person, organisation or vehicle of a list.
type Entry struct {
	ID            string   `json:"id"` // the publisher's, unique in the list
	Kind          Kind     `json:"kind"`
	Names         []Name   `json:"names"` // at least one; the first is the primary name
	Births        []Birth  `json:"births,omitempty"`
	Nationalities []string `json:"nationalities,omitempty"` // ISO 3166-1 alpha-2 where recognised, else as listed
	Programs      []string `json:"programs,omitempty"`
	Addresses     []string `json:"addresses,omitempty"`
	Remarks       string   `json:"remarks,omitempty"`
}

// Print is the beginning of the SHA-256 of the entry's content, in hexadecimal: another where
// anything of the entry changes.
func (e Entry) Print() string {
	content, err := json.Marshal(e)
	if err != nil {
		panic(err) // text and numbers alone
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}

// Name is a name as it is listed. A weak one is a nickname or call sign that the publisher
// itself calls a poor identifier.
type Name struct {
	Text string `json:"text"`
	Weak bool   `json:"weak,omitempty"`
}
