package usher

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats.go"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

const deployments = "../../deployments"

// alert is a rule of Prometheus that wakes somebody.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readAlerts(t *testing.T) []alert {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployments, "prometheus/rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var alerts []alert
	for _, group := range file.Groups {
		alerts = append(alerts, group.Rules...)
	}
	return alerts
}

// expressions are all that the dashboards and the rules ask Prometheus for, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, a := range readAlerts(t) {
		all["alert "+a.Alert] = a.Expr
	}
	files, err := filepath.Glob(filepath.Join(deployments, "grafana/dashboards/*.json"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ RefID, Expr string }
			}
			Templating struct {
				List []struct{ Query struct{ Query string } }
			}
		}
		if err := json.Unmarshal(raw, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				all[fmt.Sprintf("%s, %q %s", filepath.Base(file), p.Title, target.RefID)] = target.Expr
			}
		}
		for i, v := range board.Templating.List {
			metric, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Query.Query, "label_values("), ")"), ", ")
			if !ok {
				t.Errorf("%s: variable %d is not label_values(METRIC, LABEL)", file, i)
			}
			all[fmt.Sprintf("%s, variable %d", filepath.Base(file), i)] = "count by (" + label + ") (" + metric + ")"
		}
	}
	return all
}

// families are the metrics of a process with their labels.
type families map[string]map[string]bool

var sample = regexp.MustCompile(`(?m)^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? [^ ]+$`)

func (d *dev) families() families {
	response, err := http.Get(d.ledger("/metrics"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	// What Prometheus adds to every series, and what it makes itself.
	e := families{"up": {"service": true}, "ALERTS": {"alertname": true, "alertstate": true, "severity": true}}
	for _, m := range sample.FindAllStringSubmatch(string(raw), -1) {
		if e[m[1]] == nil {
			e[m[1]] = map[string]bool{}
		}
		for _, l := range promMatcher.FindAllStringSubmatch(m[2], -1) {
			e[m[1]][l[1]] = true
		}
	}
	for _, labels := range e {
		labels["job"], labels["instance"] = true, true
	}
	return e
}

// values are those that a label may be compared with; a label that is not here can have any.
func values() map[string][]string {
	known := map[string][]string{"service": {"$service"}, "result": {"ok", "error"}, "stream": {bus.Registrations, bus.VaultStream}}
	for _, s := range events.Services {
		known["service"] = append(known["service"], string(s))
	}
	for _, row := range slices.Concat(events.Flow, events.TenantFacts) {
		known["step"] = append(known["step"], string(row.Step))
		for _, e := range row.Types {
			known["type"] = append(known["type"], e.Type())
		}
	}
	for _, c := range bus.Consumers() {
		known["consumer"] = append(known["consumer"], c.Name)
	}
	return known
}

// problems tells what of an expression does not exist.
func (e families) problems(expression string) (wrong []string) {
	named, grouped := selectors(expression)
	labels := map[string]bool{}
	for _, s := range named {
		has, known := e[s.metric]
		if !known {
			wrong = append(wrong, "no service exports "+s.metric)
			continue
		}
		for l := range has {
			labels[l] = true
		}
		for label, m := range s.labels {
			if !has[label] {
				wrong = append(wrong, s.metric+" has no label "+label)
			}
			if allowed, limited := values()[label]; limited {
				for _, v := range strings.Split(m.value, "|") {
					if !slices.Contains(allowed, v) {
						wrong = append(wrong, fmt.Sprintf("%s is never %q", label, v))
					}
				}
			}
		}
	}
	for _, label := range grouped {
		if !labels[label] {
			wrong = append(wrong, "none of its metrics has the label "+label)
		}
	}
	return wrong
}

func TestDashboardsAndAlertsNameWhatTheServicesExport(t *testing.T) {
	cheapHash(t)
	d := startDev(t, t.TempDir(), devOptions{})
	d.account("dashboards@example.com")
	refused := d.do(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody("dashboards@example.com"))
	if refused.status != http.StatusAccepted {
		t.Fatalf("a second registration answers %d", refused.status)
	}
	garbage := nats.NewMsg("reg." + cloudVault + ".garbage.requested.1")
	garbage.Header.Set("ce-type", "registration.requested")
	if _, err := d.jetStream(t).PublishMsg(t.Context(), garbage); err != nil {
		t.Fatal(err)
	}
	all := expressions(t)
	problems := func() (wrong []string) {
		e := d.families()
		for where, expression := range all {
			for _, problem := range e.problems(expression) {
				wrong = append(wrong, where+": "+problem)
			}
		}
		return wrong
	}
	var wrong []string
	defer func() {
		if t.Failed() {
			slices.Sort(wrong)
			t.Log(strings.Join(wrong, "\n"))
		}
	}()
	d.eventually(waitLong, "dashboards and alerts name only what is exported", func() bool { wrong = problems(); return len(wrong) == 0 })

	e := d.families()
	for expression, want := range map[string]string{
		`usher_stage_outs_total`:                        "no service exports",
		`usher_queue_lag{stage="x"}`:                    "has no label stage",
		`sum by (tenants) (usher_review_cases)`:         "none of its metrics has the label tenants",
		`usher_stage_in_total{service="validators"}`:    `service is never "validators"`,
		`usher_stage_out_total{type="activation.lost"}`: `type is never "activation.lost"`,
	} {
		if got := strings.Join(e.problems(expression), "; "); !strings.Contains(got, want) {
			t.Errorf("of %s is told %q, want %q", expression, got, want)
		}
	}
}

func TestPrometheusUnderstandsEveryExpression(t *testing.T) {
	promtool := os.Getenv("USHER_PROMTOOL")
	if promtool == "" {
		t.Skip("NOT RUN: USHER_PROMTOOL does not name promtool; make alerts does")
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: all\n  rules:\n")
	place := 0
	for _, expression := range expressions(t) {
		place++
		fmt.Fprintf(&rules, "  - {record: 'e%d', expr: %q}\n", place, strings.ReplaceAll(expression, "$__rate_interval", "5m"))
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", "--lint=none", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// heading is a section of the runbook.
var heading = regexp.MustCompile(`(?m)^## (.+)$`)

func TestEveryAlertHasItsSectionInTheRunbook(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(deployments, "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	var sections []string
	for _, m := range heading.FindAllStringSubmatch(string(raw), -1) {
		sections = append(sections, m[1])
	}
	var alerts []string
	for _, a := range readAlerts(t) {
		alerts = append(alerts, a.Alert)
		if want := "deployments/runbook.md#" + strings.ToLower(a.Alert); a.Annotations["runbook"] != want {
			t.Errorf("%s links %q, want %q", a.Alert, a.Annotations["runbook"], want)
		}
		if !slices.Contains(sections, a.Alert) {
			t.Errorf("the runbook has no section %q", "## "+a.Alert)
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s is of severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", a.Alert)
		}
	}
	for _, s := range sections {
		if !slices.Contains(alerts, s) {
			t.Errorf("the runbook's section %q is of no alert", s)
		}
	}
}
