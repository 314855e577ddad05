//go:build process

package usher

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

// mutant is the project with a broken rule: source texts that are replaced when some of its
// binaries are built.
type mutant struct {
	file     string   // from the root of the project
	replace  []string // old, new, …; every old text must be there
	services []events.Service
}

// build links the project's binaries into a new directory, with the mutant's in their place.
func (m mutant) build(t *testing.T) (bin string) {
	t.Helper()
	originals, err := built()
	if err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs(filepath.Join("../..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(m.replace); i += 2 {
		if !strings.Contains(string(source), m.replace[i]) {
			t.Fatalf("%s does not hold %q any more: choose the mutant anew", m.file, m.replace[i])
		}
	}
	bin = t.TempDir()
	changed, overlay := filepath.Join(bin, "changed.go"), filepath.Join(bin, "overlay.json")
	replacement, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{changed: []byte(strings.NewReplacer(m.replace...).Replace(string(source))), overlay: replacement} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range m.services {
		if err := buildService(bin, s, "-overlay", overlay); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range append([]string{"nats-server", "usher"}, names(events.Services)...) {
		if err := os.Link(filepath.Join(originals, name), filepath.Join(bin, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	return bin
}

func names(services []events.Service) []string {
	var all []string
	for _, s := range services {
		all = append(all, string(s))
	}
	return all
}

// The kill test is worth what it catches.
func TestTheTestOfKilledProcessesCatchesItsMutants(t *testing.T) {
	stages := []events.Service{events.Validator, events.Risk, events.Accounts, events.Notifier}
	for name, test := range map[string]struct {
		mutant
		caught string // in what the audit reports
	}{
		"acknowledged before the effect": {mutant{"pkg/bus/subscriber.go", []string{
			// Time between the two makes sure that a kill falls there.
			"	w := d.message(handling)\n", "	w := d.message(handling)\n	s.ack(m)\n	time.Sleep(200 * time.Millisecond)\n",
		}, stages}, "are not complete"},
		"published without an expected sequence": {mutant{"pkg/bus/bus.go", []string{
			"	w.Metadata[headerExpected] = \"0\"\n", "",
		}, append(stages, events.Gateway)}, "events stand under"},
		"random ids": {mutant{"pkg/keys/ids.go", []string{
			`if idempotencyKey == "" {`, `if len(idempotencyKey) >= 0 {`,
		}, []events.Service{events.Gateway}}, " gave "},
	} {
		t.Run(name, func(t *testing.T) {
			c := startClusterOf(t, test.build(t), nil)
			var reports []string
			reported := make(chan string)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for r := range reported {
					reports = append(reports, r)
				}
			}()
			c.report = func(format string, args ...any) { reported <- fmt.Sprintf(format, args...) }
			all, _ := c.loadUnderKills(300, 12)
			c.audit(all, 25*time.Second)
			close(reported)
			<-done
			if !slices.ContainsFunc(reports, func(r string) bool { return strings.Contains(r, test.caught) }) {
				t.Errorf("not caught; reported: %v", reports)
			}
		})
	}
}

// stored once as a document, told once as an event: a validator that is killed between the two
// and comes back under another configuration must not decide again.
func TestADecisionOutlivesAKillAndAConfigurationChange(t *testing.T) {
	// Time between the document and the event makes sure that the kill falls there.
	slow := []string{
		`	"fmt"`, `	"fmt"; "time"`,
		"	return stored.Value.event(in.Data.Carried), nil", "	time.Sleep(time.Second)\n	return stored.Value.event(in.Data.Carried), nil",
	}
	recomputing := slices.Clone(slow)
	recomputing[3] = "	_ = stored\n	time.Sleep(time.Second)\n	d, err := s.decide(ctx, in)\n	return d.event(in.Data.Carried), err"
	for name, test := range map[string]struct {
		replace []string
		caught  bool
	}{
		"the stored decision is published":                     {slow, false},
		"a mutant that publishes the recomputed one is caught": {recomputing, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mutant{"services/validator/on_registration_requested.go", test.replace, []events.Service{events.Validator}}
			if other := undecided(t, m.build(t)); (other > 0) != test.caught {
				t.Errorf("%d events tell another decision than the document", other)
			}
		})
	}
}

// undecided kills the validator after it has stored decisions and before it has told them,
// starts it with a configuration under which all of them would be rejections, and counts the
// events that tell something else than their document.
func undecided(t *testing.T, bin string) (other int) {
	c := startClusterOf(t, bin, nil)
	strict := "    password: {minLength: 64}\n    mail: {from: no-reply@cloudvault.example}"
	demo, err := os.ReadFile("../../pkg/tenant/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	validator := c.processes["validator-1"]
	validator.signal(syscall.SIGTERM)
	all, _ := c.load(ctx, 40, 0)
	validator.start(t)
	kept, err := store.Open(ctx, documents(c.dir), string(events.Validator), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	decisions := store.Schema{Collection: "decisions"}
	if err := kept.Verify(ctx, decisions); err != nil {
		t.Fatal(err)
	}
	c.eventually(30*time.Second, "decisions are stored", func() bool {
		n, err := kept.Count(ctx, decisions.Collection, nil)
		return err == nil && n > 0
	})
	validator.signal(syscall.SIGKILL)
	undone := 0
	b, _ := c.bus()
	c.write("tenants.yaml", configuration(strings.Replace(string(demo), "    mail: {from: no-reply@cloudvault.example}", strict, 1)))
	for _, a := range all {
		if h, err := b.History(ctx, cloudVault, a.id); err == nil && len(h) == 1 {
			undone++
		}
	}
	if undone == 0 {
		t.Fatal("the run proves nothing: no decision was stored and not told")
	}
	validator.start(t)
	for _, h := range c.complete(b, all, time.Minute) {
		found, err := kept.Get(ctx, decisions.Collection, h[0].Subject.Registration)
		if err != nil {
			t.Fatal(err)
		}
		if rejected := strings.Contains(string(found[h[0].Subject.Registration].Body), events.CodeTooShort); rejected != rejectedByValidator(h) {
			other++
		}
	}
	return other
}

func rejectedByValidator(history []events.Record) bool {
	return slices.ContainsFunc(history, func(r events.Record) bool {
		return r.Subject.Step == events.StepValidation && r.Event.Type() == events.Rejected{}.Type()
	})
}
