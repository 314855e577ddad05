package tenant

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Feature finds a feature by either of its names; an empty one matches nothing.
func (c *Category) Feature(databaseID, code string) (Feature, bool) {
	i := slices.IndexFunc(c.Features, func(f Feature) bool { return f.DatabaseID == databaseID || f.Code == code })
	if i < 0 {
		return Feature{}, false
	}
	return c.Features[i], true
}

// Key finds the feature's own spelling of a key: RISK_LEVEL and riskLevel are one, and so are
// pep and PEP_STATUS.
func (f Feature) Key(sent string) (string, bool) {
	if _, exact := f.AllowedValues[sent]; exact {
		return sent, true
	}
	for _, key := range f.keys() {
		if spelling(key) == spelling(sent) {
			return key, true
		}
	}
	return "", false
}

// keys are all keys, the mandatory ones first, in an order that does not change.
func (f Feature) keys() []string {
	keys := slices.Clone(f.MandatoryKeys)
	var others []string
	for key := range f.AllowedValues {
		if !slices.Contains(keys, key) {
			others = append(others, key)
		}
	}
	slices.Sort(others)
	return append(keys, others...)
}

// spelling is one form of all that a word is written as.
func spelling(word string) string {
	word = strings.ToUpper(strings.NewReplacer("_", "", "-", "", " ", "").Replace(word))
	if short, known := abbreviations[word]; known {
		return short
	}
	return word
}

var abbreviations = map[string]string{"PEP": "PEPSTATUS", "SANCTIONS": "SANCTIONSCHECK", "MONITORING": "MONITORINGFREQUENCY", "EDD": "ENHANCEDDUEDILIGENCE"}

// preference is what suits one key at one level of risk: one of some words, the first before
// the others, or a number from one to another, the nearest to a third before the others.
type preference struct {
	words             []string
	from, to, nearest float64
}

func words(w ...string) preference { return preference{words: w, from: 1, to: 0} }

func numbers(from, to, nearest float64) preference {
	return preference{from: from, to: to, nearest: nearest}
}

var highest, lowest = numbers(0, math.Inf(1), 1e15), numbers(0, math.Inf(1), 0)

// selections are the vendor's smart value selection (FinHub, individual registration), by key
// and for LOW, MEDIUM and HIGH. Where a score is asked for, the assessed one is nearest; whether
// somebody is politically exposed is as assessed at HIGH.
var selections = map[string][3]preference{
	"RISKLEVEL":           {words("LOW"), words("MEDIUM", "STANDARD"), words("HIGH")},
	"RISKSCORE":           {numbers(0, 39, 20), numbers(40, 69, 55), numbers(70, 100, 85)},
	"PEPSTATUS":           {words("FALSE", "NO"), words("FALSE", "NO"), words("FALSE", "NO")},
	"SANCTIONSCHECK":      {words("STANDARD"), words("STANDARD", "PERIODIC"), words("ENHANCED", "DAILY")},
	"MONITORINGFREQUENCY": {words("MONTHLY", "STANDARD"), words("WEEKLY", "STANDARD"), words("DAILY")},
	"MONTHLYLIMIT":        {highest, numbers(15000, 25000, 20000), lowest},
	"DAILYLIMIT":          {highest, numbers(3000, 7000, 5000), lowest},
	"PERTRANSACTIONLIMIT": {highest, numbers(1500, 2500, 2000), lowest},
	"DUEDILIGENCE":        checks,
	"VERIFICATION":        checks,
}

var checks = [3]preference{words("NOTREQUIRED", "BASIC"), words("OPTIONAL", "STANDARD"), words("REQUIRED", "ENHANCED")}

// selectionOf finds the row of a key; those of due diligence and of verification have one for
// every key that ends so.
func selectionOf(key string, level Level) (preference, bool) {
	key = spelling(key)
	row, known := selections[key]
	for _, end := range []string{"DUEDILIGENCE", "VERIFICATION"} {
		if !known && strings.HasSuffix(key, end) {
			row, known = selections[end], true
		}
	}
	if !known || level.Rank() < 0 {
		return preference{}, false
	}
	return row[level.Rank()], true
}

// suits tells how well a value does: the lower the better, from 0; not at all where it is false.
func (p preference) suits(value string) (float64, bool) {
	if i := slices.Index(p.words, spelling(value)); i >= 0 {
		return float64(i), true
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(p.from <= n && n <= p.to) { // NaN is in no range
		return 0, false
	}
	return math.Abs(n - p.nearest), true
}

// Suits reports whether the vendor's table has a value for a key at a level.
func Suits(key, value string, level Level) bool {
	p, known := selectionOf(key, level)
	if !known {
		return false
	}
	_, suits := p.suits(value)
	return suits
}

// Select chooses an allowed value of a key for an assessed risk: the one that the vendor's table
// prefers, else the middle one; "" where none is allowed. pep says that the person was found to be
// politically exposed.
func (f Feature) Select(key string, level Level, score int, pep bool) string {
	allowed := f.AllowedValues[key]
	if len(allowed) == 0 {
		return ""
	}
	p, _ := selectionOf(key, level)
	switch {
	case spelling(key) == "RISKSCORE":
		p.nearest = float64(score)
	case spelling(key) == "PEPSTATUS" && level == High && pep:
		p = words("TRUE", "YES")
	}
	best, found := math.Inf(1), ""
	for _, value := range allowed {
		if rank, suits := p.suits(value); suits && rank < best {
			best, found = rank, value
		}
	}
	if found == "" {
		return allowed[len(allowed)/2]
	}
	return found
}
