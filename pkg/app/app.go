// Package app runs services: one in a process of its own or several together, by the same
// code. A service is a name and a Run; all it gets from outside is in Env.
package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
)

// Service is one part of the pipeline.
type Service struct {
	Name events.Service
	// Schemas are the collections of its own store.
	Schemas []store.Schema
	// Run works until ctx ends, finishes what is in flight and returns nil. An error ends the
	// process.
	Run func(ctx context.Context, env *Env) error
}

// Main runs the services until SIGINT or SIGTERM, then drains. It exits 0 after an orderly
// stop and 1 after an error, which it prints. With the argument health it asks, by Probe, the
// process that runs already.
func Main(services ...Service) {
	if err := command(services); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(services []Service) error {
	if probing() {
		return Probe(os.Getenv)
	}
	if err := ReadSecrets(); err != nil {
		return err
	}
	SpendMemory()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, Options{Getenv: os.Getenv}, services...)
}

// SpendMemory lets the heap grow to five times of what is in use, unless GOGC says otherwise: a
// service keeps little and makes much garbage, and collecting it at the default of twice took a
// tenth of its time.
func SpendMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// Run runs the services until ctx ends. The first error stops the others. It returns when
// all have finished.
func Run(ctx context.Context, o Options, services ...Service) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p, err := newProcess(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()

	p.health.Add("start", p.started)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.serveOps(ctx) })
	defer func() { err = errors.Join(err, group.Wait()) }()
	envs := make([]*Env, len(services))
	for i, s := range services {
		if envs[i], err = p.env(ctx, s); ctx.Err() != nil {
			return nil // asked to end before all had started
		}
		if err != nil {
			stop()
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	p.follow(ctx, group, envs[0], services[0])
	for _, watch := range p.watches {
		group.Go(func() error { watch(ctx); return nil })
	}
	p.running.Store(true)
	for i, s := range services {
		group.Go(func() error {
			if err := s.Run(ctx, envs[i]); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			return nil
		})
	}
	return nil
}
