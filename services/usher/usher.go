// Package usher is the only one that knows all services: it runs them in one process, and
// holds the operator's commands.
package usher

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/crypto/bcrypt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/telemetry"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/accounts"
	"github.com/usherhq/usher/services/gateway"
	"github.com/usherhq/usher/services/ledger"
	"github.com/usherhq/usher/services/notifier"
	"github.com/usherhq/usher/services/risk"
	"github.com/usherhq/usher/services/validator"
)

// Services are the pipeline, in the order a registration meets them.
var Services = []app.Service{gateway.Service, validator.Service, risk.Service, accounts.Service, notifier.Service, ledger.Service}

// cli is the command line.
type cli struct {
	Dev         devCommand         `cmd:"" help:"Run everything in one process, with an embedded broker and store."`
	Topology    topologyCommand    `cmd:"" help:"The broker's streams and consumers, and the stores' collections."`
	Keys        keysCommand        `cmd:"" help:"The secret keys of the services."`
	Deadletters deadlettersCommand `cmd:"" help:"Messages that a stage gave up on."`
}

// Main runs the command line. It exits 0 after success, 1 after a failure and 2 where the
// command is not understood.
func Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parser := kong.Must(&c, kong.Name("usher"), kong.Description("Event-driven customer registration."), kong.UsageOnError())
	command, err := parser.Parse(os.Args[1:])
	if err != nil {
		parser.Errorf("%s", err)
		os.Exit(2)
	}
	command.BindTo(ctx, (*context.Context)(nil))
	command.BindTo(os.Stdout, (*io.Writer)(nil))
	if err := command.Run(); err != nil {
		parser.Errorf("%s", err)
		os.Exit(1)
	}
}

type topologyCommand struct {
	Apply       topologyApply       `cmd:"" help:"Create what is missing and update what differs; nothing is ever deleted."`
	Permissions topologyPermissions `cmd:"" help:"Print the broker's users and all that each may do, for its configuration."`
	Passwords   topologyPasswords   `cmd:"" help:"Make the passwords of the broker's users that are missing, and the file of their hashes."`
}

// brokerUsers are the users of the broker's configuration.
type brokerUsers struct {
	Compliance []string `placeholder:"TENANT" help:"Tenants whose compliance systems read their feed."`
}

type topologyPermissions struct{ brokerUsers }

func (p topologyPermissions) Run(out io.Writer) error {
	_, err := io.WriteString(out, bus.Authorization(bus.Users(p.Compliance...)))
	return err
}

type topologyPasswords struct {
	Dir string `arg:"" help:"Directory of USER.password, for that user, and passwords.conf, for the broker."`
	brokerUsers
}

func (p topologyPasswords) Run(out io.Writer) error {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory of passwords: %w", err)
	}
	var hashes strings.Builder
	users := bus.Users(p.Compliance...)
	for _, u := range users {
		password, err := brokerPassword(filepath.Join(p.Dir, u.Name+".password"))
		if err != nil {
			return err
		}
		hash, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost)
		if err != nil {
			return fmt.Errorf("hash password of %s: %w", u.Name, err)
		}
		fmt.Fprintf(&hashes, "%s: %q\n", bus.PasswordVariable(u.Name), hash)
	}
	if err := os.WriteFile(filepath.Join(p.Dir, "passwords.conf"), []byte(hashes.String()), 0o600); err != nil {
		return fmt.Errorf("write hashes: %w", err)
	}
	fmt.Fprintf(out, "passwords of %d users are in %s; give each user only its own\n", len(users), p.Dir)
	return nil
}

// brokerPassword reads a file, or makes it with 256 random bits in hexadecimal.
func brokerPassword(file string) ([]byte, error) {
	password, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		random := make([]byte, 32)
		_, _ = rand.Read(random)
		password = hex.AppendEncode(nil, random)
		err = os.WriteFile(file, password, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("keep password: %w", err)
	}
	return password, nil
}

// topologyApply reads NATS_URL, STORE_URL and USHER_CONFIG.
type topologyApply struct{}

func (topologyApply) Run(ctx context.Context, out io.Writer) error {
	config, err := loadConfig()
	if err != nil {
		return err
	}
	b, done, err := dial(ctx, bus.TopologyUser)
	if err != nil {
		return err
	}
	defer done()
	topology := app.Topology(config)
	if err := topology.Apply(ctx, b.JetStream()); err != nil {
		return err
	}
	if err := topology.ApplyCompliance(ctx, b.JetStream()); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d streams and %d consumers are as configured\n", len(topology.Streams()), len(bus.Consumers())+len(topology.Tenants))
	url := os.Getenv("STORE_URL")
	if url == "" {
		fmt.Fprintln(out, "STORE_URL is not set: collections were left alone")
		return nil
	}
	return ensureCollections(ctx, url, out)
}

