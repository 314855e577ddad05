package submit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// place is where a cell goes: the names and, of lists, the numbers that lead there.
type place []string

// places are the paths that the native API takes. N is a number from 0 to 9, * any name.
var places = []string{
	"idempotencyKey", "categoryId", "memberNumber", "roles", "attributes.*", "consents.N.id", "consents.N.version",
	"credentials.username", "credentials.password",
	"applicant.type", "applicant.givenName", "applicant.familyName", "applicant.email", "applicant.phone", "applicant.birthDate",
	"applicant.gender", "applicant.nationality", "applicant.placeOfBirth", "applicant.mothersMaidenName",
	"applicant.nationalId.type", "applicant.nationalId.value",
	"applicant.addresses.N.type", "applicant.addresses.N.lines.N", "applicant.addresses.N.city", "applicant.addresses.N.region",
	"applicant.addresses.N.postalCode", "applicant.addresses.N.country", "applicant.addresses.N.primary",
}

// others are usual names of columns whose place has another name, in small letters and digits alone.
var others = map[string]string{
	"firstname": "applicant.givenName", "lastname": "applicant.familyName", "surname": "applicant.familyName", "mail": "applicant.email",
	"emailaddress": "applicant.email", "mobile": "applicant.phone", "dateofbirth": "applicant.birthDate", "birthday": "applicant.birthDate",
	"street": "applicant.addresses.0.lines.0", "city": "applicant.addresses.0.city", "region": "applicant.addresses.0.region", "state": "applicant.addresses.0.region",
	"postalcode": "applicant.addresses.0.postalCode", "zip": "applicant.addresses.0.postalCode", "country": "applicant.addresses.0.country",
	"nationalid": "applicant.nationalId.value", "category": "categoryId", "key": "idempotencyKey",
}

// known are the places by the short names of columns.
var known = func() map[string]string {
	by := maps.Clone(others)
	for _, path := range places {
		if strings.Contains(path, ".N") || strings.HasSuffix(path, "*") || path == "applicant.type" || strings.HasPrefix(path, "applicant.nationalId.") {
			continue // its last name alone is not clear
		}
		by[plain(path[strings.LastIndexByte(path, '.')+1:])] = path
	}
	return by
}()

// plain is a name without what people write differently.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// placesOf finds the place of each column: that of the mapping, else of its own name.
func placesOf(header []string, mapping map[string]string) (all []place, err error) {
	taken := map[string]string{}
	for _, column := range header {
		column = strings.TrimSpace(column)
		path, mapped := mapping[column]
		switch {
		case mapped && path == "":
			all = append(all, nil)
			continue
		case !mapped && valid(column):
			path = column
		case !mapped:
			path = known[plain(column)]
		}
		switch other, twice := taken[path]; {
		case path == "":
			return nil, fmt.Errorf("column %q has no place; say which by --map '%s=applicant.…', or leave it out by --map '%s='", column, column, column)
		case !valid(path):
			return nil, fmt.Errorf("column %q: the API has no %s; give one of %s", column, path, strings.Join(places, ", "))
		case twice:
			return nil, fmt.Errorf("columns %q and %q have the same place %s; leave one out by --map '%s='", other, column, path, column)
		}
		taken[path] = column
		all = append(all, strings.Split(path, "."))
	}
	for column := range mapping {
		if !slices.ContainsFunc(header, func(h string) bool { return strings.TrimSpace(h) == column }) {
			return nil, fmt.Errorf("--map names column %q, which the file does not have", column)
		}
	}
	return all, nil
}

func valid(path string) bool {
	return slices.ContainsFunc(places, func(pattern string) bool { return matches(strings.Split(pattern, "."), strings.Split(path, ".")) })
}

func matches(pattern, path []string) bool {
	return slices.EqualFunc(pattern, path, func(want, is string) bool {
		switch want {
		case "N":
			return len(is) == 1 && is[0] >= '0' && is[0] <= '9'
		case "*":
			return is != ""
		}
		return want == is
	})
}

// put sets a cell in the object. Roles are separated by semicolons, and primary is true or false.
func (p place) put(root map[string]any, cell string) error {
	var value any = cell
	switch p[len(p)-1] {
	case "roles":
		value = strings.FieldsFunc(cell, func(r rune) bool { return r == ';' || r == ' ' })
	case "primary":
		yes, err := strconv.ParseBool(strings.ToLower(cell))
		if err != nil {
			return errors.New(strings.Join(p, ".") + " is neither true nor false")
		}
		value = yes
	}
	return set(root, p, value)
}

// dense takes what was left out from the lists of an object.
func dense(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			v[name] = dense(member)
		}
	case []any:
		v = slices.DeleteFunc(v, func(e any) bool { return e == nil })
		for i, e := range v {
			v[i] = dense(e)
		}
		return v
	}
	return v
}

// set puts a value into an object, and makes the objects and lists that lead there.
func set(object map[string]any, path []string, value any) error {
	if len(path) == 1 {
		object[path[0]] = value
		return nil
	}
	if number, err := strconv.Atoi(path[1]); err == nil {
		list, _ := object[path[0]].([]any)
		for len(list) <= number {
			list = append(list, nil)
		}
		object[path[0]] = list
		if len(path) == 2 {
			list[number] = value
			return nil
		}
		inner, _ := list[number].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
			list[number] = inner
		}
		return set(inner, path[2:], value)
	}
	inner, _ := object[path[0]].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		object[path[0]] = inner
	}
	return set(inner, path[1:], value)
}
