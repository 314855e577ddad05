package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
)

func TestWhatAPrincipalMayDo(t *testing.T) {
	teller := Principal{Tenants: []string{"acme"}, Roles: []Role{Channel}}
	root := Principal{Tenants: []string{AllTenants}, Roles: []Role{Admin}}
	for sentence, ok := range map[string]bool{
		"a channel submits":                     teller.Has(Channel),
		"a channel does not review":             !teller.Has(Reviewer, Compliance),
		"one role of several is enough":         teller.Has(Reviewer, Channel),
		"an admin has every role":               root.Has(Reviewer) && root.Has(Compliance),
		"nobody has no role":                    !Principal{}.Has(Roles...),
		"a caller acts for its own tenant":      teller.Allows("acme"),
		"a caller does not act for another":     !teller.Allows("other"),
		"a tenant's name is not matched partly": !teller.Allows("acm") && !teller.Allows(""),
		"the star stands for every tenant":      root.Allows("other"),
		"nobody acts for a tenant":              !Principal{}.Allows("acme"),
	} {
		if !ok {
			t.Errorf("not so: %s", sentence)
		}
	}
}

func TestAStaticTokenIsKnownByItsHash(t *testing.T) {
	sum := sha256.Sum256([]byte("right"))
	a, err := NewAuthenticator(Auth{Tokens: []StaticToken{{hex.EncodeToString(sum[:]), "desk", []string{"acme"}, []Role{Channel}}}})
	if err != nil {
		t.Fatal(err)
	}
	a.AddToken("added", Principal{Subject: "dev", Tenants: []string{AllTenants}, Roles: []Role{Admin}})
	for sentence, row := range map[string]struct{ bearer, subject string }{
		"the token":                    {"right", "desk"},
		"a token added later":          {"added", "dev"},
		"the hash is no token":         {hex.EncodeToString(sum[:]), ""},
		"a part of the token":          {"righ", ""},
		"more than the token":          {"right ", ""},
		"no token":                     {"", ""},
		"three parts that are no JWT":  {"a.b.c", ""},
		"a JWT of nobody's issuer":     {"e30.eyJpc3MiOiJodHRwczovL2lkIn0.e30", ""},
		"a JWT that names no issuer":   {"e30.e30.e30", ""},
		"a JWT whose claims are a row": {"e30.W10.e30", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			p, err := a.Authenticate(t.Context(), row.bearer)
			if p.Subject != row.subject || (row.subject == "") != errors.Is(err, ErrUnauthenticated) {
				t.Errorf("got %q, %v", p.Subject, err)
			}
		})
	}
}

func TestAHashThatIsNoneIsRefused(t *testing.T) {
	for _, sum := range []string{"", "zz", "9f86"} {
		if _, err := NewAuthenticator(Auth{Tokens: []StaticToken{{SHA256: sum}}}); err == nil {
			t.Errorf("%q was accepted", sum)
		}
	}
}

func TestReplacedTokensCountAtOnceAndAddedOnesStay(t *testing.T) {
	token := func(plain, subject string) StaticToken {
		sum := sha256.Sum256([]byte(plain))
		return StaticToken{hex.EncodeToString(sum[:]), subject, []string{"acme"}, []Role{Channel}}
	}
	a, err := NewAuthenticator(Auth{Tokens: []StaticToken{token("old", "desk"), token("kept", "desk")}})
	if err != nil {
		t.Fatal(err)
	}
	a.AddToken("added", Principal{Subject: "dev"})
	if err := a.Replace(Auth{Tokens: []StaticToken{{SHA256: "no hash"}}}); err == nil {
		t.Error("a hash that is none was accepted")
	}
	if _, err := a.Authenticate(t.Context(), "old"); err != nil {
		t.Errorf("after a replacement that failed: %v", err)
	}
	if err := a.Replace(Auth{Tokens: []StaticToken{token("kept", "branch"), token("new", "desk")}}); err != nil {
		t.Fatal(err)
	}
	for bearer, want := range map[string]string{"old": "", "kept": "branch", "new": "desk", "added": "dev"} {
		if p, err := a.Authenticate(t.Context(), bearer); p.Subject != want || (want == "") != errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %q, %v", bearer, p.Subject, err)
		}
	}
}
