//go:build process

package usher

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
)

// before is a version that installations are upgraded from: the revision that USHER_UPGRADE_FROM
// names, by default the commit before this one.
type before struct{ revision, tree, bin string }

// earlier builds that version's binaries; nil without an error where there is no history.
var earlier = sync.OnceValues(func() (*before, error) {
	bin, err := built()
	if err != nil {
		return nil, err
	}
	b := &before{tree: filepath.Join(bin, "before"), bin: filepath.Join(bin, "before-bin")}
	named := os.Getenv("USHER_UPGRADE_FROM")
	revision, err := exec.Command("git", "rev-parse", "--verify", "--quiet", cmp.Or(named, "HEAD~1")+"^{commit}").Output()
	if err != nil && named != "" {
		return nil, fmt.Errorf("USHER_UPGRADE_FROM %s is no revision: %w", named, err)
	}
	if err != nil {
		return nil, nil
	}
	b.revision = strings.TrimSpace(string(revision))
	archive := exec.Command("sh", "-c", `mkdir -p "$1" "$2" && git -C "$(git rev-parse --show-toplevel)" archive "$3" | tar -x -C "$1"`, "sh", b.tree, b.bin, b.revision)
	if out, err := archive.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("take %s: %w\n%s", b.revision, err, out)
	}
	for _, name := range append([]string{"usher"}, names(events.Services)...) {
		pkg := "./services/" + name + "/cmd/" + name
		command := exec.Command("go", "build", "-o", filepath.Join(b.bin, name), pkg)
		command.Dir = b.tree
		if out, err := command.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s of %s: %w\n%s", name, b.revision, err, out)
		}
	}
	return b, os.Link(filepath.Join(bin, "nats-server"), filepath.Join(b.bin, "nats-server"))
})

// upgrade replaces a process by the same service of the binaries in bin.
func (c *cluster) upgrade(name, bin string) {
	c.t.Helper()
	p := c.processes[name]
	if code := p.signal(syscall.SIGTERM); code != 0 {
		c.t.Errorf("SIGTERM ended %s with code %d", name, code)
	}
	service, _, _ := strings.Cut(name, "-")
	p.mu.Lock()
	env := c.env
	p.command = func() *exec.Cmd {
		command := exec.Command(filepath.Join(bin, service))
		command.Env = env
		return command
	}
	p.mu.Unlock()
	p.start(c.t)
}

// The stages have two replicas: each is upgraded while the other is of the version before. What is
// upgraded has the configuration of its version.
func TestAnUpgradeUnderLoadLosesAndDoublesNothingInEitherOrder(t *testing.T) {
	old, err := earlier()
	if err != nil {
		t.Fatal(err)
	}
	if old == nil {
		t.Skip("NOT RUN: there is no earlier revision to upgrade from; clone the history, or name one by USHER_UPGRADE_FROM")
	}
	now, err := built()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("from %s", old.revision)
	backwards := slices.Clone(events.Services)
	slices.Reverse(backwards)
	for name, order := range map[string][]events.Service{"intake first": events.Services, "intake last": backwards} {
		t.Run(name, func(t *testing.T) { upgraded(t, old, now, order) })
	}
}

func upgraded(t *testing.T, old *before, now string, order []events.Service) {
	stages := map[string]int{"validator": 2, "risk": 2, "accounts": 2, "notifier": 2}
	c := startClusterWith(t, old.bin, filepath.Join(old.tree, "pkg/tenant/demo.yaml"), stages)
	b, _ := c.bus()
	in := c.intake(0)
	c.eventually(time.Minute, "registrations are accepted", func() bool { return in.accepted.Load() > 100 })
	tenants, err := os.ReadFile(demonstration)
	if err != nil {
		t.Fatal(err)
	}
	c.write("tenants-after.yaml", configuration(string(tenants)))
	c.bin, c.env = now, append(slices.Clone(c.env), "USHER_CONFIG="+filepath.Join(c.dir, "tenants-after.yaml"))
	c.mustRun("usher", "keys", "generate", filepath.Join(c.dir, "keys"))
	c.mustRun("usher", "topology", "apply")
	var probes []accepted
	for replica := 1; replica <= 2; replica++ {
		for _, s := range order {
			process := fmt.Sprintf("%s-%d", s, replica)
			if c.processes[process] == nil {
				continue
			}
			c.upgrade(process, now)
			a, ok := c.probe(b, len(probes), time.Minute)
			if !ok {
				t.Errorf("no registration goes all the way with %s upgraded", process)
			}
			probes = append(probes, a)
		}
	}
	all := append(in.stop(), probes...)
	t.Logf("%d accepted", len(all))
	c.audit(all, 2*time.Minute)
}
