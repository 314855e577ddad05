package usher

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/ledger"
	"github.com/usherhq/usher/services/notifier"
	"github.com/usherhq/usher/services/usher/mailsink"
)

// devCommand runs everything in one process.
type devCommand struct {
	HTTP        string `name:"http" default:"127.0.0.1:8080" help:"Where the gateway listens."`
	Ops         string `default:"127.0.0.1:8081" help:"Where the ledger listens."`
	NATS        string `name:"nats" default:"127.0.0.1:4222" help:"Where the embedded broker listens."`
	SMTP        string `name:"smtp" help:"Where mail goes; by default it is kept and shown at /dev/mail."`
	Data        string `default:"./.usher" help:"Where everything is kept."`
	Config      string `help:"Tenants; by default the embedded demonstration."`
	Store       string `help:"Where documents are kept; by default under --data."`
	AllowRemote bool   `help:"Let others than this machine connect. The token and the mails are for everybody then."`
}

// devOptions are what tests add to a dev process.
type devOptions struct {
	twice bool
	spans sdktrace.SpanProcessor
	logs  io.Writer
	alter func([]app.Service) // makes services run in another way
}

func (d devCommand) Run(ctx context.Context, out io.Writer) error {
	return d.run(ctx, out, devOptions{})
}

// memoryLimit makes the collector work harder before the process grows beyond what a
// developer's machine likes.
const memoryLimit = 300 << 20

func (d devCommand) run(ctx context.Context, out io.Writer, o devOptions) error {
	if err := d.onlyLoopback(); err != nil {
		return err
	}
	app.SpendMemory()
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if err := keys.Generate(filepath.Join(d.Data, "keys")); err != nil {
		return err
	}
	if os.Getenv("USHER_LISTS") == "" {
		if err := lists.WriteDemo(d.lists()); err != nil {
			return err
		}
	}
	if err := d.renewKeys(ctx); err != nil {
		return err
	}
	token, err := devToken(d.Data)
	if err != nil {
		return err
	}
	broker, err := StartBroker(d.NATS, filepath.Join(d.Data, "nats"), false)
	if err != nil {
		return err
	}
	defer broker.Stop()
	publicKey, err := d.publicKey()
	if err != nil {
		return err
	}
	more := ledger.Dev{Routes: map[string]http.Handler{"/dev/fincode-public-key": publicKey}}
	services := slices.Clone(Services)
	var (
		captures notifier.Captures
		letters  mounted
	)
	more.Routes["/v1/letters"] = &letters
	if d.SMTP == "" {
		sink, err := mailsink.Start(filepath.Join(d.Data, "mail"))
		if err != nil {
			return err
		}
		defer sink.Close()
		d.SMTP = "smtp://" + sink.Addr()
		more.Routes["/dev/mail"], more.Mailbox = sink, mailbox{sink}
		captures = sink
	}
	run(services, notifier.Service.Name, func(ctx context.Context, env *app.Env) error {
		env.Serve = letters.serve
		return notifier.RunCaptured(ctx, env, captures)
	})
	run(services, ledger.Service.Name, func(ctx context.Context, env *app.Env) error { return ledger.RunWith(ctx, env, more) })
	if o.alter != nil {
		o.alter(services)
	}
	go d.announce(ctx, out, d.welcome(token, broker.URL()))
	return app.Run(ctx, app.Options{
		Getenv: d.getenv(broker.URL()), Setup: true, AllowAnonymous: true, Twice: o.twice, Spans: o.spans, Output: o.logs,
		Tokens: map[string]tenant.Principal{token: {Subject: "dev", Tenants: []string{tenant.AllTenants}, Roles: []tenant.Role{tenant.Admin}}},
	}, services...)
}

// renewKeys renews the vault's key now and every hour until ctx ends: its generations are daily, and
// destroyed when nothing of them is in flight any more.
func (d devCommand) renewKeys(ctx context.Context) error {
	renew := func() error {
		config := tenant.Demo()
		if d.Config != "" {
			var err error
			if config, err = tenant.Load(d.Config); err != nil {
				return err
			}
		}
		_, _, err := keys.Renew(filepath.Join(d.Data, "keys"), keys.Vault, time.Now(), 0, time.Duration(config.Broker.MaxAge)+keyMargin)
		return err
	}
	if err := renew(); err != nil {
		return err
	}
	go func() {
		for tick := time.NewTicker(time.Hour); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				_ = renew() // tried again in an hour: a file that is being edited cannot be read
			}
		}
	}()
	return nil
}

