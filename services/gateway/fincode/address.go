package fincode

import (
	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/identity"
)

func (a *address) canonical() events.Address {
	c := events.Address{
		City:       identity.Text(a.City),
		Region:     identity.Text(a.State),
		PostalCode: identity.Text(first(a.Postcode, a.PostalCode)),
		Country:    identity.Country(first(a.CountryISO3, a.Country, a.CountryCommonName)),
		Primary:    true,
	}
	for _, line := range []string{first(a.Address1, a.Street), a.Address2} {
		if line = identity.Text(line); line != "" {
			c.Lines = append(c.Lines, line)
		}
	}
	return c
}

// first returns the first value that is not blank.
func first(values ...string) string {
	for _, v := range values {
		if !isBlank(v) {
			return v
		}
	}
	return ""
}

// findings are a missing street or country, under the name of the shape that is sent, and
// countries that differ.
func (a *address) findings() (found []events.Violation) {
	street, country := "address.address1", "address.countryIso3"
	if a.isSecondShape() {
		street, country = "address.street", "address.country"
	}
	if first(a.Address1, a.Street) == "" {
		found = append(found, events.Violation{Code: events.CodeRequired, Field: street})
	}
	if first(a.CountryISO3, a.Country, a.CountryCommonName) == "" {
		found = append(found, events.Violation{Code: events.CodeRequired, Field: country})
	}
	for _, pair := range []struct{ one, other, fields string }{
		{a.CountryCommonName, a.CountryISO3, "address.countryCommonName|address.countryIso3"},
		{a.CountryISO3, a.Country, "address.countryIso3|address.country"},
	} {
		if differ(pair.one, pair.other) {
			found = append(found, events.Violation{Code: events.CodeDisagrees, Field: pair.fields})
		}
	}
	return found
}

func (a *address) isSecondShape() bool {
	return first(a.Address1, a.Postcode, a.CountryISO3, a.CountryCommonName) == "" &&
		first(a.Street, a.City, a.State, a.PostalCode, a.Country) != ""
}

// differ reports two values that name two countries. A name that is not recognised is no
// contradiction to a code beside it.
func differ(one, other string) bool {
	a, b := identity.Country(one), identity.Country(other)
	return isCode(a) && isCode(b) && a != b
}

// isCode reports what identity.Country returns for a country it knows.
func isCode(s string) bool { return len(s) == 2 }
