package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

const idBytes = 4

// Seal encrypts for a tenant with the active generation of the data or vault key. aad binds
// the value to its place and is needed to open it. The result is the generation's id, the
// nonce and the AES-256-GCM ciphertext.
func (r *Ring) Seal(name, tenant, aad string, plaintext []byte) ([]byte, error) {
	g, err := r.active(name)
	if err != nil {
		return nil, err
	}
	aead, err := r.aead(name, g, tenant)
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(g.ID)
	if err != nil || len(id) != idBytes {
		return nil, fmt.Errorf("key %s: a generation's id is not 8 hex digits", name)
	}
	return aead.Seal(id, nil, plaintext, []byte(aad)), nil
}

// Open is the inverse of Seal. Its error wraps ErrUnknownKey or ErrUnsealable.
func (r *Ring) Open(name, tenant, aad string, sealed []byte) ([]byte, error) {
	if len(sealed) < idBytes {
		return nil, fmt.Errorf("open: %w", ErrUnsealable)
	}
	g, err := r.find(name, hex.EncodeToString(sealed[:idBytes]))
	if err != nil {
		return nil, err
	}
	aead, err := r.aead(name, g, tenant)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, sealed[idBytes:], []byte(aad))
	if err != nil {
		return nil, fmt.Errorf("open: %w", ErrUnsealable)
	}
	return plaintext, nil
}

// aead returns the cipher of one generation and tenant. Nonces are random, 96 bits.
func (r *Ring) aead(name string, g generation, tenant string) (cipher.AEAD, error) {
	key, err := r.derive(name, g, "seal", tenant)
	if err != nil {
		return nil, err
	}
	return newGCM(key)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// infoOf begins what tells the subkeys of a key from each other.
func infoOf(name string) string { return "usher/" + name + "/" }

// derive returns the subkey of a purpose and tenant (HKDF-SHA-256, RFC 5869).
func (r *Ring) derive(name string, g generation, purpose, tenant string) ([]byte, error) {
	info := infoOf(name) + purpose + "/" + tenant
	if key, ok := r.derived.Load(g.ID + info); ok {
		return key.([]byte), nil
	}
	key, err := hkdf.Key(sha256.New, g.Secret, nil, info, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key of %s: %w", name, err)
	}
	r.derived.Store(g.ID+info, key)
	return key, nil
}

// MAC returns an HMAC-SHA-256 of the parts under the id, index or activation key. Purposes
// and tenants have keys of their own; the parts cannot be shifted into each other.
func (r *Ring) MAC(name, purpose, tenant string, parts ...[]byte) ([]byte, error) {
	f, err := r.file(name)
	if err != nil {
		return nil, err
	}
	key, err := r.derive(name, f.Keys[0], purpose, tenant)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		mac.Write(p)
	}
	return mac.Sum(nil), nil
}