// announce writes text once both listeners are ready, or not at all when ctx ends before.
func (d devCommand) announce(ctx context.Context, out io.Writer, text string) {
	for _, addr := range []string{d.HTTP, d.Ops} {
		for !ready("http://" + addr + "/readyz") {
			select {
			case <-ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	fmt.Fprint(out, text)
}

func ready(url string) bool {
	response, err := http.Get(url)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// run makes one of the services run in another way.
func run(services []app.Service, name events.Service, how func(context.Context, *app.Env) error) {
	for i, s := range services {
		if s.Name == name {
			services[i].Run = how
		}
	}
}

// getenv settles what a service would find in its environment.
func (d devCommand) getenv(brokerURL string) func(string) string {
	documents := d.Store
	if documents == "" {
		documents = "sqlite://" + filepath.Join(d.Data, "store")
	}
	settings := map[string]string{
		"NATS_URL": brokerURL, "STORE_URL": documents, "USHER_CONFIG": d.Config, "USHER_KEYS": filepath.Join(d.Data, "keys"),
		"GATEWAY_ADDR": d.HTTP, "LEDGER_ADDR": d.Ops, "NOTIFIER_ADDR": "the ledger's", "SMTP_URL": d.SMTP, "NATS_CREDS": "", "NATS_CA": "",
	}
	if os.Getenv("PUBLIC_URL") == "" {
		settings["PUBLIC_URL"] = "http://" + d.HTTP
	}
	if os.Getenv("USHER_LISTS") == "" {
		settings["USHER_LISTS"] = d.lists()
	}
	if os.Getenv("USHER_EGRESS_ALLOW") == "" {
		settings["USHER_EGRESS_ALLOW"] = "127.0.0.0/8,::1"
	}
	return func(name string) string {
		if v, ok := settings[name]; ok {
			return v
		}
		return os.Getenv(name)
	}
}

// lists is the directory of screening lists that dev makes.
func (d devCommand) lists() string { return filepath.Join(d.Data, "lists") }

func (d devCommand) onlyLoopback() error {
	for _, addr := range []string{d.HTTP, d.Ops, d.NATS, os.Getenv("OPS_ADDR")} {
		if addr == "" {
			continue
		}
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return fmt.Errorf("address %s: %w", addr, err)
		}
		ip := net.ParseIP(host)
		if host != "localhost" && (ip == nil || !ip.IsLoopback()) && !d.AllowRemote {
			return fmt.Errorf("address %s is reachable by others; dev has no secrets worth the name: use 127.0.0.1, or --allow-remote", addr)
		}
	}
	return nil
}

// devToken is $USHER_DEV_TOKEN, or the one in the data directory, made when it is missing.
func devToken(dir string) (string, error) {
	file := filepath.Join(dir, "dev-token")
	token := os.Getenv("USHER_DEV_TOKEN")
	if token == "" {
		raw, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("read dev token: %w", err)
		}
		token = strings.TrimSpace(string(raw))
	}
	if token == "" {
		random := make([]byte, 24)
		_, _ = rand.Read(random)
		token = hex.EncodeToString(random)
	}
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write dev token: %w", err)
	}
	return token, nil
}

func (d devCommand) welcome(token, brokerURL string) string {
	return fmt.Sprintf(`Usher runs in one process; Ctrl-C stops it.
  gateway  http://%[1]s   (registrations)
  console  http://%[2]s/console   (sign in with the token)
  ledger   http://%[2]s   (queries; mails at /dev/mail, Fincode's key at /dev/fincode-public-key)
  broker   %[3]s
  data     %[4]s
  token    %[5]s

Try it:
  curl -i http://%[1]s/v1/registrations -H 'Authorization: Bearer %[5]s' \
    -H 'X-Tenant-ID: d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f' -H 'Content-Type: application/json' -H 'Prefer: wait=5' \
    -d '{"applicant":{"givenName":"Marcus","familyName":"Jensen","email":"marcus@example.com","birthDate":"1990-05-15"},"credentials":{"password":"four dry apples"}}'
  curl 'http://%[2]s/dev/mail?to=marcus@example.com'
`, d.HTTP, d.Ops, brokerURL, d.Data, token)
}
