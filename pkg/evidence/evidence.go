// Package evidence proves that a tenant's feed is what it was. Every event has a leaf, a digest of
// its CloudEvents attributes and its data. Each Span events a checkpoint holds their leaves and the head of a hash
// chain over all leaves so far, signed with Ed25519. Who has the public key can tell the first
// event that was altered, taken out, put in or moved, also in a stream that was built anew.
package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/usherhq/usher/events"
)

// Span is how many events a checkpoint covers: number n those of the sequences (n-1)·Span+1 to
// n·Span. It never changes: checkpoints of another span would not verify.
const Span = 64

// NumberOf is that of the checkpoint that covers an event.
func NumberOf(sequence uint64) uint64 { return (sequence-1)/Span + 1 }

// Leaf is SHA-256 over the attributes in the order of their names, each its name and its value, and
// the data; each of these after its length as eight bytes, big-endian.
func Leaf(attributes map[string]string, data []byte) []byte {
	var content []byte
	add := func(part string) {
		content = append(binary.BigEndian.AppendUint64(content, uint64(len(part))), part...)
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		add(name)
		add(attributes[name])
	}
	add(string(data))
	sum := sha256.Sum256(content)
	return sum[:]
}

// Genesis is what the first checkpoint of a tenant has as the head before it.
func Genesis(tenant string) []byte {
	sum := sha256.Sum256([]byte("usher feed 1\n" + tenant))
	return sum[:]
}

func headOf(previous []byte, leaves [][]byte) []byte {
	h := sha256.New()
	h.Write(previous)
	for _, l := range leaves {
		h.Write(l)
	}
	return h.Sum(nil)
}

// signed is what the signature of a checkpoint is of.
func signed(tenant string, c events.Checkpoint) []byte {
	return fmt.Appendf(nil, "usher checkpoint 1\n%s\n%d\n%x", tenant, c.Number, c.Head)
}

// Signer signs with the key that is active.
type Signer interface {
	Sign(message []byte) (key string, signature []byte, err error)
}

// Sign makes the checkpoint that follows one with the head previous.
func Sign(tenant string, number uint64, previous []byte, leaves [][]byte, by Signer) (events.Checkpoint, error) {
	c := events.Checkpoint{Number: number, Previous: previous, Leaves: leaves, Head: headOf(previous, leaves)}
	var err error
	if c.Key, c.Signature, err = by.Sign(signed(tenant, c)); err != nil {
		return events.Checkpoint{}, fmt.Errorf("sign checkpoint: %w", err)
	}
	return c, nil
}

// Keys are public keys by their ids.
type Keys map[string]ed25519.PublicKey

// ErrSignature is wrapped for a checkpoint that was not signed as it is by one of the keys.
var ErrSignature = errors.New("the checkpoint is not as it was signed")

// Verify checks that a checkpoint is one of the tenant's, whole and signed.
func (k Keys) Verify(tenant string, c events.Checkpoint) error {
	key, known := k[c.Key]
	switch {
	case !known:
		return fmt.Errorf("%w: its key %q is not among those given", ErrSignature, c.Key)
	case c.Number == 0 || len(c.Leaves) != Span || !bytes.Equal(c.Head, headOf(c.Previous, c.Leaves)):
		return fmt.Errorf("%w: its head is not that of its leaves", ErrSignature)
	case c.Number == 1 && !bytes.Equal(c.Previous, Genesis(tenant)):
		return fmt.Errorf("%w: it does not begin this tenant's feed", ErrSignature)
	case !ed25519.Verify(key, signed(tenant, c), c.Signature):
		return ErrSignature
	}
	return nil
}
