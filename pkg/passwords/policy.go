// Package passwords says which passwords a tenant takes in each dialect. The gateway takes the
// facts of a password, the validator judges them with a registration, and gateway and accounts
// together judge a password that is chosen at the activation: all of them by the one policy.
package passwords

import (
	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

// Composition is which classes of characters a password must have.
type Composition int

const (
	AnyCharacters Composition = iota
	FourClasses               // upper-case and lower-case letters, digits, special characters
	TwoOfThree                // two of letters, digits, special characters; no spaces
)

// Policy is what a tenant demands of the passwords of one dialect.
type Policy struct {
	MinLength, MaxLength int // in code points after normalisation; 0 for no bound
	MaxBytes             int // as received; 0 for no bound
	Composition          Composition
	NotCommon            bool // not on the blocklist
	Unlike               bool // without a part of the person's identity or a word of the tenant
	NotInUsername        bool
	// All tells everything that is wrong; otherwise the first is told.
	All bool
}

// shortestOfVendors is what FinHub and Fincode demand.
const shortestOfVendors = 8

// Of is the policy of a tenant for a channel. That of the native API follows NIST SP 800-63B-4
// section 3.1.1.2: length, blocklist and context, no rules of composition; those of the vendors'
// dialects are what the vendors' documents say. A dialect that the tenant has switched off keeps
// its rules, but for the tenant's own lengths.
func Of(t *tenant.Tenant, channel string) Policy {
	switch channel {
	case "finhub":
		return Policy{MinLength: shortestOfVendors, MaxBytes: t.Password.MaxLength, Composition: FourClasses}
	case "fincode":
		return Policy{MinLength: shortestOfVendors, MaxBytes: t.Password.MaxLength, Composition: FourClasses, NotCommon: true, Unlike: true, All: true}
	case "candescent":
		p := Policy{Composition: TwoOfThree, NotInUsername: true}
		if c := t.Dialects.Candescent; c != nil {
			p.MinLength, p.MaxLength = c.PasswordMin, c.PasswordMax
		}
		return p
	}
	return Policy{MinLength: t.Password.MinLength, MaxBytes: t.Password.MaxLength, NotCommon: true, Unlike: true}
}

// Check returns the codes of what is wrong with a password of which the facts are f; none for one
// that is not there.
func (p Policy) Check(f events.PasswordFacts) []string {
	if !f.Present {
		return nil
	}
	var broken []string
	for _, rule := range []struct {
		broken bool
		code   string
	}{
		{f.Length < p.MinLength, events.CodeTooShort},
		{p.MaxLength > 0 && f.Length > p.MaxLength || p.MaxBytes > 0 && f.Bytes > p.MaxBytes, events.CodeTooLong},
		{p.Composition == TwoOfThree && f.Space, events.CodeFormat},
		{!p.Composition.metBy(f), events.CodePasswordWeak},
		{p.NotCommon && f.Common, events.CodePasswordCommon},
		{p.Unlike && f.Resembles || p.NotInUsername && f.InUsername, events.CodePasswordResembles},
	} {
		if rule.broken {
			broken = append(broken, rule.code)
		}
	}
	if !p.All && len(broken) > 1 {
		broken = broken[:1]
	}
	return broken
}

func (c Composition) metBy(f events.PasswordFacts) bool {
	switch c {
	case FourClasses:
		return f.Upper && f.Lower && f.Digit && f.Special
	case TwoOfThree:
		classes := 0
		for _, has := range []bool{f.Upper || f.Lower || f.Caseless, f.Digit, f.Special} {
			if has {
				classes++
			}
		}
		return classes >= 2
	}
	return true
}
