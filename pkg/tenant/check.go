package tenant

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/usherhq/usher/events"
)

var tenantID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// check notes every problem of the content.
func (c *Config) check(p *problems) {
	c.checkBroker(p)
	c.checkAuth(p)
	for name, catalog := range c.Catalogs {
		catalog.check(p, join("catalogs", name))
	}
	for name, policy := range c.Policies {
		policy.check(p, join("policies", name), c.Broker.MaxAge)
	}
	p.that(len(c.Tenants) > 0, "tenants", "is empty; configure at least one tenant")
	for i, t := range c.Tenants {
		t.check(p, fmt.Sprintf("tenants[%d]", i), c)
	}
	c.checkDistinct(p)
}

// checkDistinct notes what two tenants share and requests could not tell apart.
func (c *Config) checkDistinct(p *problems) {
	ids, labels, institutions := owners{}, owners{}, owners{}
	for i, t := range c.Tenants {
		path := fmt.Sprintf("tenants[%d]", i)
		ids.claim(p, t.ID, path, ".id")
		if f := t.Dialects.Fincode; f != nil {
			labels.claim(p, strings.ToLower(f.HostLabel), path, ".dialects.fincode.hostLabel")
		}
		if f := t.Dialects.Candescent; f != nil {
			institutions.claim(p, f.InstitutionID, path, ".dialects.candescent.institutionId")
		}
	}
}

// owners tells who has a value first, by path.
type owners map[string]string

func (o owners) claim(p *problems, value, path, setting string) {
	if value == "" {
		return
	}
	if first, taken := o[value]; taken {
		p.that(false, path+setting, "is that of %s too; give each its own", first)
		return
	}
	o[value] = path
}

func (c *Config) checkBroker(p *problems) {
	b := c.Broker
	p.that(time.Duration(b.MaxAge) >= time.Hour, "broker.maxAge", "is under an hour, and what is open longer is lost; give e.g. 168h")
	p.that(slices.Contains([]int{1, 3, 5}, b.Replicas), "broker.replicas", "is %d; give 1, 3 or 5", b.Replicas)
	p.that(b.MaxBytes >= 1<<20, "broker.maxBytes", "is under 1 MiB; give the bytes that a full maxAge of registrations takes")
	p.that(b.VaultMaxBytes >= 1<<20, "broker.vaultMaxBytes", "is under 1 MiB; give the bytes that the registrations in flight take")
	p.that(b.HighWater > 0 && b.HighWater < 1, "broker.highWater", "is %v; give a part such as 0.8", b.HighWater)
	p.that(b.Rate >= 0 && b.Rate <= maxRate, "broker.rate", "is not within 0 and %d; give registrations per second, 0 where not known", maxRate)
	p.that(b.Memory >= 0, "broker.memory", "is negative; give bytes, 0 where not known")
	b.checkFootprint(p)
}

func (c *Config) checkAuth(p *problems) {
	p.that(c.Auth.FailuresPerAddress >= 0, "auth.failuresPerAddress", "is negative; give failures per second, 0 for no limit")
	sums, issuers := owners{}, owners{}
	for i, t := range c.Auth.Tokens {
		path := fmt.Sprintf("auth.tokens[%d]", i)
		sum, err := hex.DecodeString(t.SHA256)
		p.that(err == nil && len(sum) == 32, path+".sha256", "is not a SHA-256 in hex; hash the token, never write it in clear")
		sums.claim(p, strings.ToLower(t.SHA256), path, ".sha256")
		p.that(t.Subject != "", path+".subject", "is missing; name who uses the token")
		p.that(t.Subject != events.ByPolicy, path+".subject", "is the name under which policies decide; choose another")
		c.checkTenants(p, path+".tenants", t.Tenants)
		checkRoles(p, path+".roles", t.Roles)
	}
	for i, o := range c.Auth.OIDC {
		path := fmt.Sprintf("auth.oidc[%d]", i)
		p.that(secureURL(o.Issuer), path+".issuer", "is not an https URL; give the issuer as its tokens name it")
		issuers.claim(p, o.Issuer, path, ".issuer")
		p.that(o.Audience != "", path+".audience", "is missing; give the audience that tokens for this service have")
		p.that(o.JWKSURL == "" || secureURL(o.JWKSURL), path+".jwksURL", "is not an https URL; mend it, or remove it to discover the keys")
	}
}

// secureURL reports an absolute https URL, or an http one of this machine.
func secureURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	local := slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && local
}

func (c *Config) checkTenants(p *problems, path string, tenants []string) {
	p.that(len(tenants) > 0, path, `is missing; list tenant ids, or "*"`)
	for i, id := range tenants {
		_, known := c.Tenant(id)
		p.that(id == AllTenants || known, fmt.Sprintf("%s[%d]", path, i), "names no configured tenant; add the tenant or mend the id")
	}
}

func checkRoles(p *problems, path string, roles []Role) {
	names := make([]string, len(Roles))
	for i, r := range Roles {
		names[i] = string(r)
	}
	p.that(len(roles) > 0, path, "is missing; list one of %s", strings.Join(names, ", "))
	for i, r := range roles {
		p.that(slices.Contains(Roles, r), fmt.Sprintf("%s[%d]", path, i), "is no role; give one of %s", strings.Join(names, ", "))
	}
}
