package accounts

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"golang.org/x/crypto/argon2"

	"github.com/usherhq/usher/pkg/tenant"
)

// hasher hashes passwords with argon2id (RFC 9106), as many at once as there are processors:
// more would only take memory. Safe for concurrent use.
type hasher struct {
	slots    chan struct{}
	override *tenant.Argon2
}

// newHasher reads ACCOUNTS_ARGON2 (m=KiB,t=passes,p=lanes), which replaces the tenants'
// parameters. Weaker ones than the floor need ACCOUNTS_INSECURE_HASH=true, for tests.
func newHasher(getenv func(string) string, log *slog.Logger) (*hasher, error) {
	h := &hasher{slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	insecure := getenv("ACCOUNTS_INSECURE_HASH") == "true"
	if text := getenv("ACCOUNTS_ARGON2"); text != "" {
		var p tenant.Argon2
		if _, err := fmt.Sscanf(text, "m=%d,t=%d,p=%d", &p.MemoryKiB, &p.Time, &p.Lanes); err != nil || p.MemoryKiB < 8 || p.Time < 1 || p.Lanes < 1 {
			return nil, errors.New("ACCOUNTS_ARGON2: want m=KiB,t=passes,p=lanes, e.g. m=19456,t=2,p=1")
		}
		if !insecure && weaker(p) {
			return nil, errors.New("ACCOUNTS_ARGON2 is weaker than m=19456,t=2,p=1; only tests may set ACCOUNTS_INSECURE_HASH=true")
		}
		h.override = &p
	}
	if insecure {
		log.Warn("ACCOUNTS_INSECURE_HASH is set: passwords are not protected; never run production like this")
	}
	return h, nil
}

// weaker reports parameters whose memory times passes are below every OWASP recommendation.
func weaker(p tenant.Argon2) bool {
	return uint64(p.MemoryKiB)*uint64(p.Time) < 7168*5 || p.MemoryKiB < 7168
}

// hash returns the PHC string of a password, once a slot is free or ctx ends.
func (h *hasher) hash(ctx context.Context, password []byte, p tenant.Argon2) (string, error) {
	if h.override != nil {
		p = *h.override
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return "", fmt.Errorf("wait for a hashing slot: %w", ctx.Err())
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	sum := argon2.IDKey(password, salt, p.Time, p.MemoryKiB, p.Lanes, 32)
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.MemoryKiB, p.Time, p.Lanes, encode(salt), encode(sum)), nil
}
