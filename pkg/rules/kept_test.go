package rules

import (
	"encoding/json"
	"testing"
)

func TestKeptFactsGiveTheSameAfterTheyWereStored(t *testing.T) {
	age := 17
	f := Facts{
		Channel: "native", Category: "low", Age: &age, Nationality: "IR", Residence: "Atlantis", Countries: []string{"IR", "Atlantis"}, EmailDomain: "example.com",
		Screened: true, ScreeningScore: 912, ScreeningHits: 2, ScreeningLists: []string{"un"},
	}
	stored, err := json.Marshal(f.Values().Kept("phone"))
	if err != nil {
		t.Fatal(err)
	}
	var k Kept
	if err := json.Unmarshal(stored, &k); err != nil {
		t.Fatal(err)
	}
	for text, told := range map[string]bool{
		"channel == 'native' && category == 'low'": true, "nationality == 'IR'": true, "residence == '?'": true, "'IR' in countries && size(countries) == 2": true,
		"screened && screeningScore == 912 && screeningHits == 2 && 'un' in screeningLists": true,
		"applicantType == ''": true, "phoneCountry == ''": true,
		"age.orValue(0) == 17": false, "emailDomain == 'example.com'": false, "phone == ''": false,
	} {
		c, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if k.Tells(c.Facts()) != told {
			t.Errorf("%s: told is %v", text, !told)
		}
		if !told {
			continue
		}
		if holds, err := c.Holds(k.Values()); !holds || err != nil {
			t.Errorf("%s: %v, %v", text, holds, err)
		}
	}
}

func TestNoListIsKeptAsAnEmptyOne(t *testing.T) {
	stored, err := json.Marshal(Facts{}.Values().Kept())
	if err != nil {
		t.Fatal(err)
	}
	var k Kept
	if err := json.Unmarshal(stored, &k); err != nil {
		t.Fatal(err)
	}
	c, err := Compile("size(countries) == 0 && size(screeningLists) == 0 && !screened && screeningScore == 0")
	if err != nil {
		t.Fatal(err)
	}
	if holds, err := c.Holds(k.Values()); !holds || err != nil {
		t.Errorf("%v, %v", holds, err)
	}
}
