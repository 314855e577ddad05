package tenant

import "testing"

func TestAValueIsSelectedForTheAssessedRisk(t *testing.T) {
	for name, c := range map[string]struct {
		key     string
		allowed []string
		level   Level
		score   int
		want    string
	}{
		"the level itself":                            {"RISK_LEVEL", []string{"LOW", "MEDIUM", "HIGH"}, High, 80, "HIGH"},
		"STANDARD for a medium level":                 {"riskLevel", []string{"LOW", "STANDARD", "HIGH"}, Medium, 50, "STANDARD"},
		"the middle level where none fits":            {"RISK_LEVEL", []string{"A", "B", "C"}, Medium, 50, "B"},
		"MEDIUM before STANDARD, however they stand":  {"RISK_LEVEL", []string{"STANDARD", "MEDIUM"}, Medium, 50, "MEDIUM"},
		"the score nearest to the assessed one":       {"RISK_SCORE", []string{"50", "55", "60"}, Medium, 61, "60"},
		"a score of the level, not the nearest":       {"riskScore", []string{"39", "70"}, Medium, 41, "70"},
		"a low score":                                 {"RISK_SCORE", []string{"25", "55", "85"}, Low, 0, "25"},
		"no politically exposed person":               {"pep", []string{"true", "false"}, Low, 0, "false"},
		"the same in words":                           {"PEP_STATUS", []string{"YES", "NO", "NOT_APPLICABLE"}, Medium, 50, "NO"},
		"a usual check of sanctions":                  {"sanctionsCheck", []string{"DAILY", "PERIODIC"}, Medium, 50, "PERIODIC"},
		"a close check of sanctions":                  {"SANCTIONS_CHECK", []string{"STANDARD", "DAILY", "ENHANCED"}, High, 80, "ENHANCED"},
		"monthly monitoring":                          {"MONITORING_FREQUENCY", []string{"DAILY", "WEEKLY", "MONTHLY"}, Low, 0, "MONTHLY"},
		"weekly monitoring":                           {"MONITORING_FREQUENCY", []string{"DAILY", "WEEKLY", "MONTHLY"}, Medium, 50, "WEEKLY"},
		"daily monitoring":                            {"MONITORING_FREQUENCY", []string{"DAILY", "WEEKLY", "MONTHLY"}, High, 80, "DAILY"},
		"the highest limit":                           {"MONTHLY_LIMIT", []string{"5000", "50000", "20000"}, Low, 0, "50000"},
		"a limit in the middle":                       {"monthlyLimit", []string{"5000", "15000", "20000", "25000"}, Medium, 50, "20000"},
		"the lowest limit":                            {"DAILY_LIMIT", []string{"3000", "1000", "10000"}, High, 80, "1000"},
		"about two thousand":                          {"PER_TRANSACTION_LIMIT", []string{"500", "1900", "5000"}, Medium, 50, "1900"},
		"the middle where no limit fits":              {"PER_TRANSACTION_LIMIT", []string{"500", "5000", "9000"}, Medium, 50, "5000"},
		"no due diligence":                            {"EDD", []string{"REQUIRED", "OPTIONAL", "NOT_REQUIRED"}, Low, 0, "NOT_REQUIRED"},
		"due diligence if one likes":                  {"ENHANCED_DUE_DILIGENCE", []string{"REQUIRED", "OPTIONAL", "NOT_REQUIRED"}, Medium, 50, "OPTIONAL"},
		"due diligence":                               {"customerDueDiligence", []string{"BASIC", "ENHANCED"}, High, 80, "ENHANCED"},
		"a basic verification":                        {"IDENTITY_VERIFICATION", []string{"REQUIRED", "BASIC"}, Low, 0, "BASIC"},
		"a key that the table does not have":          {"COLOUR", []string{"red", "green", "blue"}, Low, 0, "green"},
		"the later one of two in the middle":          {"COLOUR", []string{"red", "green"}, Low, 0, "green"},
		"nothing where nothing is allowed":            {"COLOUR", nil, Low, 0, ""},
		"the middle for a level that is none":         {"RISK_LEVEL", []string{"LOW", "MEDIUM", "HIGH"}, "", 0, "MEDIUM"},
		"the first of two scores that are as near":    {"RISK_SCORE", []string{"50", "60"}, Medium, 55, "50"},
		"a value that is no number among the numbers": {"MONTHLY_LIMIT", []string{"none", "20000"}, Low, 0, "20000"},
	} {
		t.Run(name, func(t *testing.T) {
			f := Feature{AllowedValues: map[string][]string{c.key: c.allowed}}
			if got := f.Select(c.key, c.level, c.score, false); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAPoliticallyExposedPersonIsToldAsAssessedAtHighRisk(t *testing.T) {
	words, numbers := []string{"NO", "NOT_APPLICABLE", "YES"}, []string{"false", "true"}
	for name, c := range map[string]struct {
		allowed []string
		level   Level
		pep     bool
		want    string
	}{
		"one of high risk":           {numbers, High, true, "true"},
		"one of high risk, in words": {words, High, true, "YES"},
		"somebody else of high risk": {words, High, false, "NO"},
		"one of medium risk":         {numbers, Medium, true, "false"},
		"one of low risk":            {numbers, Low, true, "false"},
		"one where it has no word":   {[]string{"NO", "MAYBE"}, High, true, "MAYBE"},
	} {
		f := Feature{AllowedValues: map[string][]string{"PEP_STATUS": c.allowed}}
		if got := f.Select("PEP_STATUS", c.level, 80, c.pep); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAKeyIsFoundInEitherSpelling(t *testing.T) {
	f := Feature{MandatoryKeys: []string{"riskLevel", "PEP_STATUS"}, AllowedValues: map[string][]string{"riskLevel": {"LOW"}, "PEP_STATUS": {"false"}, "EDD": {"REQUIRED"}}}
	for sent, want := range map[string]string{"riskLevel": "riskLevel", "RISK_LEVEL": "riskLevel", "pep": "PEP_STATUS", "pepStatus": "PEP_STATUS", "ENHANCED_DUE_DILIGENCE": "EDD", "colour": "", "": ""} {
		if key, found := f.Key(sent); key != want || found != (want != "") {
			t.Errorf("%s: %q, %v", sent, key, found)
		}
	}
}

func TestWhatSuitsALevel(t *testing.T) {
	for _, c := range []struct {
		key, value string
		level      Level
		want       bool
	}{
		{"RISK_SCORE", "55", Medium, true}, {"RISK_SCORE", "70", Medium, false}, {"RISK_SCORE", "x", Medium, false},
		{"monthlyLimit", "20000", Medium, true}, {"monthlyLimit", "1", Medium, false}, {"MONITORING_FREQUENCY", "WEEKLY", Medium, true},
		{"COLOUR", "MEDIUM", Medium, false}, {"RISK_LEVEL", "NaN", Medium, false}, {"MONTHLY_LIMIT", "NaN", Low, false},
	} {
		if got := Suits(c.key, c.value, c.level); got != c.want {
			t.Errorf("%s %s at %s: %v", c.key, c.value, c.level, got)
		}
	}
}
