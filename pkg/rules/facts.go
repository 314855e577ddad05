package rules

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// Facts are what a registration tells a policy. Text that it does not tell is empty.
type Facts struct {
	Channel        string
	ApplicantType  string // INDIVIDUAL or COMPANY
	Category       string // claimed
	Age            *int   // whole years at the receipt; nil where no birth date is known
	Nationality    string
	Residence      string // country of the primary address, else of the first that has one
	Countries      []string
	EmailDomain    string
	Phone          string // valid or invalid in its numbering plan
	PhoneCountry   string
	PhoneType      string // MOBILE, FIXED_LINE, FIXED_LINE_OR_MOBILE, VOIP, … of a valid number
	Screened       bool
	ScreeningScore int // of 1000, of the highest hit; 0 without one
	ScreeningHits  int
	ScreeningLists []string // that have a hit
	// PossibleDuplicates is how many other registrations of the tenant may be of the same person.
	PossibleDuplicates int
	// Velocity is, by the fact's name, how many registrations of the tenant had something in common
	// with this one in the time up to it, itself included; 0 where it is not known.
	Velocity map[string]int
}

// What a fact can be at most, so that the cost of an expression has a bound. Derive cuts.
const (
	longestText = 256
	longestList = 32
)

// fact is one name that an expression may use.
type fact struct {
	name  string
	kind  *cel.Type
	shown shown
	of    func(*Facts) any
}

// shown is how much of a fact's value is kept with decisions.
type shown int

const (
	wholly shown = iota
	// asCode: only country codes. Where none was recognised the value is what the applicant wrote.
	asCode
	never // it could tell who somebody is
)

var facts = []fact{
	{"channel", cel.StringType, wholly, func(f *Facts) any { return f.Channel }},
	{"applicantType", cel.StringType, wholly, func(f *Facts) any { return f.ApplicantType }},
	{"category", cel.StringType, wholly, func(f *Facts) any { return f.Category }},
	{"age", cel.OptionalType(cel.IntType), never, func(f *Facts) any { return optional(f.Age) }},
	{"nationality", cel.StringType, asCode, func(f *Facts) any { return f.Nationality }},
	{"residence", cel.StringType, asCode, func(f *Facts) any { return f.Residence }},
	{"countries", cel.ListType(cel.StringType), asCode, func(f *Facts) any { return f.Countries }},
	{"emailDomain", cel.StringType, never, func(f *Facts) any { return f.EmailDomain }},
	{"phone", cel.StringType, wholly, func(f *Facts) any { return f.Phone }},
	{"phoneCountry", cel.StringType, wholly, func(f *Facts) any { return f.PhoneCountry }},
	{"phoneType", cel.StringType, wholly, func(f *Facts) any { return f.PhoneType }},
	{"screened", cel.BoolType, wholly, func(f *Facts) any { return f.Screened }},
	{"screeningScore", cel.IntType, wholly, func(f *Facts) any { return f.ScreeningScore }},
	{"screeningHits", cel.IntType, wholly, func(f *Facts) any { return f.ScreeningHits }},
	{"screeningLists", cel.ListType(cel.StringType), wholly, func(f *Facts) any { return f.ScreeningLists }},
	{"possibleDuplicates", cel.IntType, wholly, func(f *Facts) any { return f.PossibleDuplicates }},
	velocity("deviceLastMinute"), velocity("deviceLastHour"), velocity("deviceLastDay"),
	velocity("addressLastMinute"), velocity("addressLastHour"), velocity("addressLastDay"),
	velocity("emailDomainLastMinute"), velocity("emailDomainLastHour"), velocity("emailDomainLastDay"),
	velocity("tenantLastMinute"), velocity("tenantLastHour"), velocity("tenantLastDay"),
}

func velocity(name string) fact {
	return fact{name, cel.IntType, wholly, func(f *Facts) any { return f.Velocity[name] }}
}

var code = regexp.MustCompile("^[A-Z]{2}$")

func optional(n *int) any {
	if n == nil {
		return types.OptionalNone
	}
	return types.OptionalOf(types.Int(*n))
}

// Names lists every fact.
func Names() []string {
	names := make([]string, len(facts))
	for i, f := range facts {
		names[i] = f.name
	}
	return names
}

// Values are the facts of one registration, ready for any number of conditions.
type Values map[string]any

// Values prepares facts. What is longer than a condition may count on is cut.
func (f Facts) Values() Values {
	v := make(Values, len(facts))
	for _, known := range facts {
		switch value := known.of(&f).(type) {
		case string:
			v[known.name] = value[:min(len(value), longestText)]
		case []string:
			list := slices.Clone(value[:min(len(value), longestList)])
			for i, text := range list {
				list[i] = text[:min(len(text), longestText)]
			}
			v[known.name] = list
		case int:
			v[known.name] = int64(value)
		default:
			v[known.name] = value
		}
	}
	return v
}

// Shown are the values of facts as text, by name, without those that could tell who somebody is or
// that are not told.
func (v Values) Shown(names []string) map[string]string {
	shown := map[string]string{}
	for _, known := range facts {
		if known.shown == never || !slices.Contains(names, known.name) {
			continue
		}
		if text := known.text(v[known.name]); text != "" {
			shown[known.name] = text
		}
	}
	return shown
}

// unrecognised stands for text that is no country code.
const unrecognised = "?"

func (f fact) text(value any) string {
	switch value := value.(type) {
	case string:
		if f.shown == asCode && value != "" && !code.MatchString(value) {
			return unrecognised
		}
		return value
	case []string:
		texts := make([]string, len(value))
		for i, one := range value {
			texts[i] = f.text(one)
		}
		return strings.Join(texts, ",")
	case int64:
		return strconv.FormatInt(value, 10)
	case bool:
		return strconv.FormatBool(value)
	}
	return ""
}
