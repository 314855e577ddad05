package keys

import (
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every day of three weeks something is sealed; all of it opens as long as it can be in flight, in a
// process that never restarts, and nothing opens a day later.
func TestAGenerationIsDestroyedWhenNothingOfItIsInFlightAnyMore(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const maxAge, margin = 7 * 24 * time.Hour, time.Hour
		if err := Generate(dir); err != nil {
			t.Fatal(err)
		}
		ring, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		type entry struct {
			at     time.Time
			sealed []byte
		}
		var entries []entry
		for range 21 * 4 {
			if _, _, err := Renew(dir, Vault, time.Now(), time.Hour, maxAge+margin); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * refreshEvery)
			sealed, err := ring.Seal(Vault, "acme", "aad", []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, entry{time.Now(), sealed})
			for _, e := range entries {
				age := time.Since(e.at)
				_, err := ring.Open(Vault, "acme", "aad", e.sealed)
				switch {
				case age <= maxAge && err != nil:
					t.Fatalf("what was sealed %v ago does not open: %v", age, err)
				case age > maxAge+margin+36*time.Hour && !errors.Is(err, ErrUnknownKey):
					t.Fatalf("what was sealed %v ago opens, or fails with %v", age, err)
				}
			}
			time.Sleep(6 * time.Hour)
		}
		if f, err := read(dir, Vault); err != nil || len(f.Keys) > 11 {
			t.Errorf("%d generations are kept, %v", len(f.Keys), err)
		}
	})
}

func TestADestroyedGenerationIsGoneFromTheProcessAndItsFile(t *testing.T) {
	dir := t.TempDir()
	if err := Generate(dir); err != nil {
		t.Fatal(err)
	}
	ring, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ring.now = func() time.Time { return now }
	sealed, err := ring.Seal(Vault, "acme", "aad", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := read(dir, Vault)
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(path(dir, Vault)) // as a process that looks for the bytes of the old file
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := Rotate(dir, Vault, now); err != nil {
		t.Fatal(err)
	}
	if ids, err := Retire(dir, Vault, now.Add(time.Hour)); err != nil || len(ids) != 1 {
		t.Fatalf("destroyed %v, %v", ids, err)
	}
	raw := make([]byte, 4096)
	n, _ := held.ReadAt(raw, 0)
	if text := string(raw[:n]); n == 0 || strings.TrimSpace(text) != "" {
		t.Errorf("the replaced file still holds %d bytes", len(strings.TrimSpace(text)))
	}
	if current, err := os.ReadFile(path(dir, Vault)); err != nil || strings.Contains(string(current), base64.StdEncoding.EncodeToString(before.Keys[0].Secret)) {
		t.Errorf("the file still holds the secret, %v", err)
	}
	now = now.Add(refreshEvery)
	if _, err := ring.Open(Vault, "acme", "aad", sealed); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a running process opens it: %v", err)
	}
	ring.derived.Range(func(key, _ any) bool {
		if strings.HasPrefix(key.(string), before.Keys[0].ID) {
			t.Errorf("a running process holds %q", key)
		}
		return true
	})
}

func TestTheNewestGenerationIsThatOfTheFileAsItIsNow(t *testing.T) {
	dir := t.TempDir()
	if err := Generate(dir); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if newest, err := r.Newest(Vault); err != nil || !newest.IsZero() {
		t.Errorf("a key that was never renewed is of %v, %v", newest, err)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if _, _, err := Renew(dir, Vault, now, time.Hour, time.Hour); err != nil {
		t.Fatal(err)
	}
	if newest, err := r.Newest(Vault); err != nil || !newest.Equal(time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("after its renewal it is of %v, %v", newest, err)
	}
	if _, err := r.Newest("absent"); err == nil {
		t.Error("a key that is not there has a newest generation")
	}
}
