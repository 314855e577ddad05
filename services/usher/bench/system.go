package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/freeport"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/usher/mailsink"
)

const (
	finsei = "97e7ff29-15f3-49ef-9681-3bbfcce4f6cd" // the demonstration's lenient FinHub tenant
	token  = "measured-by-bench"
)

// cheapest are the settings of the cheapest hash: they measure everything else.
var cheapest = []string{"ACCOUNTS_INSECURE_HASH=true", "ACCOUNTS_ARGON2=m=8,t=1,p=1"}

// binaries builds what is measured.
func binaries(ctx context.Context, dir string) error {
	packages := map[string]string{"usher": "github.com/usherhq/usher/services/usher/cmd/usher", "nats-server": "github.com/nats-io/nats-server/v2"}
	for _, s := range events.Services {
		packages[string(s)] = fmt.Sprintf("github.com/usherhq/usher/services/%s/cmd/%s", s, s)
	}
	for name, pkg := range packages {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// system is a running pipeline.
type system struct {
	bin, dir       string
	store          string
	gateway, nats  string
	ledger, ops    string
	env            []string
	children       []*child
	sink           *mailsink.Sink // separate processes only
	watch          *nats.Conn
	completed      atomic.Int64 // mails sent, as the broker saw them
	separateStages bool
}

// oneProcess starts `usher dev` in dir; what an earlier one left there is found again.
func oneProcess(ctx context.Context, bin, dir, store string, env ...string) (*system, error) {
	s := &system{bin: bin, dir: dir, store: store, env: append(env, "USHER_DEV_TOKEN="+token)}
	if err := errors.Join(os.MkdirAll(dir, 0o700), s.addresses()); err != nil {
		return nil, err
	}
	s.env = append(s.env, "OPS_ADDR="+s.ops, "OPS_PPROF=true")
	return s, s.resume(ctx)
}

// resume starts the one process and waits until it takes registrations.
func (s *system) resume(ctx context.Context) error {
	args := []string{"dev", "--http", s.gateway, "--ops", s.ledger, "--nats", s.nats, "--data", filepath.Join(s.dir, "data")}
	if s.store != "" {
		args = append(args, "--store", s.store)
	}
	c, err := start("usher", s.dir, s.env, filepath.Join(s.bin, "usher"), args...)
	if err != nil {
		return err
	}
	s.children = []*child{c}
	return s.await(ctx)
}

// separateProcesses starts a broker and each service by itself.
func separateProcesses(ctx context.Context, bin, dir, store string, env ...string) (*system, error) {
	s := &system{bin: bin, dir: dir, store: store, separateStages: true}
	if err := errors.Join(os.MkdirAll(dir, 0o700), s.addresses()); err != nil {
		return nil, err
	}
	if store == "" {
		store = "sqlite://" + filepath.Join(dir, "store")
	}
	var err error
	if s.sink, err = mailsink.Start(filepath.Join(dir, "mail")); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(token))
	files := map[string]string{
		"nats.conf": fmt.Sprintf("listen: %q\njetstream { store_dir: %q, max_file_store: 64GB }\n", s.nats, filepath.Join(dir, "nats")),
		"tenants.yaml": strings.Replace(string(tenant.DemoFile()), "\nauth:\n",
			fmt.Sprintf("\nauth:\n  tokens:\n    - {sha256: %s, subject: bench, tenants: [\"*\"], roles: [admin]}\n", hex.EncodeToString(sum[:])), 1),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	if err := keys.Generate(filepath.Join(dir, "keys")); err != nil {
		return nil, err
	}
	s.env = append(env, "NATS_URL=nats://"+s.nats, "STORE_URL="+store, "USHER_CONFIG="+filepath.Join(dir, "tenants.yaml"),
		"USHER_KEYS="+filepath.Join(dir, "keys"), "GATEWAY_ADDR="+s.gateway, "LEDGER_ADDR="+s.ledger,
		"SMTP_URL=smtp://"+s.sink.Addr(), "PUBLIC_URL=http://"+s.gateway)
	if err := s.addBroker(); err != nil {
		return nil, err
	}
	apply := exec.CommandContext(ctx, filepath.Join(bin, "usher"), "topology", "apply")
	apply.Env = append(os.Environ(), s.env...)
	if out, err := apply.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("apply topology: %w\n%s", err, out), s.stop())
	}
	for _, service := range events.Services {
		if err := s.add(string(service)); err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	return s, s.await(ctx)
}

func (s *system) add(name string, args ...string) error {
	ops, err := freeport.Address()
	if err != nil {
		return err
	}
	c, err := start(name, s.dir, append(s.env, "OPS_PPROF=true", "OPS_ADDR="+ops), filepath.Join(s.bin, name), args...)
	if err == nil {
		c.ops = ops
		s.children = append(s.children, c)
	}
	return err
}

// addBroker starts the broker, with its profiles where the services have their operations.
func (s *system) addBroker() error {
	profiles, err := freeport.Address()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(profiles)
	if err != nil {
		return err
	}
	if err := s.add("nats-server", "-c", filepath.Join(s.dir, "nats.conf"), "--profile", port); err != nil {
		return err
	}
	s.children[0].ops = profiles
	return nil
}

func (s *system) addresses() (err error) {
	for _, addr := range []*string{&s.gateway, &s.ledger, &s.nats, &s.ops} {
		if *addr, err = freeport.Address(); err != nil {
			return err
		}
	}
	return nil
}

// await returns once registrations are taken and mails are counted.
func (s *system) await(ctx context.Context) error {
	for _, addr := range []string{s.gateway, s.ledger} {
		if err := awaitReady(ctx, "http://"+addr+"/readyz", s.children[len(s.children)-1]); err != nil {
			return errors.Join(err, s.stop())
		}
	}
	nc, err := nats.Connect("nats://" + s.nats)
	if err != nil {
		return errors.Join(fmt.Errorf("watch mails: %w", err), s.stop())
	}
	s.watch = nc
	_, err = nc.Subscribe("reg.*.*."+string(events.StepMail)+".*", func(*nats.Msg) { s.completed.Add(1) })
	return errors.Join(err, nc.Flush())
}

func awaitReady(ctx context.Context, url string, c *child) error {
	for {
		response, err := http.Get(url)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w", url, ctx.Err())
		case <-c.ended:
			return fmt.Errorf("%s has ended; read its log", c.name)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends everything; the data stay.
func (s *system) stop() error {
	if s.watch != nil {
		s.watch.Close()
	}
	var problems []error
	for i := len(s.children) - 1; i >= 0; i-- {
		problems = append(problems, s.children[i].stop())
	}
	s.children = nil
	if s.sink != nil {
		problems = append(problems, s.sink.Close())
	}
	return errors.Join(problems...)
}

// stopStages ends every service but the gateway.
func (s *system) stopStages() error {
	var problems []error
	for _, c := range s.children {
		if c.name != "nats-server" && c.name != string(events.Gateway) {
			problems = append(problems, c.stop())
		}
	}
	return errors.Join(problems...)
}

// drained waits until n registrations have had their mail.
func (s *system) drained(ctx context.Context, n int64, progress func(int64)) error {
	for s.completed.Load() < n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d registrations are complete: %w", s.completed.Load(), n, ctx.Err())
		case <-time.After(5 * time.Millisecond):
			progress(s.completed.Load())
		}
	}
	return nil
}
