package usher

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// selector is what an expression of PromQL asks for: a metric, and the values its labels are compared with.
type selector struct {
	metric string
	labels map[string]matcher
}

type matcher struct{ operator, value string }

var (
	promToken   = regexp.MustCompile(`^(?:\s+|"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|[0-9][0-9a-zA-Z.]*|[a-zA-Z_:][a-zA-Z0-9_:]*|=~|!~|!=|.)`)
	promMatcher = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	promName    = regexp.MustCompile(`^[a-zA-Z_:]`)
)

// selectors finds the metrics that an expression names, and the labels that it groups by or matches
// on. It reads as much of the language as our dashboards and rules use; promtool checks the rest.
func selectors(expression string) (named []selector, grouped []string) {
	var tokens []string
	for rest := expression; rest != ""; {
		t := promToken.FindString(rest)
		rest = rest[len(t):]
		if strings.TrimSpace(t) != "" {
			tokens = append(tokens, t)
		}
	}
	at := func(i int) string {
		if i < len(tokens) {
			return tokens[i]
		}
		return ""
	}
	until := func(i int, end string) (inside string, next int) {
		for i++; i < len(tokens) && tokens[i] != end; i++ {
			inside += tokens[i] + " "
		}
		return inside, i
	}
	for i := 0; i < len(tokens); i++ {
		switch t := tokens[i]; {
		case slices.Contains([]string{"by", "without", "on", "ignoring", "group_left", "group_right"}, t):
			if at(i+1) != "(" {
				continue
			}
			var inside string
			inside, i = until(i+1, ")")
			grouped = append(grouped, strings.FieldsFunc(inside, func(r rune) bool { return r == ' ' || r == ',' })...)
		case !promName.MatchString(t), at(i+1) == "(", slices.Contains([]string{"and", "or", "unless", "bool", "offset"}, t):
		case at(i+1) == "by" || at(i+1) == "without": // sum by (…) (…)
		default:
			s := selector{metric: t, labels: map[string]matcher{}}
			if at(i+1) == "{" {
				var inside string
				inside, i = until(i+1, "}")
				for _, m := range promMatcher.FindAllStringSubmatch(inside, -1) {
					s.labels[m[1]] = matcher{m[2], m[3]}
				}
			}
			named = append(named, s)
		}
	}
	return named, grouped
}

func TestSelectorsOfAnExpression(t *testing.T) {
	for expression, want := range map[string]string{
		`up`: "up[] by []",
		`sum by (le, step) (rate(a_bucket{x="1"}[5m]))`:                                         "a_bucket[x=1] by [le step]",
		`max(a) / min(b{stream!="R", y=~"p|q"})`:                                                "a[] b[stream!=R y=~p|q] by []",
		`a > on () group_left () (0.01 * min(b))`:                                               "a[] b[] by []",
		`(label_replace(vector(1), "service", "x", "", "") or c) unless on (service) (up == 1)`: "c[] up[] by [service]",
		`x unless x offset 15m`:                                                                 "x[] x[] by []",
		`rate(c{service="$service"}[$__rate_interval]) > bool 0`:                                "c[service=$service] by []",
		`count_values without (a) ("v", d)`:                                                     "d[] by [a]",
		`histogram_quantile(0.9, sum by (le) (rate(w[5m]))) > 10 and on () sum(q) > 1e3`:        "w[] q[] by [le]",
		`quantile_over_time(0.5, n{a="}"}[5m])`:                                                 "n[a=}] by []",
	} {
		named, grouped := selectors(expression)
		got := ""
		for _, s := range named {
			var labels []string
			for _, l := range slices.Sorted(maps.Keys(s.labels)) {
				labels = append(labels, l+s.labels[l].operator+s.labels[l].value)
			}
			got += fmt.Sprint(s.metric, labels, " ")
		}
		if got += fmt.Sprint("by ", grouped); got != want {
			t.Errorf("%s\n reads as %s\n want     %s", expression, got, want)
		}
	}
}
