package usher

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// version is the demonstration with a policy and a catalog of that version, under which every
// native registration gets points for the rule of that name.
func version(name string, points int) []byte {
	text := strings.ReplaceAll(string(tenant.DemoFile()), `version: "1"`+"\n", fmt.Sprintf("version: %q\n", name))
	rules := fmt.Sprintf("    rules:\n      - {id: %s, when: channel == 'native', points: %d}\n", name, points)
	return []byte(strings.Replace(text, "    rules:\n", rules, 1))
}

func (d *dev) metric(line string) func() bool {
	return func() bool {
		return strings.Contains(string(d.do(http.MethodGet, d.ledger("/metrics"), "", nil).body), line+"\n")
	}
}

// swap replaces the file and waits until it is in force or, where it is broken, alarmed.
func (d *dev) swap(file string, content []byte) {
	d.t.Helper()
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		d.t.Fatal(err)
	}
	if _, err := tenant.Parse(file, content); err != nil {
		d.eventually(waitLong, "the broken file is alarmed", d.metric(`usher_config_reload_failed{service="risk"} 1`))
		return
	}
	d.eventually(waitLong, "the file is in force", d.metric(fmt.Sprintf(`usher_config_info{service="risk",version=%q} 1`, tenant.VersionOf(content))))
}

// registerUntil keeps registering, four at a time, until done and at least so many; it returns
// how many there are.
func (d *dev) registerUntil(done *atomic.Bool, least int) int {
	var n atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for {
				i := n.Add(1)
				if done.Load() && i > int64(least) {
					n.Add(-1)
					return
				}
				a, err := d.try(http.MethodPost, d.gateway("/v1/registrations"), cloudVault, nativeBody(fmt.Sprintf("reload%d@example.com", i)), "Prefer", "wait=20")
				if err != nil || a.status != http.StatusCreated {
					d.t.Errorf("registration %d: %d %s %v", i, a.status, a.body, err)
				}
			}
		})
	}
	workers.Wait()
	return int(n.Load())
}

func TestRegistrationsAreDecidedOnceWhileTheConfigurationChangesUnderThem(t *testing.T) {
	cheapHash(t)
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	one, other := version("one", 10), version("other", 80)
	broken := append(version("broken", 1), "surprise: true\n"...)
	if err := os.WriteFile(file, one, 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDev(t, t.TempDir(), devOptions{twice: true}, func(c *devCommand) { c.Config = file })
	var done atomic.Bool
	total := make(chan int)
	go func() { total <- d.registerUntil(&done, 200) }()
	for _, content := range [][]byte{other, one, other, one, broken, other, one, other, one, other} {
		d.swap(file, content)
	}
	done.Store(true)
	n := <-total
	d.eventually(waitLong, "all mails are sent", func() bool {
		stats := d.do(http.MethodGet, d.ledger("/v1/stats"), cloudVault, nil).json(t)
		return fmt.Sprint(stats["statuses"]) == fmt.Sprintf("map[ACTIVATION_SENT:%d]", n)
	})
	names := map[string]string{tenant.VersionOf(one): "one", tenant.VersionOf(other): "other"}
	checkDecisions(t, d, n, names)
}

// checkDecisions reads the whole stream: each registration has one outcome of each stage, and each
// outcome is of one version: configuration, policy, catalog and the rule that scored it.
func checkDecisions(t *testing.T, d *dev, n int, names map[string]string) {
	t.Helper()
	js := d.jetStream(t)
	outcomes, under, between := map[string]int{}, map[string]int{}, 0
	for _, m := range readAll(t, js, bus.Registrations) {
		r, err := events.Decode(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[r.Event.Type()]++
		switch e := r.Event.(type) {
		case events.Requested:
			under["requested "+names[e.Config]]++
		case events.Validated:
			under["validated "+names[e.Versions.Config]]++
		case events.Categorized:
			name := names[e.Versions.Config]
			if e.Versions.Policy != name || e.Versions.Catalog != name || len(e.Reasons) != 1 || e.Reasons[0].Rule != name {
				t.Errorf("%s was decided under %+v by %+v", m.Subject, e.Versions, e.Reasons)
			}
			under["categorized "+name]++
			if e.Config != e.Versions.Config {
				between++
			}
		}
	}
	for _, e := range []events.Event{events.Requested{}, events.Validated{}, events.Categorized{}, events.AccountCreated{}, events.ActivationSent{}} {
		if outcomes[e.Type()] != n {
			t.Errorf("%d events %s of %d registrations", outcomes[e.Type()], e.Type(), n)
		}
	}
	if len(outcomes) != 5 {
		t.Errorf("events are %v", outcomes)
	}
	for _, decision := range []string{"requested one", "requested other", "validated one", "validated other", "categorized one", "categorized other"} {
		if under[decision] == 0 {
			t.Errorf("nothing was %s: %v", decision, under)
		}
	}
	if len(under) != 6 {
		t.Errorf("decided under %v", under)
	}
	if dead := readAll(t, js, bus.DeadLetters); len(dead) != 0 {
		t.Errorf("%d dead letters", len(dead))
	}
	t.Logf("%d registrations, %v; %d were requested under one version and categorized under another", n, under, between)
}
