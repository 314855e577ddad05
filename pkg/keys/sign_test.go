package keys

import (
	"crypto/ed25519"
	"testing"
	"time"
)

func TestWhatWasSignedVerifiesAlsoWhenItsKeyIsGone(t *testing.T) {
	dir := t.TempDir()
	if err := Generate(dir); err != nil {
		t.Fatal(err)
	}
	sign := func() (string, []byte) {
		t.Helper()
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		key, signature, err := r.Signer().Sign([]byte("head"))
		if err != nil {
			t.Fatal(err)
		}
		return key, signature
	}
	old, first := sign()
	if again, second := sign(); again != old || string(second) != string(first) {
		t.Error("two replicas sign differently")
	}
	if _, err := Rotate(dir, Checkpoint, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if retired, err := Retire(dir, Checkpoint, time.Now()); err != nil || len(retired) != 1 || retired[0] != old {
		t.Fatal(retired, err)
	}
	newer, second := sign()
	if newer == old {
		t.Error("the retired key still signs")
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	public, err := r.CheckpointKeys()
	if err != nil || len(public) != 2 {
		t.Fatal(public, err)
	}
	for key, signature := range map[string][]byte{old: first, newer: second} {
		if !ed25519.Verify(public[key], []byte("head"), signature) {
			t.Errorf("the signature of %s does not verify", key)
		}
	}
}
