package keys

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// A signing key is an Ed25519 seed (RFC 8032). Its public keys are in a file of their own, which
// keeps them also when their secrets are gone: what was signed stays verifiable.

func createCheckpoint(dir string) error {
	if _, err := os.Stat(path(dir, Checkpoint)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	g := newGeneration(newSecret(), time.Time{})
	if err := publish(dir, g); err != nil {
		return err
	}
	return write(dir, Checkpoint, file{Keys: []generation{g}})
}

// publish adds the public key of a signing key's generation to those that verify.
func publish(dir string, g generation) error {
	f, err := read(dir, CheckpointPub)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	public := ed25519.NewKeyFromSeed(g.Secret).Public().(ed25519.PublicKey)
	f.Keys = append(f.Keys, generation{ID: g.ID, ActiveFrom: g.ActiveFrom, Secret: public})
	return write(dir, CheckpointPub, f)
}

// Signer signs the checkpoints of feeds.
type Signer struct{ ring *Ring }

// Signer returns who signs with the active generation of the ring's checkpoint key.
func (r *Ring) Signer() Signer { return Signer{r} }

// Sign returns the id of the generation and the signature.
func (s Signer) Sign(message []byte) (key string, signature []byte, err error) {
	g, err := s.ring.active(Checkpoint)
	if err != nil {
		return "", nil, err
	}
	if len(g.Secret) != ed25519.SeedSize {
		return "", nil, fmt.Errorf("key %s: generation %s is not an Ed25519 seed", Checkpoint, g.ID)
	}
	return g.ID, ed25519.Sign(ed25519.NewKeyFromSeed(g.Secret), message), nil
}

// CheckpointKeys are the public keys, by their ids, that verify what was ever signed.
func (r *Ring) CheckpointKeys() (map[string]ed25519.PublicKey, error) {
	r.refresh(CheckpointPub, refreshEvery)
	f, err := r.file(CheckpointPub)
	if err != nil {
		return nil, err
	}
	public := make(map[string]ed25519.PublicKey, len(f.Keys))
	for _, g := range f.Keys {
		if len(g.Secret) == ed25519.PublicKeySize {
			public[g.ID] = ed25519.PublicKey(g.Secret)
		}
	}
	return public, nil
}
