// Package usher is the only one that knows all services: it runs them in one process, and
// holds the operator's commands.
package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
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
	Doctor      doctorCommand      `cmd:"" help:"Look at everything that an installation rests on, change nothing, and say what to do."`
	Submit      submitCommand      `cmd:"" help:"Submit the registrations of a file, each once however often it is interrupted."`
	Topology    topologyCommand    `cmd:"" help:"The broker's streams and consumers, and the stores' collections."`
	Status      statusCommand      `cmd:"" help:"Tell how far a registration is, of the gateway or, for one that the stream has let go, of the ledger."`
	Watch       watchCommand       `cmd:"" help:"Show how fast each stage works, how many messages wait and how long the first of them does, until Ctrl-C."`
	Tail        tailCommand        `cmd:"" help:"Print the events of a tenant, in order, from where it ended before."`
	Resend      resendCommand      `cmd:"" help:"Order another activation mail, of registrations or of all whose mail failed."`
	Keys        keysCommand        `cmd:"" help:"The secret keys of the services."`
	Erase       eraseCommand       `cmd:"" help:"Erase a person everywhere, or prove that it was done."`
	Deadletters deadlettersCommand `cmd:"" help:"Messages that a stage gave up on."`
	Conformance conformanceCommand `cmd:"" help:"Ask an installation what each dialect documents, and compare the answers."`
	Config      configCommand      `cmd:"" help:"The file of the tenants."`
	Mail        mailCommand        `cmd:"" help:"The mails to applicants."`
	Risk        riskCommand        `cmd:"" help:"The decisions of risk."`
	Review      reviewCommand      `cmd:"" help:"Cases that a person has to decide."`
	Audit       auditCommand       `cmd:"" help:"Prove that a feed is what it was."`
	Bench       benchCommand       `cmd:"" help:"Measure the pipeline on this machine, each figure beside a reference of the same run. Needs the source and Go."`
	Completion  completionCommand  `cmd:"" help:"Print what makes a shell complete commands and flags."`
	Subscribers subscribersCommand `cmd:"" help:"Systems that read a tenant's feed from the broker."`
}

// Exit codes of the command line.
const (
	exitDone        = 0   // all was done
	exitFailed      = 1   // something was not, or is not as it must be; the last line says what
	exitUsage       = 2   // the command is not understood, or what it names cannot be read
	exitInterrupted = 130 // Ctrl-C came before the end
)

// Main runs the command line and exits with one of its codes.
func Main() {
	if err := app.ReadSecrets(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command and returns its exit code.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	var c cli
	parser := kong.Must(&c, kong.Name("usher"), kong.Description("Event-driven customer registration."), kong.UsageOnError(), kong.Writers(out, errs))
	command, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s; `usher %s` tells more", err, commandIn(parser, args)+"--help")
		return exitUsage
	}
	command.BindTo(ctx, (*context.Context)(nil))
	command.BindTo(out, (*io.Writer)(nil))
	err = command.Run()
	var unreadable *unreadableError
	switch {
	case errors.As(err, &unreadable):
		parser.Errorf("%s", err)
		return exitUsage
	case err != nil && ctx.Err() != nil:
		parser.Errorf("interrupted: %s", err)
		return exitInterrupted
	case err != nil:
		parser.Errorf("%s", err)
		return exitFailed
	}
	return exitDone
}

// commandIn is the command that the arguments begin with, each word with a space behind it.
func commandIn(parser *kong.Kong, args []string) string {
	node, path := parser.Model.Node, ""
	for _, arg := range args {
		i := slices.IndexFunc(node.Children, func(c *kong.Node) bool { return c.Name == arg })
		if i < 0 {
			break
		}
		node, path = node.Children[i], path+arg+" "
	}
	return path
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
