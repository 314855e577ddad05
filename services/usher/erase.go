package usher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// eraseCommand reads NATS_URL and, to verify, what verification names.
type eraseCommand struct {
	ID     string        `arg:"" help:"The registration's id."`
	Tenant string        `help:"Its tenant. Needed where the broker has forgotten the registration."`
	Wait   time.Duration `default:"1m" help:"How long to wait until every service has answered."`
	Verify bool          `help:"Erase nothing: search everything for what is left of the person."`
	verification
	format
}

// erased is how far an erasure is.
type erased struct {
	ID       string           `json:"id"`
	Tenant   string           `json:"tenant"`
	Erased   bool             `json:"erased"`             // with --verify: no service has yet to answer
	Awaits   []events.Service `json:"awaits"`             // have not answered
	Searched []string         `json:"searched,omitempty"` // with --verify: what, and how much of it
	Left     []string         `json:"left,omitempty"`     // with --verify: where something of the person is left
}

func (eraseCommand) shape() any {
	return erased{Awaits: []events.Service{""}, Searched: []string{""}, Left: []string{""}}
}

func (e eraseCommand) Run(ctx context.Context, out io.Writer) error {
	if !events.ValidToken(e.ID) || e.Tenant != "" && !events.ValidToken(e.Tenant) {
		return errors.New("the id and --tenant have letters, digits, - and _ only")
	}
	b, done, err := dial(ctx, bus.EraserUser)
	if err != nil {
		return err
	}
	defer done()
	tenant, err := e.tenantOf(ctx, b)
	if err != nil {
		return err
	}
	report := &erased{ID: e.ID, Tenant: tenant, Awaits: events.Services}
	told := out
	if e.Output == outputJSON {
		told = io.Discard
	}
	if e.Verify {
		err = e.verify(ctx, b, report, told)
	} else {
		err = e.erase(ctx, b, report, told)
	}
	if e.Output == outputJSON {
		err = errors.Join(err, writeJSON(out, report))
	}
	return err
}

func (e eraseCommand) erase(ctx context.Context, b *bus.Bus, report *erased, out io.Writer) error {
	err := b.Publish(ctx, report.Tenant, e.ID, events.ErasureRequested{Actor: actor()})
	if err != nil && !errors.Is(err, bus.ErrExists) {
		return fmt.Errorf("store the erasure: %w", err)
	}
	return e.await(ctx, b, report, out)
}

// actor is who the operating system says runs the command.
func actor() string {
	if u, err := user.Current(); err == nil {
		return "operator " + u.Username
	}
	return "operator"
}

// tenantOf is the registration's tenant. That of --tenant counts only where the broker has forgotten
// the registration: an erasure under a wrong one says nothing of whose it is.
func (e eraseCommand) tenantOf(ctx context.Context, b *bus.Bus) (string, error) {
	history, err := b.HistoryOf(ctx, e.ID)
	if err != nil {
		return "", err
	}
	known := ""
	for _, r := range history {
		if r.Subject.Step != events.StepErasure && r.Subject.Step != events.StepErased {
			known = r.Subject.Tenant
			break
		}
	}
	switch {
	case known != "" && e.Tenant != "" && e.Tenant != known:
		return "", fmt.Errorf("--tenant %s has no such registration: it is one of tenant %s; nothing is erased", e.Tenant, known)
	case known != "":
		return known, nil
	case e.Tenant != "":
		return e.Tenant, nil
	case len(history) > 0:
		return history[0].Subject.Tenant, nil
	}
	return "", errors.New("the broker has no such registration; if it is only older than the broker keeps, name its --tenant")
}

// await tells who has answered, as they do, until all have.
func (e eraseCommand) await(ctx context.Context, b *bus.Bus, report *erased, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, e.Wait)
	defer cancel()
	for {
		history, err := b.LeaderHistory(ctx, report.Tenant, e.ID)
		if err == nil {
			awaits := events.Awaits(history, events.AfterErasure)
			for _, s := range report.Awaits {
				if !slices.Contains(awaits, s) {
					fmt.Fprintf(out, "%s has erased\n", s)
				}
			}
			if report.Awaits = awaits; len(awaits) == 0 {
				report.Erased, report.Awaits = true, []events.Service{}
				fmt.Fprintf(out, "%s is ERASED; `usher erase --verify` proves it\n", e.ID)
				return nil
			}
		}
		select {
		case <-ctx.Done():
			if e.Tenant != "" {
				return fmt.Errorf("the erasure is stored and goes on; not yet answered by %v, who never answer if the registration is not one of --tenant %s", report.Awaits, report.Tenant)
			}
			return fmt.Errorf("the erasure is stored and goes on; not yet answered by %v", report.Awaits)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
