package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/usherhq/usher/pkg/tenant"
)

// configEvery is how often the file of the configuration is read. Its content decides, not its
// times or its place: files are replaced by renames, by links and in place.
const configEvery = 500 * time.Millisecond

// admitTime bounds the questions to the broker about one configuration.
const admitTime = 10 * time.Second

// reload keeps the configuration in force that of its file. What is wrong, or what the broker is
// not ready for, leaves the one before in force. Only one goroutine may follow.
type reload struct {
	path string
	live *tenant.Live
	auth *tenant.Authenticator
	// admit returns why a configuration cannot be in force yet. It is asked again until it can.
	admit func(ctx context.Context, next *tenant.Config) error
	log   *slog.Logger

	seen   string // what the look before found
	broken string // what was found to be no configuration
	// refused is why the file is not in force; nil where it is.
	refused atomic.Pointer[string]
}

// follow looks at the file until ctx ends.
func (r *reload) follow(ctx context.Context) {
	tick := time.NewTicker(configEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.look(ctx)
		}
	}
}

// look judges the file once two looks in a row have found the same: nothing half written is taken.
func (r *reload) look(ctx context.Context) {
	raw, err := os.ReadFile(r.path)
	found := tenant.VersionOf(raw)
	if err != nil {
		found = err.Error()
	}
	before := r.seen
	r.seen = found
	switch {
	case found != before || found == r.broken:
	case err != nil:
		r.conclude(ctx, fmt.Errorf("read configuration: %w", err))
	case found == r.live.Current().Version:
		r.conclude(ctx, nil)
	default:
		r.conclude(ctx, r.take(ctx, raw))
	}
}

// take puts a file's content in force, or returns why not.
func (r *reload) take(ctx context.Context, raw []byte) error {
	next, err := tenant.Parse(r.path, raw)
	if err != nil {
		r.broken = r.seen
		return err
	}
	asking, cancel := context.WithTimeout(ctx, admitTime)
	defer cancel()
	if err := r.admit(asking, next); err != nil {
		return err
	}
	if err := r.auth.Replace(next.Auth); err != nil {
		return err
	}
	before := r.live.Current().Version
	r.live.Replace(next)
	r.log.InfoContext(ctx, "configuration in force", "version", next.Version, "before", before)
	return nil
}

// conclude notes why the file is not in force, and logs it when it is another reason than before.
func (r *reload) conclude(ctx context.Context, err error) {
	if err == nil {
		r.broken = ""
		r.refused.Store(nil)
		return
	}
	if ctx.Err() != nil {
		return
	}
	lines := strings.Split(err.Error(), "\n")
	slices.Sort(lines) // the broker's differences come in any order
	why := strings.Join(lines, "\n")
	if before := r.refused.Swap(&why); before == nil || *before != why {
		r.log.ErrorContext(ctx, "configuration not taken, the one before stays in force", "version", r.live.Current().Version, "error", err)
	}
}

// warning tells /readyz of a file that is not in force. The reasons are in the log: whoever may
// ask for readiness need not know the settings.
func (r *reload) warning() string {
	if r.refused.Load() == nil {
		return ""
	}
	return "the file is not in force, version " + r.live.Current().Version + " is; the log says why"
}

// observe measures the version in force and whether the file is refused.
func (r *reload) observe(p metric.MeterProvider) error {
	meter := p.Meter("github.com/usherhq/usher/pkg/app")
	_, err := meter.Int64ObservableGauge("usher.config.reload_failed",
		metric.WithDescription("1 while the configuration file is not in force"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			failed := int64(0)
			if r.refused.Load() != nil {
				failed = 1
			}
			o.Observe(failed)
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make metrics of the configuration: %w", err)
	}
	_, err = meter.Int64ObservableGauge("usher.config.info",
		metric.WithDescription("1, by the version of the configuration in force"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(1, metric.WithAttributes(attribute.String("version", r.live.Current().Version)))
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make metrics of the configuration: %w", err)
	}
	return nil
}

// follow keeps the process's configuration that of its file, if it has one; a pipe is read once.
// One service asks the broker for all.
func (p *process) follow(ctx context.Context, group *errgroup.Group, e *Env, s Service) {
	if about, err := os.Stat(p.reload.path); err == nil && !about.Mode().IsRegular() || p.reload.path == "" {
		return
	}
	p.reload.log, p.reload.admit = e.Log, p.admitted(e, s)
	group.Go(func() error { p.reload.follow(ctx); return nil })
}

// admitted returns what is asked before a configuration is in force: the tenants that are gone may
// go, and the streams are as the configuration says. With Setup they are made so.
func (p *process) admitted(e *Env, s Service) func(context.Context, *tenant.Config) error {
	return func(ctx context.Context, next *tenant.Config) error {
		current := e.Config.Current()
		for _, t := range current.Tenants {
			if _, stays := next.Tenant(t.ID); stays {
				continue
			}
			if err := mayGo(ctx, e, t); err != nil {
				return err
			}
		}
		topology := Topology(next)
		switch {
		case reflect.DeepEqual(topology, Topology(current)):
			return nil
		case p.options.Setup:
			return topology.Apply(ctx, e.Bus.JetStream())
		}
		return topology.Verify(ctx, e.Bus.JetStream(), s.Name)
	}
}

// mayGo returns why a tenant must stay: some process may still take registrations for it, or some
// are open, which no stage could finish.
func mayGo(ctx context.Context, e *Env, t *tenant.Tenant) error {
	if !t.Disabled {
		return fmt.Errorf("tenant %s is gone; put it back with disabled: true and take it out when its registrations are finished", t.ID)
	}
	open, err := e.Vault.Count(ctx, t.ID)
	if err == nil && open > 0 {
		err = fmt.Errorf("tenant %s is gone and has %d open registrations; put it back with disabled: true until they are finished", t.ID, open)
	}
	return err
}
