package events

import "strconv"

// Checkpoint signs a span of a tenant's feed: pkg/evidence says how. It depends on nothing but the
// events of the span, so every replica that makes it makes the same.
type Checkpoint struct {
	Number    uint64   `json:"number"`    // from 1
	Previous  []byte   `json:"previous"`  // head of the checkpoint before, 32 bytes
	Leaves    [][]byte `json:"leaves"`    // one of each event, 32 bytes
	Head      []byte   `json:"head"`      // of all until here, 32 bytes
	Key       string   `json:"key"`       // id of the signing key
	Signature []byte   `json:"signature"` // Ed25519
}

func (Checkpoint) Type() string { return "checkpoint.signed" }
func (Checkpoint) Step() Step   { return FactCheckpoint }
func (c Checkpoint) N() string  { return strconv.FormatUint(c.Number, 10) }
