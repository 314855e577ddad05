//go:build unix

package keys

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"
)

type owned struct {
	fs.FileInfo
	uid  uint32
	mode fs.FileMode
}

func (o owned) Mode() fs.FileMode { return o.mode }
func (o owned) Sys() any          { return &syscall.Stat_t{Uid: o.uid} }

func TestAKeyIsForItsHolderAlone(t *testing.T) {
	for name, c := range map[string]struct {
		uid     uint32
		mode    fs.FileMode
		exposed bool
	}{
		"its owner's alone":                      {1000, 0o600, false},
		"read by its owner's group":              {1000, 0o640, true},
		"read by everybody":                      {1000, 0o604, true},
		"root's, read by the group it mounts to": {0, 0o440, false},
		"root's, written by a group":             {0, 0o660, true},
		"root's, read by everybody":              {0, 0o444, true},
	} {
		if got := exposed(owned{uid: c.uid, mode: c.mode}); got != c.exposed {
			t.Errorf("%s: exposed is %v", name, got)
		}
	}
}

func TestAKeyThatIsRenewedIsReadByWhoeverReadItBefore(t *testing.T) {
	dir := t.TempDir()
	if err := Generate(dir); err != nil {
		t.Fatal(err)
	}
	ring, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	before, err := ring.Newest(Vault)
	if err != nil {
		t.Fatal(err)
	}
	file, group, mode := path(dir, Vault), os.Getgid(), fs.FileMode(0o400)
	if os.Getuid() == 0 {
		group, mode = 1000, 0o640
	}
	if err := errors.Join(os.Chown(file, -1, group), os.Chmod(file, mode|0o200)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Renew(dir, Vault, time.Now(), time.Hour, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if has := info.Sys().(*syscall.Stat_t).Gid; info.Mode().Perm() != mode|0o200 || int(has) != group {
		t.Errorf("the new file has mode %v and group %d, want %v and %d", info.Mode(), has, mode|0o200, group)
	}
	after, err := ring.Newest(Vault)
	if err != nil || !after.After(before) {
		t.Errorf("the newest generation is of %v, then of %v, %v", before, after, err)
	}
	if _, err := ring.Seal(Vault, "acme", "x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if known, err := ring.Newest(Vault); err != nil || !known.Equal(after) {
		t.Errorf("without its file the newest generation is of %v, %v", known, err)
	}
}
