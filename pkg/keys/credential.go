package keys

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// A password is sealed to the accounts service alone: HPKE (RFC 9180; X25519, HKDF-SHA-256,
// AES-256-GCM) once a minute, whose exported key seals each password with AES-256-GCM.

const (
	hpkeInfo     = "usher/credential"
	exportInfo   = "usher/credential/key"
	senderLife   = time.Minute
	openKeysHeld = 4096
)

// sealedCredential is the sealed form: it says how its key is recovered.
type sealedCredential struct {
	Key    string `json:"key"` // generation of the recipient's key
	Enc    []byte `json:"enc"` // encapsulated key, RFC 9180 §4
	Sealed []byte `json:"sealed"`
}

type credentialSender struct {
	generation string
	enc, key   []byte
	until      time.Time
}

func createCredential(dir string) error {
	if _, err := os.Stat(path(dir, Credential)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	private, err := hpke.DHKEM(ecdh.X25519()).GenerateKey()
	if err != nil {
		return fmt.Errorf("generate credential key: %w", err)
	}
	secret, err := private.Bytes()
	if err != nil {
		return fmt.Errorf("generate credential key: %w", err)
	}
	g := newGeneration(secret, time.Time{})
	public := generation{ID: g.ID, ActiveFrom: g.ActiveFrom, Secret: private.PublicKey().Bytes()}
	if err := write(dir, CredentialPub, file{Keys: []generation{public}}); err != nil {
		return err
	}
	return write(dir, Credential, file{Keys: []generation{g}})
}

func credentialAAD(tenant, registration string) []byte {
	return []byte(tenant + "|" + registration + "|credential")
}

// SealCredential seals a password so that only the accounts service opens it. It needs the
// public key alone.
func (r *Ring) SealCredential(tenant, registration string, password []byte) ([]byte, error) {
	s, err := r.credentialSender()
	if err != nil {
		return nil, err
	}
	aead, err := newGCM(s.key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealedCredential{
		Key: s.generation, Enc: s.enc, Sealed: aead.Seal(nil, nil, password, credentialAAD(tenant, registration)),
	})
}

func (r *Ring) credentialSender() (*credentialSender, error) {
	g, err := r.active(CredentialPub)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sender; s != nil && s.generation == g.ID && r.now().Before(s.until) {
		return s, nil
	}
	public, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(g.Secret)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", CredentialPub, err)
	}
	enc, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(hpkeInfo))
	if err != nil {
		return nil, fmt.Errorf("seal credential: %w", err)
	}
	key, err := sender.Export(exportInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("seal credential: %w", err)
	}
	r.sender = &credentialSender{generation: g.ID, enc: enc, key: key, until: r.now().Add(senderLife)}
	return r.sender, nil
}

// OpenCredential is the inverse of SealCredential; it needs the private key. Its error wraps
// ErrUnknownKey or ErrUnsealable.
func (r *Ring) OpenCredential(tenant, registration string, sealed []byte) ([]byte, error) {
	var c sealedCredential
	if err := json.Unmarshal(sealed, &c); err != nil {
		return nil, fmt.Errorf("open credential: %w", ErrUnsealable)
	}
	key, err := r.exportedKey(c)
	if err != nil {
		return nil, err
	}
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	password, err := aead.Open(nil, nil, c.Sealed, credentialAAD(tenant, registration))
	if err != nil {
		return nil, fmt.Errorf("open credential: %w", ErrUnsealable)
	}
	return password, nil
}

func (r *Ring) exportedKey(c sealedCredential) ([]byte, error) {
	cached := c.Key + string(c.Enc)
	r.mu.Lock()
	key, ok := r.openKeys[cached]
	r.mu.Unlock()
	if ok {
		return key, nil
	}
	g, err := r.find(Credential, c.Key)
	if err != nil {
		return nil, err
	}
	private, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(g.Secret)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", Credential, err)
	}
	recipient, err := hpke.NewRecipient(c.Enc, private, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(hpkeInfo))
	if err != nil {
		return nil, fmt.Errorf("open credential: %w", ErrUnsealable)
	}
	if key, err = recipient.Export(exportInfo, 32); err != nil {
		return nil, fmt.Errorf("open credential: %w", ErrUnsealable)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.openKeys) >= openKeysHeld {
		clear(r.openKeys)
	}
	r.openKeys[cached] = key
	return key, nil
}
