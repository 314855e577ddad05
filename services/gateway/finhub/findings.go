package finhub

import (
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/services/gateway/identity"
)

const (
	personPath = "individualCustomer.person."
	userPath   = "individualCustomer.user."
)

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }

// place is a value with the name of its field.
type place struct{ field, value string }

func blanks(path string, places ...place) (found []events.Violation) {
	for _, p := range places {
		if isBlank(p.value) {
			found = append(found, events.Violation{Code: events.CodeRequired, Field: path + p.field})
		}
	}
	return found
}

// missing returns what the top level lacks.
func (q *request) missing() []events.Violation {
	found := blanks("", place{"firstName", q.FirstName}, place{"lastName", q.LastName}, place{"email", q.Email},
		place{"phone", q.Phone}, place{"password", q.Password}, place{"matchingPassword", q.MatchingPassword},
		place{"roleIds", strings.Join(q.RoleIDs, "")})
	return append(found, q.categoryWithoutID()...)
}

// categoryWithoutID finds a category that is named where none has an id.
func (q *request) categoryWithoutID() []events.Violation {
	var nested *category
	if q.IndividualCustomer != nil {
		nested = q.IndividualCustomer.Categorization
	}
	named := ""
	for _, c := range []struct {
		category *category
		field    string
	}{{q.CustomerCategory, "customerCategory.id"}, {nested, "individualCustomer.categorization.id"}} {
		switch {
		case c.category == nil:
		case !isBlank(c.category.ID):
			return nil
		case !isBlank(c.category.Name):
			named = c.field
		}
	}
	if named == "" {
		return nil
	}
	return []events.Violation{{Code: events.CodeRequired, Field: named}}
}

func (p *person) missing() []events.Violation {
	return blanks(personPath, place{"firstName", p.FirstName}, place{"lastName", p.LastName}, place{"email", p.Email})
}

// disagreements compares the values that a request holds twice; absent ones agree.
func (q *request) disagreements() (found []events.Violation) {
	p, u := q.IndividualCustomer.Person, q.IndividualCustomer.User
	exactly := func(s string) string { return s }
	for _, v := range []struct {
		field, top, path, nested string
		normal                   func(string) string
	}{
		{"firstName", q.FirstName, personPath, p.FirstName, identity.Text},
		{"lastName", q.LastName, personPath, p.LastName, identity.Text},
		{"email", q.Email, personPath, p.Email, identity.CanonicalEmail},
		{"email", q.Email, userPath, u.Email, identity.CanonicalEmail},
		{"password", q.Password, userPath, u.Password, exactly},
		{"dateOfBirth", q.DateOfBirth, personPath, p.DateOfBirth, identity.Text},
		{"gender", q.Gender, personPath, p.Gender, upper},
		{"nationality", q.Nationality, personPath, p.Nationality, identity.Country},
		{"placeOfBirth", q.PlaceOfBirth, personPath, p.PlaceOfBirth, identity.Text},
		{"pincode", q.Pincode, personPath, p.Pincode, identity.Text},
	} {
		if !isBlank(v.top) && !isBlank(v.nested) && v.normal(v.top) != v.normal(v.nested) {
			found = append(found, events.Violation{Code: events.CodeDisagrees, Field: v.field + "|" + v.path + v.field})
		}
	}
	return found
}

func upper(s string) string { return strings.ToUpper(identity.Text(s)) }
