package webhooks

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/usherhq/usher/pkg/keys"
)

// Algorithm is how a secret signs, by the version that Standard Webhooks gives it.
type Algorithm string

// Algorithms of Standard Webhooks 1.0.0.
const (
	HMAC    Algorithm = "v1"  // HMAC-SHA256
	Ed25519 Algorithm = "v1a" // whose verifier needs no secret
)

// Algorithms lists them.
var Algorithms = []Algorithm{HMAC, Ed25519}

// mostSecrets bounds the secrets that sign at the same time.
const mostSecrets = 5

// Secret signs what an endpoint is sent until it expires. Times are Unix milliseconds.
type Secret struct {
	ID        string    `json:"id"`
	Algorithm Algorithm `json:"algorithm"`
	Sealed    []byte    `json:"sealed"`           // under the tenant's data key
	Public    string    `json:"public,omitempty"` // whpk_…, of Ed25519
	CreatedAt int64     `json:"createdAt"`
	ExpiresAt int64     `json:"expiresAt,omitempty"` // 0 for never
}

func (s Secret) live(now time.Time) bool { return s.ExpiresAt == 0 || now.UnixMilli() < s.ExpiresAt }

// sealer keeps secrets from whoever reads documents.
type sealer interface {
	Seal(name, tenant, aad string, plaintext []byte) ([]byte, error)
	Open(name, tenant, aad string, sealed []byte) ([]byte, error)
}

func secretAAD(tenant, endpoint, id string) string {
	return tenant + "|" + endpoint + "|webhook|" + id
}

// secretBytes are of a key for HMAC, and of a seed for Ed25519.
const secretBytes = 32

// newSecret returns a secret and what its receiver verifies with, in the text form of Standard
// Webhooks: whsec_… is the secret itself and is not kept in clear; whpk_… is public.
func newSecret(by sealer, a Algorithm, tenant, endpoint string, now time.Time) (s Secret, shown string, err error) {
	raw := make([]byte, secretBytes)
	_, _ = rand.Read(raw)
	s = Secret{ID: rand.Text(), Algorithm: a, CreatedAt: now.UnixMilli()}
	shown = "whsec_" + base64.StdEncoding.EncodeToString(raw)
	if a == Ed25519 {
		public := ed25519.NewKeyFromSeed(raw).Public().(ed25519.PublicKey)
		s.Public = "whpk_" + base64.StdEncoding.EncodeToString(public)
		shown = s.Public
	}
	if s.Sealed, err = by.Seal(keys.Data, tenant, secretAAD(tenant, endpoint, s.ID), raw); err != nil {
		return Secret{}, "", fmt.Errorf("seal secret: %w", err)
	}
	return s, shown, nil
}

// signer signs for one endpoint.
type signer []signingKey

type signingKey struct {
	secret Secret
	key    []byte
}

// openSecrets returns who signs with all secrets of an endpoint.
func openSecrets(by sealer, e Endpoint) (signer, error) {
	var all signer
	for _, s := range e.Secrets {
		raw, err := by.Open(keys.Data, e.Tenant, secretAAD(e.Tenant, e.ID, s.ID), s.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open secret: %w", err)
		}
		all = append(all, signingKey{s, raw})
	}
	return all, nil
}

// sign returns the header webhook-signature: a signature of each secret that lives at the time.
func (s signer) sign(id string, at time.Time, body []byte) string {
	signed := []byte(id + "." + strconv.FormatInt(at.Unix(), 10) + ".")
	signed = append(signed, body...)
	var all []string
	for _, k := range s {
		if !k.secret.live(at) {
			continue
		}
		var signature []byte
		if k.secret.Algorithm == Ed25519 {
			signature = ed25519.Sign(ed25519.NewKeyFromSeed(k.key), signed)
		} else {
			mac := hmac.New(sha256.New, k.key)
			mac.Write(signed)
			signature = mac.Sum(nil)
		}
		all = append(all, string(k.secret.Algorithm)+","+base64.StdEncoding.EncodeToString(signature))
	}
	return strings.Join(all, " ")
}

// MessageID is the header webhook-id of an event: it may not contain the dots of the event's id. It
// is the same whenever the event is sent.
func MessageID(event string) string { return strings.ReplaceAll(event, ".", ":") }
