package keys

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// A tenant's RSA keys open what its clients encrypt themselves, as the Fincode dialect has it.
// Several are live at once: each opens until its own retirement, so clients move from one to
// the next in their own time. Only the gateway holds them.

// RSA is the name of a tenant's key file, without ".json".
func RSA(tenant string) string { return "rsa-" + tenant }

// RSAKey is what may be told of a tenant's key.
type RSAKey struct {
	ID        string
	Since     time.Time
	RetiresAt time.Time // zero where it goes on
	Bits      int
	Public    string // SubjectPublicKeyInfo (RFC 5280 section 4.1) in Base64, one line
}

// Live reports whether the key opens something at a time.
func (k RSAKey) Live(at time.Time) bool { return live(k.RetiresAt, at) }

func live(retiresAt, at time.Time) bool { return retiresAt.IsZero() || at.Before(retiresAt) }

// AddRSA makes a key for a tenant. It is used from when the gateways have the file; destroyed
// are those whose retirement has come.
func AddRSA(dir, tenant string, bits int) (RSAKey, error) {
	f, err := read(dir, RSA(tenant))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return RSAKey{}, err
	}
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return RSAKey{}, fmt.Errorf("generate RSA key: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return RSAKey{}, fmt.Errorf("encode RSA key: %w", err)
	}
	now := time.Now()
	g := newGeneration(secret, now)
	f.Keys = slices.DeleteFunc(f.Keys, func(old generation) bool { return !live(old.RetiresAt, now) })
	f.Keys = append(f.Keys, g)
	if err := write(dir, RSA(tenant), f); err != nil {
		return RSAKey{}, err
	}
	return describe(g, private)
}

// EnsureRSA makes a tenant's first key where it has none.
func EnsureRSA(dir, tenant string, bits int) error {
	_, err := read(dir, RSA(tenant))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = AddRSA(dir, tenant, bits)
	}
	return err
}

// RetireRSA ends a key at a time, in the past or to come. Until then it opens; no restart is
// needed. A later call replaces the time of an earlier one.
func RetireRSA(dir, tenant, id string, at time.Time) error {
	f, err := read(dir, RSA(tenant))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(f.Keys, func(g generation) bool { return g.ID == id })
	if i < 0 {
		return fmt.Errorf("key %s: no key %s is there", RSA(tenant), id)
	}
	f.Keys[i].RetiresAt = at.UTC()
	return write(dir, RSA(tenant), f)
}

// ListRSA returns a tenant's keys, the newest first: retired ones too.
func ListRSA(dir, tenant string) ([]RSAKey, error) {
	f, err := read(dir, RSA(tenant))
	if err != nil {
		return nil, err
	}
	var all []RSAKey
	for _, g := range f.Keys {
		private, err := parseRSA(g.Secret)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", RSA(tenant), err)
		}
		k, err := describe(g, private)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	slices.SortStableFunc(all, func(a, b RSAKey) int { return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

func describe(g generation, private *rsa.PrivateKey) (RSAKey, error) {
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return RSAKey{}, fmt.Errorf("encode public key: %w", err)
	}
	return RSAKey{
		ID: g.ID, Since: g.ActiveFrom, RetiresAt: g.RetiresAt, Bits: private.N.BitLen(), Public: base64.StdEncoding.EncodeToString(public),
	}, nil
}

func parseRSA(secret []byte) (*rsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(secret)
	if err != nil {
		return nil, errors.New("a secret is not an RSA key in PKCS #8")
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("a secret is not an RSA key")
	}
	return private, nil
}

// RSAKeys returns the tenant's keys that are not retired, maybe none. A file that changes is
// noticed within a minute; a tenant without a file is an error.
func (r *Ring) RSAKeys(tenant string) ([]*rsa.PrivateKey, error) {
	name := RSA(tenant)
	r.refresh(name, refreshEvery)
	f, err := r.file(name)
	if err != nil {
		return nil, err
	}
	var all []*rsa.PrivateKey
	for _, g := range f.Keys {
		if !live(g.RetiresAt, r.now()) {
			continue
		}
		private, err := r.rsaKey(name, g)
		if err != nil {
			return nil, err
		}
		all = append(all, private)
	}
	return all, nil
}

func (r *Ring) rsaKey(name string, g generation) (*rsa.PrivateKey, error) {
	if private, ok := r.rsaKeys.Load(name + g.ID); ok {
		return private.(*rsa.PrivateKey), nil
	}
	private, err := parseRSA(g.Secret)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	r.rsaKeys.Store(name+g.ID, private)
	return private, nil
}
