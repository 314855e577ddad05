// Package tenant is the configuration of the tenants and of who may act for them: one
// validated YAML file, or the embedded demonstration.
package tenant

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Config is the whole configuration. It does not change after Load, and is safe for
// concurrent use.
type Config struct {
	// Version names the content: the first 12 hex digits of its SHA-256. Decisions record it.
	Version string `yaml:"-"`
	Broker  Broker `yaml:"broker"`
	Auth    Auth   `yaml:"auth"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed; default none.
	TrustedProxies []Network `yaml:"trustedProxies"`

	Catalogs map[string]*Catalog `yaml:"catalogs"`
	Policies map[string]*Policy  `yaml:"policies"`
	Tenants  []*Tenant           `yaml:"tenants"`
}

// Broker sizes the streams. Intake stops when either has used the part HighWater of its bytes.
type Broker struct {
	MaxAge        Duration `yaml:"maxAge"`        // default 168h
	Replicas      int      `yaml:"replicas"`      // default 1
	MaxBytes      int64    `yaml:"maxBytes"`      // of the events, default 8 GiB
	VaultMaxBytes int64    `yaml:"vaultMaxBytes"` // of the sealed persons in flight, default 4 GiB
	HighWater     float64  `yaml:"highWater"`     // default 0.8
	// Rate is how many registrations per second are expected on the average of maxAge; default 0,
	// not known. Where it is given, what they need is checked.
	Rate float64 `yaml:"rate"`
	// Memory is how many bytes each broker has for the subjects of its streams; default 0, not known.
	Memory int64 `yaml:"memory"`
}

// Auth lists who may call. Tokens are stored hashed.
type Auth struct {
	Tokens []StaticToken `yaml:"tokens"`
	OIDC   []Issuer      `yaml:"oidc"`
	// FailuresPerAddress is how many tokens that are not valid one client address may send per
	// second; default 5, 0 for no limit.
	FailuresPerAddress float64 `yaml:"failuresPerAddress"`
}

// StaticToken is a bearer token by its SHA-256.
type StaticToken struct {
	SHA256  string   `yaml:"sha256"` // hex
	Subject string   `yaml:"subject"`
	Tenants []string `yaml:"tenants"` // "*" for all
	Roles   []Role   `yaml:"roles"`
}

// Issuer is an OpenID Connect issuer whose JWTs carry tenants[], roles[] and sub.
type Issuer struct {
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	JWKSURL  string `yaml:"jwksURL"` // optional: instead of discovery
}

// Duration is a time.Duration written as in Go: 90s, 24h.
type Duration time.Duration

// UnmarshalText reads "24h".
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("is not a duration; write e.g. 90s or 24h")
	}
	*d = Duration(parsed)
	return nil
}

// Network is a range of addresses in CIDR form: 10.0.0.0/8, 2001:db8::/32.
type Network struct{ netip.Prefix }

// UnmarshalText reads "10.0.0.0/8".
func (n *Network) UnmarshalText(text []byte) error {
	parsed, err := netip.ParsePrefix(string(text))
	if err != nil || parsed != parsed.Masked() {
		return errors.New("is not a network; write e.g. 10.0.0.0/8")
	}
	n.Prefix = parsed
	return nil
}

//go:embed demo.yaml
var demo []byte

// DemoFile returns the demonstration configuration as a file to start one's own from.
func DemoFile() []byte { return slices.Clone(demo) }

// Demo returns the embedded demonstration configuration.
func Demo() *Config {
	c, err := Parse("demo.yaml", demo)
	if err != nil {
		panic(err) // the shipped file is tested
	}
	return c
}

// Load reads and validates a file. Its error has one line for every problem of the file:
// file:line:column path: problem; how to mend it. No line repeats a configured value of Auth.
func Load(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, raw)
}

// Parse is Load for content that was already read; name appears in its errors.
func Parse(name string, raw []byte) (*Config, error) {
	c, problems := Check(name, raw, 0)
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return c, errors.Join(errs...)
}

// Check is Parse with the problems as values: the configuration is nil where there are any. A rate
// above 0 stands for broker.rate.
func Check(name string, raw []byte, rate float64) (*Config, []Problem) {
	c := &Config{}
	r := newReader()
	if r.document(raw, c) {
		if rate > 0 {
			c.Broker.Rate = rate
		}
		c.check(&r.problems)
	}
	if problems := r.report(name); len(problems) > 0 {
		return nil, problems
	}
	c.Version = VersionOf(raw)
	c.resolve()
	return c, nil
}

// VersionOf is the Version of a file's content.
func VersionOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])[:12]
}

func (c *Config) setDefaults() {
	c.Broker = Broker{
		MaxAge:        Duration(7 * 24 * time.Hour),
		Replicas:      1,
		MaxBytes:      8 << 30,
		VaultMaxBytes: 4 << 30,
		HighWater:     0.8,
	}
	c.Auth.FailuresPerAddress = 5
}

func (c *Config) resolve() {
	for _, t := range c.Tenants {
		t.Catalog, t.Policy, t.ConfigVersion = c.Catalogs[t.CatalogName], c.Policies[t.PolicyName], c.Version
		t.Activation.ExpireAfter = t.Activation.expireAfter(c.Broker.MaxAge)
		if t.Mail.FromName == "" {
			t.Mail.FromName = t.Name
		}
	}
}

// Tenant returns a tenant by id; a disabled one is still known.
func (c *Config) Tenant(id string) (*Tenant, bool) {
	i := slices.IndexFunc(c.Tenants, func(t *Tenant) bool { return t.ID == id })
	if i < 0 {
		return nil, false
	}
	return c.Tenants[i], true
}

// Institution returns a tenant by its institution id in the Candescent dialect.
func (c *Config) Institution(id string) (*Tenant, bool) {
	i := slices.IndexFunc(c.Tenants, func(t *Tenant) bool {
		return t.Dialects.Candescent != nil && t.Dialects.Candescent.InstitutionID == id
	})
	if i < 0 {
		return nil, false
	}
	return c.Tenants[i], true
}

// TenantIDs lists every tenant, disabled ones too, in the order of the file.
func (c *Config) TenantIDs() []string {
	ids := make([]string, len(c.Tenants))
	for i, t := range c.Tenants {
		ids[i] = t.ID
	}
	return ids
}

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema (2020-12) of the file. It knows the shape; what one setting demands of
// another only Parse knows.
func Schema() []byte { return slices.Clone(schema) }
