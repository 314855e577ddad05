package usher

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestAnOperatorChangesATenantsRSAKey(t *testing.T) {
	dir := t.TempDir()
	run := func(command func(*bytes.Buffer) error) string {
		t.Helper()
		var out bytes.Buffer
		if err := command(&out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	file := rsaFile{Dir: dir, Tenant: "acme"}
	add := func() (id, public string) {
		line, public, _ := strings.Cut(run(func(out *bytes.Buffer) error { return rsaAdd{rsaFile: file, Bits: 2048}.Run(out) }), "\n")
		id, rest, _ := strings.Cut(line, " ")
		if !strings.Contains(rest, "2048 bits") || !strings.HasSuffix(rest, "goes on") || !strings.HasPrefix(public, "MII") {
			t.Errorf("printed %s\n%s", line, public)
		}
		return id, public
	}
	list := func() string { return run(func(out *bytes.Buffer) error { return rsaList{rsaFile: file}.Run(out) }) }

	old, oldPublic := add()
	next, nextPublic := add()
	if got := list(); !strings.HasPrefix(got, next) || strings.Index(got, nextPublic) > strings.Index(got, oldPublic) || strings.Count(got, "goes on") != 2 {
		t.Errorf("listed %s", got)
	}
	retire := func(in time.Duration) string {
		return run(func(out *bytes.Buffer) error { return rsaRetire{rsaFile: file, ID: old, In: in}.Run(out) })
	}
	if got := retire(time.Hour); !strings.Contains(got, old) || !strings.Contains(list(), "until ") {
		t.Errorf("retired: %s", got)
	}
	if retire(0); !strings.Contains(list(), "retired") {
		t.Errorf("listed %s", list())
	}
	if add(); strings.Contains(list(), old) {
		t.Error("a retired key is kept beside a new one")
	}
	for _, id := range []string{"../acme", "", "a b"} {
		if (rsaFile{Dir: dir, Tenant: id}).Validate() == nil {
			t.Errorf("tenant %q was accepted", id)
		}
	}
}
