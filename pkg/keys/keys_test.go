package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func ring(t testing.TB) (*Ring, string) {
	t.Helper()
	dir := t.TempDir()
	if err := Generate(dir); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r, dir
}

func TestGenerateNeverOverwritesAndFilesArePrivate(t *testing.T) {
	_, dir := ring(t)
	before, err := os.ReadFile(path(dir, ID))
	if err != nil {
		t.Fatal(err)
	}
	if err := Generate(dir); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(path(dir, ID))
	if !bytes.Equal(before, after) {
		t.Error("the id key was replaced")
	}
	if info, _ := os.Stat(path(dir, Credential)); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := os.Chmod(path(dir, Vault), 0o644); err != nil {
		t.Fatal(err)
	}
	other, _ := Open(dir)
	if _, err := other.Seal(Vault, "t", "a", nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

func TestASealedValueOpensOnlyInItsPlace(t *testing.T) {
	r, _ := ring(t)
	sealed, err := r.Seal(Data, "t1", "reg|person", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("it is in clear")
	}
	if plain, err := r.Open(Data, "t1", "reg|person", sealed); err != nil || string(plain) != "secret" {
		t.Errorf("got %q, %v", plain, err)
	}
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another tenant": func() ([]byte, error) { return r.Open(Data, "t2", "reg|person", sealed) },
		"another place":  func() ([]byte, error) { return r.Open(Data, "t1", "reg|other", sealed) },
		"damage":         func() ([]byte, error) { return r.Open(Data, "t1", "reg|person", damaged) },
		"too short":      func() ([]byte, error) { return r.Open(Data, "t1", "reg|person", sealed[:2]) },
		"only an id":     func() ([]byte, error) { return r.Open(Data, "t1", "reg|person", sealed[:4]) },
	} {
		if _, err := open(); !errors.Is(err, ErrUnsealable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stranger, _ := ring(t)
	if _, err := stranger.Open(Data, "t1", "reg|person", sealed); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("an unknown generation: %v", err)
	}
}

func TestANewGenerationIsUsedFromItsTimeAndOldOnesOpenUntilRetired(t *testing.T) {
	r, dir := ring(t)
	now := time.Now()
	r.now = func() time.Time { return now }
	old, err := r.Seal(Vault, "t", "a", []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := Rotate(dir, Vault, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(30 * time.Minute)
	if before, _ := r.Seal(Vault, "t", "a", nil); hex.EncodeToString(before[:4]) == id {
		t.Error("the generation was used before its time")
	}
	now = now.Add(time.Hour)
	later, err := r.Seal(Vault, "t", "a", []byte("new"))
	if err != nil || hex.EncodeToString(later[:4]) != id {
		t.Errorf("sealed with %x, %v; want %s", later[:4], err, id)
	}
	if plain, err := r.Open(Vault, "t", "a", old); err != nil || string(plain) != "old" {
		t.Errorf("old value: %q, %v", plain, err)
	}
	retired, err := Retire(dir, Vault, now.Add(time.Hour))
	if err != nil || len(retired) != 1 {
		t.Fatalf("retired %v, %v", retired, err)
	}
	fresh, _ := Open(dir)
	if _, err := fresh.Open(Vault, "t", "a", old); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a destroyed generation opens: %v", err)
	}
}

func TestAGenerationThatArrivesLaterIsFoundWithoutARestart(t *testing.T) {
	r, dir := ring(t)
	other, _ := Open(dir)
	now := time.Now()
	other.now = func() time.Time { return now }
	if _, err := other.Seal(Vault, "t", "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Rotate(dir, Vault, now.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	sealed, err := r.Seal(Vault, "t", "a", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	if plain, err := other.Open(Vault, "t", "a", sealed); err != nil || string(plain) != "x" {
		t.Errorf("got %q, %v", plain, err)
	}
}

func TestOnlyTheHolderOfThePrivateKeyOpensACredential(t *testing.T) {
	r, dir := ring(t)
	sealed, err := r.SealCredential("t", "reg", []byte("pass word"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := r.OpenCredential("t", "reg", sealed); err != nil || string(plain) != "pass word" {
		t.Errorf("got %q, %v", plain, err)
	}
	if _, err := r.OpenCredential("t", "other", sealed); !errors.Is(err, ErrUnsealable) {
		t.Errorf("another registration: %v", err)
	}
	if err := os.Remove(path(dir, Credential)); err != nil {
		t.Fatal(err)
	}
	gateway, _ := Open(dir)
	if _, err := gateway.SealCredential("t", "reg", []byte("x")); err != nil {
		t.Errorf("the public key alone does not seal: %v", err)
	}
	if _, err := gateway.OpenCredential("t", "reg", sealed); err == nil {
		t.Error("it opens without the private key")
	}
	stranger, _ := ring(t)
	if _, err := stranger.OpenCredential("t", "reg", sealed); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a stranger: %v", err)
	}
}

func TestACredentialKeyServesAMinute(t *testing.T) {
	r, _ := ring(t)
	now := time.Now()
	r.now = func() time.Time { return now }
	first, _ := r.credentialSender()
	now = now.Add(59 * time.Second)
	if same, _ := r.credentialSender(); same != first {
		t.Error("it was replaced within the minute")
	}
	now = now.Add(2 * time.Second)
	if next, _ := r.credentialSender(); next == first {
		t.Error("it was used for longer than a minute")
	}
}

// fixed is a ring whose keys are 0, 1, 2, …: what it derives must never change.
func fixed(t *testing.T) *Ring {
	t.Helper()
	dir := t.TempDir()
	secret := make([]byte, 32)
	for i := range secret {
		secret[i] = byte(i)
	}
	for _, name := range []string{ID, Index, Activation} {
		if err := write(dir, name, file{Keys: []generation{{ID: "00000001", Secret: secret}}}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDerivedIdsAndCodesAreTheSameForEver(t *testing.T) {
	r := fixed(t)
	registration, _ := r.RegistrationID("acme", "key 1")
	user, _ := r.UserID(registration)
	code, _ := r.ActivationCode(registration, 1)
	mac, _ := r.MAC(Index, "u_email", "acme", []byte("a@example.com"))
	got := strings.Join([]string{registration, user, code, base64.StdEncoding.EncodeToString(mac), HashCode(registration, code)}, "\n") + "\n"
	want, err := os.ReadFile("testdata/derived.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if again, _ := r.RegistrationID("acme", "key 1"); again != registration {
		t.Error("the same key gave another id")
	}
	if other, _ := r.RegistrationID("other", "key 1"); other == registration {
		t.Error("two tenants share an id")
	}
	if !regexp.MustCompile(`^[A-Z2-7]{16}$`).MatchString(code) {
		t.Errorf("code %s", code)
	}
	if next, _ := r.ActivationCode(registration, 2); next == code {
		t.Error("two epochs share a code")
	}
	if HashCode(registration, " "+strings.ToLower(code[:8])+"-"+code[8:]) != HashCode(registration, code) {
		t.Error("case, spaces and hyphens matter")
	}
	one, _ := r.MAC(Index, "p", "t", []byte("ab"), []byte("c"))
	two, _ := r.MAC(Index, "p", "t", []byte("a"), []byte("bc"))
	if bytes.Equal(one, two) {
		t.Error("parts can be shifted into each other")
	}
}

func FuzzOpen(f *testing.F) {
	r, _ := ring(f)
	sealed, _ := r.Seal(Data, "t", "a", []byte("x"))
	credential, _ := r.SealCredential("t", "a", []byte("x"))
	f.Add(sealed)
	f.Add(credential)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := r.Open(Data, "t", "b", raw); err == nil {
			t.Error("something opened")
		}
		if _, err := r.OpenCredential("t", "b", raw); err == nil {
			t.Error("a credential opened")
		}
	})
}