func ensureCollections(ctx context.Context, url string, out io.Writer) error {
	for _, s := range Services {
		backend, err := store.Open(ctx, url, string(s.Name), nil)
		if err != nil {
			return err
		}
		err = backend.Ensure(ctx, append([]store.Schema{bus.ParkedSchema}, s.Schemas...)...)
		if closeErr := backend.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("collections of %s: %w", s.Name, err)
		}
		fmt.Fprintf(out, "collections of %s are as configured\n", s.Name)
	}
	return nil
}

func loadConfig() (*tenant.Config, error) {
	if path := os.Getenv("USHER_CONFIG"); path != "" {
		return tenant.Load(path)
	}
	return tenant.Demo(), nil
}

// dial connects the command line to the broker of NATS_URL, as one of its users.
func dial(ctx context.Context, user string) (*bus.Bus, func(), error) {
	t, err := telemetry.New(ctx, telemetry.Options{Service: "usher", Getenv: os.Getenv})
	if err != nil {
		return nil, nil, err
	}
	nc, err := app.Connect(os.Getenv, user, t.Logger)
	if err != nil {
		return nil, nil, err
	}
	b, err := bus.New(bus.Config{Service: events.Ledger, Conn: nc, Log: t.Logger, Tracer: t.Tracer, Meter: t.Meter})
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	if err := app.AwaitBroker(ctx, b, 10*time.Second); err != nil {
		nc.Close()
		return nil, nil, err
	}
	return b, nc.Close, nil
}

type keysCommand struct {
	Generate keysGenerate `cmd:"" help:"Create the key files that are missing; nothing is overwritten."`
	Rotate   keysRotate   `cmd:"" help:"Add a generation to a key. Distribute the file before it becomes active."`
	Retire   keysRetire   `cmd:"" help:"Destroy generations that were superseded long ago. What they sealed stays closed for ever."`
}

type keysGenerate struct {
	Dir string `arg:"" help:"Directory of the key files."`
}

func (k keysGenerate) Run(out io.Writer) error {
	if err := keys.Generate(k.Dir); err != nil {
		return err
	}
	fmt.Fprintf(out, "keys are in %s; give each service only the files it needs\n", k.Dir)
	return nil
}

type keysRotate struct {
	Dir  string        `arg:"" help:"Directory of the key files."`
	Name string        `arg:"" enum:"vault,data" help:"vault or data."`
	In   time.Duration `default:"1h" help:"How long until the new generation is used."`
}

func (k keysRotate) Run(out io.Writer) error {
	id, err := keys.Rotate(k.Dir, k.Name, time.Now().Add(k.In))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "generation %s of %s is used in %s\n", id, k.Name, k.In)
	return nil
}

type keysRetire struct {
	Dir   string        `arg:"" help:"Directory of the key files."`
	Name  string        `arg:"" enum:"vault" help:"vault: no other key's data ends."`
	After time.Duration `default:"192h" help:"Destroy what was superseded longer ago than this; more than broker.maxAge."`
}

func (k keysRetire) Run(out io.Writer) error {
	config, err := loadConfig()
	if err != nil {
		return err
	}
	if least := time.Duration(config.Broker.MaxAge); k.After <= least {
		return fmt.Errorf("--after must be more than broker.maxAge, which is %v: persons in flight are sealed with these keys", least)
	}
	ids, err := keys.Retire(k.Dir, k.Name, time.Now().Add(-k.After))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d generations of %s destroyed %s\n", len(ids), k.Name, strings.Join(ids, " "))
	return nil
}

type deadlettersCommand struct {
	List   deadlettersList   `cmd:"" help:"List dead letters, oldest first."`
	Replay deadlettersReplay `cmd:"" help:"Give dead letters back to their stage."`
}

type deadlettersList struct {
	From  uint64 `default:"1" help:"First sequence."`
	Limit int    `default:"100" help:"How many."`
}

func (d deadlettersList) Run(ctx context.Context, out io.Writer) error {
	b, done, err := dial(ctx, bus.OperatorUser)
	if err != nil {
		return err
	}
	defer done()
	letters, err := b.DeadLetters(ctx, d.From, d.Limit)
	if err != nil {
		return err
	}
	for _, l := range letters {
		fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%s\n", l.Sequence, l.At.Format(time.RFC3339), l.Service, l.Reason, l.Subject)
	}
	return nil
}

type deadlettersReplay struct {
	Sequences []uint64 `arg:"" help:"Sequences, as list shows them."`
}

func (d deadlettersReplay) Run(ctx context.Context, out io.Writer) error {
	b, done, err := dial(ctx, bus.OperatorUser)
	if err != nil {
		return err
	}
	defer done()
	for _, sequence := range d.Sequences {
		if err := b.Replay(ctx, sequence); err != nil {
			return err
		}
		fmt.Fprintf(out, "%d given back\n", sequence)
	}
	return nil
}
