package lists

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// roles are the ends of file names, and what each says of its file. The last one is any CSV.
const (
	roleSDN      = "_sdn.csv"
	roleAdd      = "_add.csv"
	roleAlt      = "_alt.csv"
	roleComments = "_sdn_comments.csv"
	roleUN       = "_consolidated.xml"
	roleGeneric  = ".csv"
)

// longer ends first: a comments file ends like a generic one.
var roles = []string{roleComments, roleSDN, roleAdd, roleAlt, roleUN, roleGeneric}

// source is the files of one list.
type source struct {
	id    string
	files map[string]string // role → path
}

// find groups the files of a directory into lists, in the order of their ids. A file that
// belongs to no format is a source of its own, without roles.
func find(dir string) ([]source, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the directory of lists: %w", err)
	}
	byID := map[string]source{}
	for _, entry := range names {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".md") {
			continue
		}
		id, role := split(name)
		s, known := byID[id]
		if !known {
			s = source{id: id, files: map[string]string{}}
		}
		s.files[role] = filepath.Join(dir, name)
		byID[id] = s
	}
	sources := make([]source, 0, len(byID))
	for _, s := range byID {
		sources = append(sources, s)
	}
	slices.SortFunc(sources, func(a, b source) int { return cmp.Compare(a.id, b.id) })
	return sources, nil
}

func split(name string) (id, role string) {
	for _, role := range roles {
		if id, ok := strings.CutSuffix(name, role); ok && id != "" {
			return id, role
		}
	}
	return name, ""
}

// format is the way to read the files, or the reason why there is none.
func (s source) format() (func(*opened) (*List, error), error) {
	has := func(role string) bool { return s.files[role] != "" }
	ofac := has(roleSDN) || has(roleAdd) || has(roleAlt) || has(roleComments)
	kinds := 0
	for _, is := range []bool{ofac, has(roleUN), has(roleGeneric)} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return nil, &Error{File: s.id, Reason: "the name fits no format of a list: <id>_sdn.csv with its _add.csv and _alt.csv, <id>_consolidated.xml, <id>.csv"}
	case kinds > 1:
		return nil, &Error{File: s.id, Reason: "files of several formats have this id"}
	case ofac:
		for _, role := range []string{roleSDN, roleAdd, roleAlt} {
			if !has(role) {
				return nil, &Error{File: s.id + role, Reason: "the file is missing; OFAC's list is three files"}
			}
		}
		return loadOFAC, nil
	case has(roleUN):
		return loadUN, nil
	}
	return loadGeneric, nil
}

// load reads the list. What it returns carries the hash of the bytes that were read.
func (s source) load() (*List, error) {
	read, err := s.format()
	if err != nil {
		return nil, err
	}
	o := &opened{source: s, sums: map[string]hash.Hash{}}
	defer o.close()
	list, err := read(o)
	if err != nil {
		return nil, err
	}
	list.ID = s.id
	list.Hash, err = o.hash()
	return list, err
}

func loadOFAC(o *opened) (*List, error) {
	var f ofacFiles
	for role, file := range map[string]struct {
		to      **table
		columns int
	}{roleSDN: {&f.sdn, sdnColumns}, roleAdd: {&f.add, addColumns}, roleAlt: {&f.alt, altColumns}, roleComments: {&f.comments, commentColumns}} {
		if o.files[role] == "" {
			continue
		}
		r, err := o.open(role)
		if err != nil {
			return nil, err
		}
		*file.to = newTable(o.name(role), r, file.columns)
	}
	entries, err := readOFAC(f)
	return &List{Entries: entries}, err
}

func loadUN(o *opened) (*List, error) {
	r, err := o.open(roleUN)
	if err != nil {
		return nil, err
	}
	entries, date, err := readUN(o.name(roleUN), r)
	return &List{Date: date, Entries: entries}, err
}

func loadGeneric(o *opened) (*List, error) {
	r, err := o.open(roleGeneric)
	if err != nil {
		return nil, err
	}
	entries, date, err := readGeneric(o.name(roleGeneric), r)
	return &List{Date: date, Entries: entries}, err
}

// opened is a source whose files are being read and hashed on the way.
type opened struct {
	source
	sums    map[string]hash.Hash
	readers []io.Reader
	closers []io.Closer
}

func (s source) name(role string) string { return filepath.Base(s.files[role]) }

func (o *opened) open(role string) (io.Reader, error) {
	f, err := openRegular(o.files[role])
	if err != nil {
		return nil, &Error{File: o.name(role), Reason: err.Error()}
	}
	o.closers = append(o.closers, f)
	o.sums[role] = sha256.New()
	r := io.TeeReader(f, o.sums[role])
	o.readers = append(o.readers, r)
	return r, nil
}

// openRegular keeps out pipes and devices, on which a read may wait for ever.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a file")
	}
	if info.Size() > maxFile {
		return nil, errFile
	}
	return os.Open(path)
}

func (o *opened) close() {
	for _, c := range o.closers {
		c.Close()
	}
}

// hash reads what a parser left unread and sums up all files.
func (o *opened) hash() (string, error) {
	for _, r := range o.readers {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return "", err
		}
	}
	sums := map[string][]byte{}
	for role, sum := range o.sums {
		sums[role] = sum.Sum(nil)
	}
	return together(sums), nil
}

// together is one hash of the hashes of the files: of the only one, that hash.
func together(sums map[string][]byte) string {
	all := sha256.New()
	for _, role := range roles {
		sum, has := sums[role]
		if has && len(sums) == 1 {
			return hex.EncodeToString(sum)
		}
		if has {
			fmt.Fprintf(all, "%s %x\n", role, sum)
		}
	}
	return hex.EncodeToString(all.Sum(nil))
}

// fingerprint hashes the files without parsing them, and tells when the newest was written.
func (s source) fingerprint() (sum string, written time.Time, err error) {
	sums := map[string][]byte{}
	for role, path := range s.files {
		f, err := openRegular(path)
		if err != nil {
			return "", written, &Error{File: filepath.Base(path), Reason: err.Error()}
		}
		sum, modified, err := sumOf(f)
		if err != nil {
			return "", written, &Error{File: filepath.Base(path), Reason: err.Error()}
		}
		sums[role] = sum
		if modified.After(written) {
			written = modified
		}
	}
	return together(sums), written, nil
}

func sumOf(f *os.File) ([]byte, time.Time, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	h := sha256.New()
	_, err = io.Copy(h, io.LimitReader(f, maxFile))
	return h.Sum(nil), info.ModTime(), err
}

// Load reads every list of a directory once, in the order of their ids. Any broken file is an
// error.
func Load(dir string) ([]*List, error) {
	sources, err := find(dir)
	if err != nil {
		return nil, err
	}
	all := make([]*List, len(sources))
	for i, s := range sources {
		if all[i], err = s.load(); err != nil {
			return nil, err
		}
	}
	return all, nil
}
