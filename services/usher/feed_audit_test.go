package usher

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/evidence"
)

// audit runs the command and returns all that it said.
func audit(t *testing.T, args ...string) (said string, code int) {
	t.Helper()
	return says(t, append([]string{"audit"}, args...)...)
}

func TestAnExportedFeedVerifiesUntilAnythingInItIsChanged(t *testing.T) {
	cheapHash(t)
	dir := t.TempDir()
	d := startDev(t, dir, devOptions{})
	for i := range 16 {
		d.register(nativeBody(fmt.Sprintf("audited.%d@example.com", i)))
	}
	js := d.jetStream(t)
	d.eventually(waitLong, "a span is signed", func() bool {
		return slices.ContainsFunc(readAll(t, js, bus.Tenants), func(m *jetstream.RawStreamMsg) bool { return m.Header.Get("ce-type") == events.Checkpoint{}.Type() })
	})
	t.Setenv("USHER_TOKEN", testToken)
	ops, tenant := "--ops="+d.ledger(""), "--tenant="+cloudVault
	keys := "--keys=" + filepath.Join(dir, "keys", "checkpoint.pub.json")
	for _, trust := range [][]string{nil, {keys}} {
		if said, code := audit(t, append([]string{"verify", ops, tenant}, trust...)...); code != 0 || !strings.Contains(said, "everything is as it was signed") {
			t.Fatalf("the feed: %d %s", code, said)
		}
	}
	file := filepath.Join(t.TempDir(), "feed.ndjson")
	if said, code := audit(t, "export", ops, tenant, fmt.Sprint("--to=", evidence.Span), "--out="+file); code != 0 {
		t.Fatal(said)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(content []byte) (string, int) {
		t.Helper()
		changed := filepath.Join(t.TempDir(), "changed.ndjson")
		if err := os.WriteFile(changed, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return audit(t, "verify", changed, keys)
	}
	if said, code := verify(whole); code != 0 || !strings.Contains(said, fmt.Sprintf("%d events, 1 checkpoints, 0 events", evidence.Span)) {
		t.Fatalf("the file: %d %s", code, said)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for name, changed := range map[string][][]byte{
		"event 10": slices.Concat(lines[:10], lines[11:]),                               // deleted
		"event 20": slices.Concat(lines[:20], lines[21:22], lines[20:21], lines[22:]),   // swapped
		"event 30": slices.Concat(lines[:30], lines[30:31], lines[30:31], lines[31:]),   // twice
		"event 64": slices.Concat(lines[:64], lines[65:]),                               // the last
		"event 40": slices.Concat(lines[:40], [][]byte{altered(lines[40])}, lines[41:]), // altered
	} {
		if said, code := verify(slices.Concat(changed...)); code != 1 || !strings.Contains(said, name) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
	for range 60 {
		content := slices.Clone(whole)
		at := len(lines[0]) + rand.IntN(len(content)-len(lines[0])-1)
		content[at] ^= 1 << rand.IntN(7)
		if said, code := verify(content); code == 0 {
			t.Errorf("byte %d, in %q, was changed to %q: %s", at, whole[max(0, at-20):min(at+10, len(whole))], content[at], said)
		}
	}
}

// altered changes one byte of an event's data.
func altered(line []byte) []byte {
	line = slices.Clone(line)
	at := bytes.Index(line, []byte(`"data":`)) + len(`"data":`) + 3
	line[at] ^= 1
	return line
}
