package risk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/services/risk/screening"
)

// mostDuplicates is how many registrations a decision names that may be of the same person.
const mostDuplicates = 10

// same asks whether another registration has the same person's marks.
func (g sighting) same() (all []question) {
	for _, field := range []string{byPhone, byHome} {
		if mark := g.Marks[field]; mark != "" {
			all = append(all, question{Tally: store.Tally{Field: field, Value: mark, Most: 2}})
		}
	}
	return all
}

// duplicates are the ids of the earliest other registrations that share a mark of the fields. Where
// the first field has enough of them the next is not looked at.
func (s *service) duplicates(ctx context.Context, own string, g sighting, fields []string) ([]string, error) {
	var found []store.Stored[sighting]
	for _, field := range fields {
		if len(found) > mostDuplicates {
			break
		}
		page, _, err := s.sightings.Find(ctx, store.Query{Where: store.Fields{field: g.Marks[field]}, Order: sightingAt, Limit: mostDuplicates + 1})
		if err != nil {
			return nil, fmt.Errorf("find registrations of the same person: %w", err)
		}
		found = append(found, page...)
	}
	slices.SortFunc(found, func(a, b store.Stored[sighting]) int {
		return cmp.Or(cmp.Compare(a.Value.At, b.Value.At), cmp.Compare(a.ID, b.ID))
	})
	var ids []string
	for _, other := range found {
		if other.ID != own && !slices.Contains(ids, other.ID) {
			ids = append(ids, other.ID)
		}
	}
	return ids[:min(len(ids), mostDuplicates)], nil
}

// identityOf is one spelling of a person's name and birth date, or of a company's name, whatever
// script, case and order they were written in; "" where that is not known. Middle names are left
// out: many tell them once and not the next time.
func identityOf(a events.Applicant) string {
	if a.CompanyName != "" {
		return joined("company", nameOf(a.CompanyName))
	}
	return joined("person", joined(nameOf(a.GivenName+" "+a.FamilyName), a.BirthDate))
}

func nameOf(name string) string {
	tokens := screening.Tokens(name)
	slices.Sort(tokens)
	return strings.Join(tokens, " ")
}

// homeOf is one spelling of the primary address, else of the first: country, postal code, or city
// where there is none, and lines.
func homeOf(addresses []events.Address) string {
	if len(addresses) == 0 {
		return ""
	}
	home := addresses[max(slices.IndexFunc(addresses, func(a events.Address) bool { return a.Primary }), 0)]
	place := strings.Join(screening.Tokens(home.PostalCode), "")
	if place == "" {
		place = strings.Join(screening.Tokens(home.City), " ")
	}
	lines := strings.Join(screening.Tokens(strings.Join(home.Lines, " ")), " ")
	if joined(place, lines) == "" {
		return ""
	}
	return home.Country + "|" + place + "|" + lines
}

// joined is both, or "" where one is missing.
func joined(a, b string) string {
	if a == "" || b == "" {
		return ""
	}
	return a + "|" + b
}

func digits(phone string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return r
		}
		return -1
	}, phone)
}
