package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// edited is the demonstration with old texts replaced by new ones.
func edited(edit ...string) []byte {
	return []byte(strings.NewReplacer(edit...).Replace(string(tenant.DemoFile())))
}

const remit = "\n  - id: remitjunction\n"

// without is the demonstration without RemitJunction.
func without() []byte {
	text := string(tenant.DemoFile())
	at := strings.Index(text, remit)
	end := strings.Index(text, "\n  - id: \"01111\"\n")
	return []byte(text[:at] + text[end:])
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a process with one service and a configuration file.
type running struct {
	*Env
	t    *testing.T
	file string
	logs *lockedBuffer
}

func run(t *testing.T, change ...func(*Options)) *running {
	t.Helper()
	settings := complete(t)
	p := &running{t: t, file: filepath.Join(t.TempDir(), "tenants.yaml"), logs: &lockedBuffer{}}
	settings["USHER_CONFIG"] = p.file
	p.write(tenant.DemoFile())
	o := options(settings)
	o.Output = p.logs
	for _, c := range change {
		c(&o)
	}
	ctx, stop := context.WithCancel(t.Context())
	started, ended := make(chan *Env, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, o, Service{Name: events.Gateway, Run: func(ctx context.Context, env *Env) error {
			started <- env
			return waiting(ctx, env)
		}})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case p.Env = <-started:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return p
}

func (p *running) write(content []byte) {
	p.t.Helper()
	if err := os.WriteFile(p.file, content, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *running) eventually(what string, is func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("still not: %s\n%s", what, p.logs)
		}
	}
}

func (p *running) inForce(content []byte) func() bool {
	return func() bool { return p.Config.Current().Version == tenant.VersionOf(content) }
}

func (p *running) refused(why string) func() bool {
	return func() bool {
		return strings.Contains(p.ask("/metrics"), `usher_config_reload_failed{service="gateway"} 1`) && strings.Contains(p.logs.String(), why)
	}
}

