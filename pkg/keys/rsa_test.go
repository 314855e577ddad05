package keys

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
)

const bits = 1024 // the fewest that crypto/rsa makes: fast, and of no other use

func addRSA(t *testing.T, dir, tenant string) RSAKey {
	t.Helper()
	k, err := AddRSA(dir, tenant, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// opens reports which of the keys the ring opens with.
func opens(t *testing.T, r *Ring, tenant string, known ...RSAKey) string {
	t.Helper()
	live, err := r.RSAKeys(tenant)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range known {
		for _, private := range live {
			if public(t, k).Equal(&private.PublicKey) {
				ids = append(ids, k.ID)
			}
		}
	}
	if len(ids) != len(live) {
		t.Errorf("%d keys are live, of which %v are known", len(live), ids)
	}
	return strings.Join(ids, " ")
}

func public(t *testing.T, k RSAKey) *rsa.PublicKey {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(k.Public)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(*rsa.PublicKey)
}

func TestAnRSAKeyOpensUntilItsRetirementWithoutARestart(t *testing.T) {
	r, dir := ring(t)
	now := time.Now()
	r.now = func() time.Time { return now }
	old := addRSA(t, dir, "acme")
	if got := opens(t, r, "acme", old); got != old.ID {
		t.Fatalf("live: %s", got)
	}
	next := addRSA(t, dir, "acme")
	if got := opens(t, r, "acme", old, next); got != old.ID {
		t.Errorf("the file was read again within the minute: %s", got)
	}
	now = now.Add(time.Minute)
	if got := opens(t, r, "acme", old, next); got != old.ID+" "+next.ID {
		t.Errorf("a minute later: %s", got)
	}
	if err := RetireRSA(dir, "acme", old.ID, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(59 * time.Minute)
	if got := opens(t, r, "acme", old, next); got != old.ID+" "+next.ID {
		t.Errorf("before the retirement: %s", got)
	}
	now = now.Add(2 * time.Minute)
	if got := opens(t, r, "acme", old, next); got != next.ID {
		t.Errorf("after the retirement: %s", got)
	}
	if err := RetireRSA(dir, "acme", next.ID, now.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if got := opens(t, r, "acme", old, next); got != "" {
		t.Errorf("all are retired, yet live: %s", got)
	}
}

func TestAFileThatCannotBeReadForNowLeavesTheKeysThatAreKnown(t *testing.T) {
	r, dir := ring(t)
	now := time.Now()
	r.now = func() time.Time { return now }
	k := addRSA(t, dir, "acme")
	opens(t, r, "acme", k)
	if err := os.WriteFile(path(dir, RSA("acme")), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if got := opens(t, r, "acme", k); got != k.ID {
		t.Errorf("live: %s", got)
	}
}

func TestTenantsHaveKeysOfTheirOwn(t *testing.T) {
	r, dir := ring(t)
	one, two := addRSA(t, dir, "one"), addRSA(t, dir, "two")
	if opens(t, r, "one", one, two) != one.ID || opens(t, r, "two", one, two) != two.ID {
		t.Error("a tenant opens what is another's")
	}
	if _, err := r.RSAKeys("three"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a tenant without keys: %v", err)
	}
}

func TestTheListTellsPublicKeysOnlyTheNewestFirst(t *testing.T) {
	_, dir := ring(t)
	old, next := addRSA(t, dir, "acme"), addRSA(t, dir, "acme")
	retirement := time.Now().Add(time.Hour)
	if err := RetireRSA(dir, "acme", old.ID, retirement); err != nil {
		t.Fatal(err)
	}
	all, err := ListRSA(dir, "acme")
	if err != nil || len(all) != 2 || all[0] != next || all[1].ID != old.ID || !all[1].RetiresAt.Equal(retirement) || all[0].Bits != bits {
		t.Fatalf("listed %+v, %v", all, err)
	}
	if !all[1].Live(retirement.Add(-1)) || all[1].Live(retirement) || !all[0].Live(retirement) {
		t.Error("a key is live before its retirement, and only then")
	}
	if err := RetireRSA(dir, "acme", "00000000", retirement); err == nil || !strings.Contains(err.Error(), "00000000") {
		t.Errorf("an id that is not there: %v", err)
	}
}

func TestARetiredKeyIsDestroyedWhenTheNextIsMade(t *testing.T) {
	_, dir := ring(t)
	old := addRSA(t, dir, "acme")
	if err := RetireRSA(dir, "acme", old.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	next := addRSA(t, dir, "acme")
	all, err := ListRSA(dir, "acme")
	if err != nil || len(all) != 1 || all[0] != next {
		t.Errorf("listed %+v, %v", all, err)
	}
	if err := EnsureRSA(dir, "acme", bits); err != nil {
		t.Fatal(err)
	}
	if again, _ := ListRSA(dir, "acme"); len(again) != 1 || again[0] != next {
		t.Error("a tenant that has a key was given another")
	}
}
