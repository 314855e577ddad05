package rules

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func years(n int) *int { return &n }

var young = Facts{
	Channel: "native", Age: years(20), Nationality: "LT", Residence: "DE", Countries: []string{"DE", "LT"},
	EmailDomain: "mailinator.com", Phone: "valid", PhoneCountry: "LT", PhoneType: "MOBILE",
	Screened: true, ScreeningScore: 910, ScreeningHits: 2, ScreeningLists: []string{"ofac"},
}

func TestAConditionHoldsOrNot(t *testing.T) {
	for expression, want := range map[string]struct{ young, silent bool }{
		"nationality in ['KP', 'LT']":                     {true, false},
		"nationality == ''":                               {false, true},
		"age.orValue(21) < 21":                            {true, false},
		"!age.hasValue()":                                 {false, true},
		"'LT' in countries && residence != 'LT'":          {true, false},
		"countries.exists(c, c in ['IR', 'DE'])":          {true, false},
		"emailDomain.endsWith('inator.com')":              {true, false},
		"emailDomain.matches('^mail.*[.]com$')":           {true, false},
		"phone == 'valid' && phoneCountry != nationality": {false, false},
		"screened && screeningScore >= 900":               {true, false},
		"screeningHits > 1 && 'ofac' in screeningLists":   {true, false},
		"channel == 'native' || 1/0 == 1":                 {true, false},
	} {
		c, err := Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got, err := c.Holds(young.Values()); got != want.young || err != nil {
			t.Errorf("%s is %v of the young one, %v", expression, got, err)
		}
		if got, _ := c.Holds(Facts{}.Values()); got != want.silent {
			t.Errorf("%s is %v of one who tells nothing", expression, got)
		}
	}
}

func TestAConditionThatCannotWorkIsRefusedWithItsReason(t *testing.T) {
	for sentence, row := range map[string]struct{ expression, want string }{
		"nothing":                     {"  ", "is not an expression"},
		"no expression":               {"nationality in", "does not check at its line 1"},
		"an unknown fact":             {"true &&\n shoeSize > 40", "at its line 2, character 2: undeclared reference to 'shoeSize'; the facts are channel"},
		"an age that may be unknown":  {"age < 21", "no matching overload for '_<_'"},
		"text beside a number":        {"nationality == 7", "no matching overload for '_==_'"},
		"an unknown function":         {"emailDomain.toUpper() == 'A'", "undeclared reference to 'toUpper'"},
		"neither true nor false":      {"nationality", "is string, neither true nor false"},
		"a whole page":                {"nationality == '" + strings.Repeat("a", longestExpression) + "'", "is not an expression of 1 to"},
		"lists within lists":          {"countries.all(a, countries.all(b, countries.all(c, a == b || b == c)))", "may cost"},
		"a list that grows":           {"countries.map(a, countries.map(b, a + b)).size() > 9000", "may cost"},
		"parentheses without an end":  {strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000), "does not check"},
		"a pattern that is no regexp": {"emailDomain.matches('[')", "cannot be run"},
	} {
		if _, err := Compile(row.expression); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", sentence, err, row.want)
		}
	}
}

func TestWhatGoesWrongInAnExpressionIsAnError(t *testing.T) {
	for _, expression := range []string{"1 / screeningHits == 1", "dyn(nationality) > 3", "countries[3] == 'DE'"} {
		c, err := Compile(expression)
		if err != nil {
			t.Fatal(err)
		}
		if holds, err := c.Holds(Facts{Nationality: "LT"}.Values()); err == nil || holds || strings.Contains(err.Error(), "LT") {
			t.Errorf("%s: %v, %v", expression, holds, err)
		}
	}
	if _, err := (Condition{}).Holds(nil); err == nil {
		t.Error("no condition holds")
	}
}

func TestShownAreTheNamedFactsThatTellNobody(t *testing.T) {
	c, err := Compile("age.hasValue() && emailDomain != '' && nationality == 'LT' && screeningHits > 0 && countries.size() > 0 && category == ''")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"age", "category", "countries", "emailDomain", "nationality", "screeningHits"}; !slices.Equal(c.Facts(), want) {
		t.Errorf("the facts are %v", c.Facts())
	}
	if got, want := young.Values().Shown(c.Facts()), map[string]string{"nationality": "LT", "countries": "DE,LT", "screeningHits": "2"}; !maps.Equal(got, want) {
		t.Errorf("shown are %v", got)
	}
}

func TestWhatIsNoCountryCodeIsNotShown(t *testing.T) {
	v := Facts{Nationality: "Marcus Jensen", Countries: []string{"DK", "Jensen street 5"}}.Values()
	if got, want := v.Shown(Names())["nationality"]+" "+v.Shown(Names())["countries"], "? DK,?"; got != want {
		t.Errorf("shown is %q", got)
	}
}

func TestFactsAreCutToWhatAConditionCountsOn(t *testing.T) {
	v := Facts{EmailDomain: strings.Repeat("a", 9999), Countries: slices.Repeat([]string{strings.Repeat("b", 9999)}, 9999)}.Values()
	if len(v["emailDomain"].(string)) != longestText || len(v["countries"].([]string)) != longestList || len(v["countries"].([]string)[0]) != longestText {
		t.Error("they are longer")
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("age.orValue(21) < 21")
	f.Add("countries.exists(c, c in ['IR'])")
	f.Add("1/0 == 1 ? [][1] : has({}.a)")
	f.Fuzz(func(_ *testing.T, text string) {
		if c, err := Compile(text); err == nil {
			_, _ = c.Holds(young.Values())
		}
	})
}