func (p *running) ask(path string) string {
	p.t.Helper()
	w := httptest.NewRecorder()
	p.Ops.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != 200 {
		p.t.Errorf("%s answers %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeIsTakenHoweverTheFileIsReplaced(t *testing.T) {
	for how, replace := range map[string]func(p *running, content []byte){
		"written in place": func(p *running, content []byte) { p.write(content) },
		"renamed over, as editors do": func(p *running, content []byte) {
			must(t, os.WriteFile(p.file+".new", content, 0o600), os.Rename(p.file+".new", p.file))
		},
		"linked anew, as Kubernetes does": func(p *running, content []byte) {
			dir := filepath.Dir(p.file)
			must(t, os.Mkdir(filepath.Join(dir, "..2"), 0o700), os.WriteFile(filepath.Join(dir, "..2", "tenants.yaml"), content, 0o600),
				os.Symlink("..2", filepath.Join(dir, "..data_tmp")), os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
			must(t, os.Symlink(filepath.Join("..data", "tenants.yaml"), p.file+".link"), os.Rename(p.file+".link", p.file))
		},
		"of the same size and time": func(p *running, content []byte) {
			about, err := os.Stat(p.file)
			must(t, err)
			p.write(content)
			must(t, os.Chtimes(p.file, about.ModTime(), about.ModTime()))
		},
	} {
		t.Run(how, func(t *testing.T) {
			p := run(t)
			before := p.Config.Current()
			changed := edited("name: Finsei", "name: Fonsei")
			replace(p, changed)
			p.eventually("the new one is in force", p.inForce(changed))
			if before.Tenants[1].Name != "Finsei" || p.Config.Current().Tenants[1].Name != "Fonsei" {
				t.Error("a version changed under its users")
			}
			metrics := p.ask("/metrics")
			if !strings.Contains(metrics, `usher_config_info{service="gateway",version="`+tenant.VersionOf(changed)+`"} 1`) || strings.Contains(metrics, before.Version) {
				t.Error("the version in force, and no other, is not measured")
			}
		})
	}
}

func TestABadFileLeavesTheOneBeforeInForceAndIsAlarmed(t *testing.T) {
	p := run(t)
	before := p.Config.Current()
	p.write(edited("medium: 40", "medium: 90", "level: HIGH", "level: SKY"))
	p.eventually("it is alarmed", p.refused("thresholds"))
	p.eventually("all its problems are told", p.refused("level: is not LOW, MEDIUM or HIGH"))
	if ready := p.ask("/readyz"); !strings.HasPrefix(ready, "ready\nwarning: configuration: ") || !strings.Contains(ready, before.Version) || strings.Contains(ready, "thresholds") {
		t.Errorf("ready says %q", ready)
	}
	must(t, os.Remove(p.file))
	p.eventually("a file that is gone is alarmed", p.refused("read configuration"))
	if p.Config.Current() != before {
		t.Error("the configuration before is not in force")
	}
	if n := strings.Count(p.logs.String(), "thresholds"); n != 1 {
		t.Errorf("the bad file was logged %d times", n)
	}
	p.write(tenant.DemoFile())
	p.eventually("the alarm is over", func() bool { return p.ask("/readyz") == "ready\n" })
}

func TestNothingHalfWrittenIsTaken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	auth, err := tenant.NewAuthenticator(tenant.Auth{})
	must(t, err, os.WriteFile(file, tenant.DemoFile(), 0o600))
	r := &reload{path: file, live: tenant.NewLive(tenant.Demo()), auth: auth, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		admit: func(context.Context, *tenant.Config) error { return nil }}
	whole := append(tenant.DemoFile(), "# and more\n"...)
	if _, err := tenant.Parse("half", without()); err != nil {
		t.Fatalf("half of the file is no configuration: %v", err)
	}
	for step, content := range [][]byte{tenant.DemoFile(), without(), whole, without(), whole, whole} {
		must(t, os.WriteFile(file, content, 0o600))
		r.look(t.Context())
		version := r.live.Current().Version
		if want := tenant.Demo().Version; step < 5 && version != want {
			t.Errorf("at step %d version %s is in force, want %s", step, version, want)
		}
	}
	if r.live.Current().Version != tenant.VersionOf(whole) {
		t.Error("what was there twice is not in force")
	}
}

func TestANewTenantGetsItsFeedWhereTheProcessMakesTheStreams(t *testing.T) {
	p := run(t)
	more := edited(remit, "\n  - {id: newcomer, name: New, dialects: {native: true}, catalog: individuals, policy: standard, mail: {from: a@new.example}}"+remit)
	p.write(more)
	p.eventually("it is in force", p.inForce(more))
	if there, err := p.Bus.HasFeed(t.Context(), "newcomer"); err != nil || !there {
		t.Errorf("its feed: %v, %v", there, err)
	}
}

func TestWhatTheBrokerWouldLoseIsRefused(t *testing.T) {
	p := run(t)
	p.write(edited("maxAge: 168h", "maxAge: 120h"))
	p.eventually("a shorter age is refused", p.refused("would drop those older"))
	if time.Duration(p.Config.Current().Broker.MaxAge) != 168*time.Hour {
		t.Error("it is in force")
	}
}

func TestAServiceWaitsUntilTheStreamsAreAsTheFileSays(t *testing.T) {
	settings := complete(t)
	var operator *bus.Bus
	must(t, Run(stopped(t), options(settings), Service{Name: events.Gateway, Run: waiting}))
	p := run(t, func(o *Options) {
		file := o.Getenv("USHER_CONFIG")
		settings["USHER_CONFIG"] = file
		o.Getenv, o.Setup = func(name string) string { return settings[name] }, false
	})
	operator = p.Bus
	larger := edited("maxBytes: 8589934592", "maxBytes: 9589934592")
	p.write(larger)
	p.eventually("it names what to do", p.refused("usher topology apply"))
	if p.inForce(larger)() {
		t.Fatal("it is in force before")
	}
	next, err := tenant.Parse("tenants.yaml", larger)
	must(t, err, Topology(next).Apply(t.Context(), operator.JetStream()))
	p.eventually("it is in force after", p.inForce(larger))
	p.eventually("the alarm is over", func() bool { return p.ask("/readyz") == "ready\n" })
}

func TestATenantStaysUntilItIsDisabledAndItsRegistrationsAreFinished(t *testing.T) {
	p := run(t)
	entry, err := p.Vault.Put(t.Context(), "remitjunction", "r1", vault.Entry{})
	must(t, err)
	p.write(without())
	p.eventually("one that may take registrations stays", p.refused("tenant remitjunction is gone; put it back with disabled: true"))
	disabled := edited("    name: RemitJunction\n", "    name: RemitJunction\n    disabled: true\n")
	p.write(disabled)
	p.eventually("it is disabled", p.inForce(disabled))
	p.write(without())
	p.eventually("one with an open registration stays", p.refused("tenant remitjunction is gone and has 1 open registrations"))
	if !slices.Contains(p.Config.Current().TenantIDs(), "remitjunction") {
		t.Fatal("it is gone")
	}
	must(t, p.Vault.Withdraw(t.Context(), entry))
	p.eventually("it goes when they are finished", p.inForce(without()))
}
