//go:build process

package simulation

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var caught = regexp.MustCompile(`SEED=\d+\n.*`)

// The simulation is worth what it catches: each of these breaks one rule of the project, and the
// seeds 1 to 1,000 must show it, or 5,000 where it takes a rare fault.
func TestTheSimulationCatchesItsMutants(t *testing.T) {
	for name, mutant := range map[string]struct {
		file     string // from the root of the project
		old, new string
	}{
		"acknowledged before the effect": {"pkg/bus/subscriber.go",
			"	w := d.message(handling)\n", "	w := d.message(handling)\n	s.ack(m)\n"},
		"published without an expected sequence": {"pkg/bus/bus.go",
			"	w.Metadata[headerExpected] = \"0\"\n", ""},
		"random ids": {"pkg/keys/ids.go",
			`if idempotencyKey == "" {`, `if len(idempotencyKey) >= 0 {`},
		"a decision recomputed after a change of configuration": {"services/validator/on_registration_requested.go",
			"	return stored.Value.event(", "	_ = stored\n	d, err := s.decide(ctx, in)\n	if err != nil {\n		return nil, err\n	}\n	return d.event("},
		"a category recomputed after a change of policy": {"services/risk/decision.go",
			"	return stored.Value, err\n", "	if own.MAC != \"\" {\n		return own, err\n	}\n	return stored.Value, err\n"},
		"a review that is told of and forgotten": {"services/risk/on_registration_validated.go",
			"return d.event(carried), bus.Later(s.now().Add(afterTold))", "return d.event(carried), nil"},
		"a person shown though it could not be logged": {"services/ledger/disclosure.go",
			"Publish(ctx, tenant, \"\", access); err != nil {", "Publish(ctx, tenant, \"\", access); err != nil && ctx == nil {"},
		"acknowledged to the client before it is stored": {"services/gateway/intake.go",
			"	case err == nil:\n		return time.Now(), nil\n	case", "	case !errors.Is(err, bus.ErrExists):\n		return time.Now(), nil\n	case"},
		"an account activated without the password that came with the code": {"services/accounts/on_activation_requested.go",
			"if a.Activation.By != by && a.NoPassword {", "if a.Activation.By != by && a.NoPassword && in.Data.Vault == 0 {"},
		"other content under a used key": {"services/gateway/intake.go",
			"if !hmac.Equal([]byte(first.MAC), []byte(own.MAC)) {", "if !hmac.Equal([]byte(first.MAC), []byte(first.MAC)) {"},
		"an end that forgets nobody": {"services/risk/on_erasure_requested.go",
			"return s.erase(ctx, in.Subject, events.ForgottenBy(events.Risk))", "return events.ForgottenBy(events.Risk), nil"},
		"an erasure that leaves no tombstone": {"services/accounts/on_erasure_requested.go",
			"own, err := s.accounts.PutIf(ctx, in.Subject.Registration, tombstone, func(there account) bool { return there.Tenant == tombstone.Tenant || there.State == erased })",
			"own, err := tombstone.Tenant != \"\", s.accounts.Delete(ctx, in.Subject.Registration)"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			run := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout=10m", "-failfast", "-run=^TestSimulation$",
				"-overlay="+overlay(t, dir, mutant.file, mutant.old, mutant.new), ".")
			seeds := 1000
			if rare[name] {
				seeds = 5000
			}
			run.Env = append(os.Environ(), fmt.Sprintf("SEEDS=%d", seeds))
			out, err := run.CombinedOutput()
			found := caught.Find(out)
			if err == nil || found == nil {
				t.Fatalf("not caught within %d seeds: %v\n%s", seeds, err, out[max(0, len(out)-2000):])
			}
			t.Logf("caught: %s", found)
		})
	}
}

// rare are the mutants that show only when one certain message is lost.
var rare = map[string]bool{"a person shown though it could not be logged": true}

// overlay writes a file for go's -overlay that replaces a text of a source file.
func overlay(t *testing.T, dir, file, old, replacement string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../..", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), old) != 1 {
		t.Fatalf("%s does not hold %q once any more: choose the mutant anew", file, old)
	}
	changed, list := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	replaces, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{changed: strings.Replace(string(source), old, replacement, 1), list: string(replaces)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return list
}
