package limit

import (
	"crypto/sha256"
	"sync"
	"time"
)

// mostTokens bounds how many tokens Attempts remembers.
const mostTokens = 10_000

// Attempts bounds how many tokens that are not valid an address sends. One that was found valid
// before is always let through, so that others behind the same address go on. Safe for concurrent
// use.
type Attempts struct {
	addresses *Addresses

	mu    sync.Mutex
	valid *recent[[sha256.Size]byte, struct{}] // tokens, hashed
}

// NewAttempts returns none.
func NewAttempts() *Attempts {
	return &Attempts{addresses: NewAddresses(), valid: newRecent[[sha256.Size]byte, struct{}](mostTokens)}
}

// Wait returns 0 where a token may be checked, or how long until it may; failures is how many
// that are not valid an address may send per second, 0 for no limit.
func (a *Attempts) Wait(token, address string, failures float64) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.valid.has(sha256.Sum256([]byte(token))) {
		return 0
	}
	return Missing(time.Now(), 0, a.addresses.Of("", address, failures))
}

// Failed counts a token that was not valid, or is not any more.
func (a *Attempts) Failed(token, address string, failures float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.valid.drop(sha256.Sum256([]byte(token)))
	Take(time.Now(), 0, a.addresses.Of("", address, failures))
}

// Succeeded remembers a token that was valid.
func (a *Attempts) Succeeded(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.valid.get(sha256.Sum256([]byte(token)), func() struct{} { return struct{}{} })
}
