package accounts

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/crypto/argon2"

	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/tenant"
)

// defaultHashMemory is that of thirteen hashes by the default parameters, in MiB.
const defaultHashMemory = 256

// hasher hashes passwords with argon2id (RFC 9106), as many at once as there are processors:
// more would only take memory. Safe for concurrent use.
type hasher struct {
	pool         *pool
	override     *tenant.Argon2
	wait, taking metric.Float64Histogram
}

// newHasher reads ACCOUNTS_HASH_MEMORY (MiB that the hashes of a moment may take) and
// ACCOUNTS_ARGON2 (m=KiB,t=passes,p=lanes), which replaces the tenants' parameters. Weaker ones than
// the floor need ACCOUNTS_INSECURE_HASH=true, for tests.
func newHasher(getenv func(string) string, log *slog.Logger, meters metric.MeterProvider) (*hasher, error) {
	memory, err := strconv.Atoi(cmp.Or(getenv("ACCOUNTS_HASH_MEMORY"), strconv.Itoa(defaultHashMemory)))
	if err != nil || memory < 8 || memory > 1<<20 {
		return nil, errors.New("ACCOUNTS_HASH_MEMORY: want MiB, 8 to 1048576, e.g. 256")
	}
	h := &hasher{pool: newPool(runtime.GOMAXPROCS(0), memory<<20)}
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
	return h, h.measure(meters.Meter("github.com/usherhq/usher/services/accounts"))
}

// measure makes the metrics of the pool.
func (h *hasher) measure(meter metric.Meter) error {
	seconds := metric.WithExplicitBucketBoundaries(.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
	_, err := meter.Int64ObservableGauge("usher.hash.queue", metric.WithDescription("passwords that wait to be hashed"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(h.pool.waiting()))
			return nil
		}))
	var errWait, errTaking error
	h.wait, errWait = meter.Float64Histogram("usher.hash.wait", metric.WithUnit("s"), seconds, metric.WithDescription("time that a password waits to be hashed"))
	h.taking, errTaking = meter.Float64Histogram("usher.hash.duration", metric.WithUnit("s"), seconds, metric.WithDescription("time to hash one password"))
	if err := errors.Join(err, errWait, errTaking); err != nil {
		return fmt.Errorf("make metrics of hashes: %w", err)
	}
	return nil
}

// weaker reports parameters whose memory times passes are below every OWASP recommendation.
func weaker(p tenant.Argon2) bool {
	return p.Work() < 7168*5 || p.MemoryKiB < 7168
}

// parameters are what a tenant's passwords are hashed by.
func (h *hasher) parameters(ofTenant tenant.Argon2) tenant.Argon2 {
	if h.override != nil {
		return *h.override
	}
	return ofTenant
}

// hash returns the PHC string of a password in its normal form, once its turn comes or ctx ends.
// An urgent one comes before those that nobody waits for.
func (h *hasher) hash(ctx context.Context, password []byte, p tenant.Argon2, urgent bool) (phc string, err error) {
	normal := []byte(passwords.Normal(string(password)))
	queued := time.Now()
	err = h.pool.do(ctx, int(p.MemoryKiB)<<10, urgent, func() {
		begun := time.Now()
		h.wait.Record(ctx, begun.Sub(queued).Seconds())
		salt := make([]byte, 16)
		_, _ = rand.Read(salt)
		sum := argon2.IDKey(normal, salt, p.Time, p.MemoryKiB, p.Lanes, 32)
		encode := base64.RawStdEncoding.EncodeToString
		phc = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.MemoryKiB, p.Time, p.Lanes, encode(salt), encode(sum))
		h.taking.Record(ctx, time.Since(begun).Seconds())
	})
	return phc, err
}
