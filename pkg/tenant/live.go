package tenant

import "sync/atomic"

// Live is the configuration in force, which a reload replaces as a whole. Whoever decides takes
// what it needs once, by Current or Tenant, and uses that to the end of the decision: a *Config
// and its *Tenants are of one version and never change. Safe for concurrent use.
type Live struct{ current atomic.Pointer[Config] }

// NewLive returns a configuration that is in force until it is replaced.
func NewLive(c *Config) *Live {
	l := &Live{}
	l.Replace(c)
	return l
}

// Current is the configuration in force now.
func (l *Live) Current() *Config { return l.current.Load() }

// Tenant is a tenant as it is configured now. It names its version itself.
func (l *Live) Tenant(id string) (*Tenant, bool) { return l.Current().Tenant(id) }

// Replace puts c in force for every decision that begins from now on.
func (l *Live) Replace(c *Config) { l.current.Store(c) }
