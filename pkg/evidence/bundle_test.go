package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// bundle is an exported feed of n events.
func bundle(t *testing.T, n int) Bundle {
	t.Helper()
	k := newKey("a")
	all, checkpoints := feed(t, n, k)
	b := Bundle{Head: Head{Usher: bundleFormat, Tenant: acme, From: 1, To: uint64(n), Keys: k.public()}, Events: all, Signed: Signed{}}
	for _, c := range checkpoints {
		b.Signed[c.Number] = c
	}
	return b
}

func written(t *testing.T, b Bundle) []byte {
	t.Helper()
	var file bytes.Buffer
	if n, err := b.WriteTo(&file); err != nil || n != int64(file.Len()) {
		t.Fatal(n, err)
	}
	return file.Bytes()
}

func TestABundleIsReadAsItWasWritten(t *testing.T) {
	b := bundle(t, 2*Span)
	b.Events[3].Data = []byte("{\n\"lines\": 2}")
	b.Events[4].Data = nil
	got, err := ReadBundle(bytes.NewReader(written(t, b)))
	if err != nil {
		t.Fatal(err)
	}
	got.Events[4].Data = nil // there is none, however it is written
	if !reflect.DeepEqual(got, b) {
		t.Errorf("read %+v", got.Head)
	}
}

func TestAFileIsVerifiedWhateverPartOfItIsAskedFor(t *testing.T) {
	file := written(t, bundle(t, 3*Span))
	for name, c := range map[string]struct{ from, to, events uint64 }{
		"all":               {0, 0, 3 * Span},
		"the middle":        {70, 80, 11},
		"more than it has":  {1, 999, 3 * Span},
		"from a place":      {Span + 1, 0, 2 * Span},
		"to a place, whole": {0, Span, Span},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := ReadBundle(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			r, err := b.Verify(b.Keys, c.from, c.to, func() { seen++ })
			if err != nil || r.Finding != nil || r.Events != c.events || seen != 3*Span {
				t.Errorf("%+v, %v, %d seen", r, err, seen)
			}
		})
	}
}

func TestWhatIsNoBundleIsRefused(t *testing.T) {
	lines := bytes.SplitAfter(written(t, bundle(t, Span)), []byte("\n"))
	for says, file := range map[string][]byte{
		"not an exported feed":  nil,
		"line 2: it is not":     slices.Concat(lines[0], []byte("Kanarienvogel\n")),
		"line 3: it has no seq": slices.Concat(lines[0], lines[1], []byte(`{"id":"Kanarienvogel"}`)),
		"is not text":           slices.Concat(lines[0], []byte(`{"sequence":1,"id":"Kanarienvogel"}`)),
		"not as it was written": slices.Concat(lines[0], []byte(" "), lines[Span+1]),
	} {
		_, err := ReadBundle(bytes.NewReader(file))
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "Kanarienvogel") {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := ReadBundle(strings.NewReader(`{"usher":"feed 2"}`)); !errors.Is(err, ErrNoBundle) {
		t.Error(err)
	}
	b := bundle(t, Span)
	b.From = 2
	if _, err := b.Verify(b.Keys, 0, 0, func() {}); err == nil || !strings.Contains(err.Error(), "event 1 is not of the part") {
		t.Error(err)
	}
}

// Somebody with the streams but not the keys changes an event and builds all that follows from it.
func TestAStreamThatWasBuiltAnewWithOneEventChangedDoesNotVerify(t *testing.T) {
	honest := bundle(t, 4*Span)
	for _, forger := range []key{newKey("b"), {"a", newKey("b").private}} {
		forged := Bundle{Head: honest.Head, Signed: Signed{}}
		previous, leaves := Genesis(acme), [][]byte(nil)
		for i, e := range honest.Events {
			if i == 99 {
				e.Data = []byte(`{"n":"another"}`)
			}
			forged.Events, leaves = append(forged.Events, e), append(leaves, Leaf(e.Attributes, e.Data))
			if len(leaves) == Span {
				c, err := Sign(acme, e.Sequence/Span, previous, leaves, forger)
				if err != nil {
					t.Fatal(err)
				}
				forged.Signed[c.Number], previous, leaves = c, c.Head, nil
			}
		}
		r, err := forged.Verify(honest.Keys, 0, 0, func() {})
		if err != nil || r.Finding == nil {
			t.Errorf("signed by %s: %+v, %v", forger.id, r, err)
		}
		for number, c := range honest.Signed { // with the true checkpoints the event is named
			forged.Signed[number] = c
		}
		if r, err = forged.Verify(honest.Keys, 0, 0, func() {}); err != nil || r.Finding == nil || r.Finding.Sequence != 100 {
			t.Errorf("with the true checkpoints: %+v, %v", r, err)
		}
	}
}

func FuzzReadEvent(f *testing.F) {
	for _, line := range []string{`{"id":"x","sequence":"7","data":{"a":1}}`, `{"sequence":"1","data_base64":"e30="}`, `{"cursor":"c","sequence":"2"}`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, _, err := ReadEvent(line)
		if err != nil {
			return
		}
		again, err := e.line()
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", e, err)
		}
		back, _, err := ReadEvent(again)
		if err != nil || back.Sequence != e.Sequence || !bytes.Equal(Leaf(back.Attributes, back.Data), Leaf(e.Attributes, e.Data)) {
			t.Errorf("%q came back as %q: %v", line, again, err)
		}
	})
}

func FuzzReadBundle(f *testing.F) {
	head, _ := json.Marshal(Head{Usher: bundleFormat, Tenant: acme, From: 1, To: 2})
	f.Add(fmt.Appendf(nil, "%s\n{\"id\":\"x\",\"sequence\":\"1\",\"data\":{}}\n", head))
	f.Fuzz(func(t *testing.T, file []byte) {
		b, err := ReadBundle(bytes.NewReader(file))
		if err != nil {
			return
		}
		r, err := b.Verify(b.Keys, 0, 0, func() {})
		if err == nil && r.Finding == nil && r.Checkpoints > 0 {
			t.Errorf("a file that nobody signed verifies: %q", file)
		}
	})
}
