package validator

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/biter777/countries"
	"golang.org/x/net/idna"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/passwords"
	"github.com/usherhq/usher/pkg/tenant"
)

// subject is a registration under examination.
type subject struct {
	events.Registration
	tenant *tenant.Tenant
	at     time.Time // receipt: ages are counted to here, so that a retry finds the same
}

// rule returns what it has against a registration; it never stops at the first finding. A
// missing value is the business of the rule that requires it.
type rule func(subject) []events.Violation

// Rules of each channel, in the order their violations are told.
var rules = map[string][]rule{
	"native":  {findings, nativeRequired, nativeNames, nativeContact, nativeBirth, nativeCountries, password("credentials.password"), roles("roles"), category("categoryId")},
	"finhub":  {findings, finhubNames, finhubContact, finhubBirth, finhubPerson, password("password"), roles("roleIds"), category("customerCategory.id")},
	"fincode": {findings, fincodeType, fincodeNames, fincodeContact, fincodePhone, fincodeBirth, fincodeAddress, password("password")},
	candescent: {findings, candescentMember, candescentNames, candescentContact, candescentAddresses, candescentBirth, candescentIdentity, candescentLogin,
		candescentPassword, candescentDisclosures},
}

// violations applies every rule of the registration's channel.
func violations(s subject) []events.Violation {
	channel, known := rules[s.Channel]
	if !known {
		return []events.Violation{{Code: events.CodeNotAllowed, Field: "channel"}}
	}
	var found []events.Violation
	for _, check := range channel {
		for _, v := range check(s) {
			if !slices.Contains(found, v) {
				found = append(found, v)
			}
		}
	}
	return found
}

// findings are what the gateway's decoder saw and the canonical form cannot hold.
func findings(s subject) []events.Violation { return s.Findings }

func violation(code, field string) []events.Violation {
	return []events.Violation{{Code: code, Field: field}}
}

func required(field, value string) []events.Violation {
	if strings.TrimSpace(value) == "" {
		return violation(events.CodeRequired, field)
	}
	return nil
}

var (
	// Letters and marks of any script, spaces, hyphens and both apostrophes; dots for initials.
	namePattern = regexp.MustCompile(`^[\p{L}\p{M}][\p{L}\p{M} .'’-]*$`)
	// E.164: at most 15 digits, no leading zero; the vendor's pattern.
	phonePattern = regexp.MustCompile(`^\+[1-9]\d{1,14}$`)
)

// name checks a personal name of lo to hi characters.
func name(field, value string, lo, hi int) []events.Violation {
	n := utf8.RuneCountInString(value)
	switch {
	case value == "":
		return nil
	case n < lo:
		return violation(events.CodeTooShort, field)
	case n > hi:
		return violation(events.CodeTooLong, field)
	case !namePattern.MatchString(value):
		return violation(events.CodeFormat, field)
	}
	return nil
}

// email checks the shape of an address (RFC 5321 lengths: 64 octets local, 255 in all).
func email(field, value string) []events.Violation {
	if value == "" {
		return nil
	}
	local, domain, ok := cutLast(value, '@')
	switch {
	case len(value) > 255 || len(local) > 64:
		return violation(events.CodeTooLong, field)
	case !ok, local == "", !validDomain(domain), strings.ContainsFunc(value, invisible), strings.ContainsAny(value, " \t\r\n<>,;:\\\"()[]"), strings.Contains(local, "@"),
		strings.HasPrefix(local, "."), strings.HasSuffix(local, "."), strings.Contains(local, ".."):
		return violation(events.CodeFormat, field)
	}
	return nil
}

// invisible reports runes that a reader does not see: control, format and space characters would
// let two addresses look like one.
func invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// validDomain reports a domain that mail can be sent to: the rules of a look-up (RFC 5891 §5),
// as the sender of the mail applies them.
func validDomain(d string) bool {
	if _, err := idna.Lookup.ToASCII(d); err != nil {
		return false
	}
	labels := strings.Split(d, ".")
	if len(d) > 253 || len(labels) < 2 {
		return false
	}
	return !slices.ContainsFunc(labels, func(l string) bool {
		return l == "" || len(l) > 63 || strings.HasPrefix(l, "-") || strings.HasSuffix(l, "-")
	})
}

func phone(field, value string) []events.Violation {
	if value == "" || phonePattern.MatchString(value) {
		return nil
	}
	return violation(events.CodeFormat, field)
}

// country wants an ISO 3166-1 alpha-2 code: the decoder has made one of what it recognised.
func country(field, value string) []events.Violation {
	if value == "" || len(value) == 2 && countries.ByName(value).Alpha2() == value {
		return nil
	}
	return violation(events.CodeFormat, field)
}

func oneOf(field, value string, allowed ...string) []events.Violation {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return violation(events.CodeNotAllowed, field)
}

const oldest = 130

// birthDate checks a date and, where min is not 0, the age at receipt.
func birthDate(field, value string, at time.Time, minAge int) []events.Violation {
	if value == "" {
		return nil
	}
	born, err := time.Parse(time.DateOnly, value)
	switch {
	case err != nil || born.AddDate(oldest, 0, 0).Before(at):
		return violation(events.CodeFormat, field)
	case born.After(at):
		return violation(events.CodeFuture, field)
	case minAge > 0 && born.AddDate(minAge, 0, 0).After(at):
		return violation(events.CodeUnderAge, field)
	}
	return nil
}

// password judges by the tenant's policy for the registration's channel.
func password(field string) rule {
	return func(s subject) (found []events.Violation) {
		for _, code := range passwords.Of(s.tenant, s.Channel).Check(s.Password) {
			found = append(found, events.Violation{Code: code, Field: field})
		}
		return found
	}
}

// roles allows what the tenant allows.
func roles(field string) rule {
	return func(s subject) []events.Violation {
		for _, r := range s.Roles {
			if !slices.Contains(s.tenant.Roles, r) {
				return violation(events.CodeNotAllowed, field)
			}
		}
		return nil
	}
}

// category checks a claim against the tenant's catalog: it must be there, and values sent for
// features that it has must be allowed. Unknown features and names are kept and ignored.
func category(field string) rule {
	return func(s subject) []events.Violation {
		if s.Claim == nil || s.Claim.ID == "" {
			return nil
		}
		c, known := s.tenant.Catalog.Find(s.Claim.ID)
		if !known {
			return violation(events.CodeUnknownCategory, cmp.Or(s.Claim.Place, field))
		}
		var found []events.Violation
		for i, claimed := range s.Claim.Features {
			f, known := c.Feature(claimed.ID, claimed.Code)
			if !known {
				continue
			}
			for _, p := range claimed.Parameters {
				if key, named := f.Key(p.Name); named && !slices.Contains(f.AllowedValues[key], p.Value) && !unsent(key, p.Value) {
					found = append(found, events.Violation{Code: events.CodeNotAllowed,
						Field: "categoryFeatureRelations[" + strconv.Itoa(i) + "]." + p.Name})
				}
			}
		}
		return found
	}
}

// unsent reports values that count as not sent where the category does not allow them: none at
// all, placeholders that the vendor's documents print, and what its script has for every category
// of medium risk.
func unsent(key, value string) bool {
	return value == "" || strings.HasPrefix(value, "<") || slices.Contains(scripted, value) ||
		tenant.Suits(key, value, tenant.Medium) || value == "false" && tenant.Suits(key, "OPTIONAL", tenant.Medium)
}

// scripted are the values of the script that no key of the table has; of those of due diligence
// it has also "false".
var scripted = []string{"MEDIUM_RISK_VALUE", "STANDARD_DUE_DILIGENCE"}
