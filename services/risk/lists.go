package risk

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/risk/screening"
)

// listsEvery is how often the directory of lists is looked at.
const listsEvery = 2 * time.Second

// screener screens against the lists in use and knows how it stands with them.
type screener struct {
	screening.Screener
	set    atomic.Pointer[lists.Set] // in which the entries of hits are looked up
	status func() []lists.Status
}

// newScreener loads the lists of a directory and follows them until ctx ends. Without a directory
// there is the demonstration's list alone, as without a configuration there are its tenants alone.
// A list that is not there yet is no error: decisions wait for it.
func newScreener(ctx context.Context, dir string, log *slog.Logger) *screener {
	s := &screener{}
	if dir == "" {
		demo := lists.Demo()
		s.Use(&lists.Set{Lists: []*lists.List{demo}})
		s.status = func() []lists.Status {
			return []lists.Status{{List: demo.ID, State: lists.Current, Version: demo.Version(), Entries: len(demo.Entries), Confirmed: time.Now()}}
		}
		return s
	}
	w := lists.NewWatcher(lists.Settings{Dir: dir, Every: listsEvery, Log: log}, s.Use)
	s.status = w.Status
	w.Look() // what is there at the start is in use before the first decision
	go w.Run(ctx)
	return s
}

// usable reports whether a decision of the policy may rest on its lists: all are there, none is
// older than the policy allows. Of a list whose files became broken the version before counts.
func (s *screener) usable(p *tenant.Screening) bool {
	all := s.status()
	return !slices.ContainsFunc(p.Lists, func(id string) bool {
		i := slices.IndexFunc(all, func(l lists.Status) bool { return l.List == id })
		if i < 0 || all[i].State == lists.Missing || all[i].Version == "" {
			return true
		}
		return p.MaxAge > 0 && time.Since(all[i].Confirmed) > time.Duration(p.MaxAge)
	})
}

// warning tells which lists are not as their files should be, or are named by a policy and not
// there; or that a policy's are too old.
func (s *screener) warning(c *tenant.Config) string {
	states := map[string]lists.State{}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(c.Policies)) {
		p := c.Policies[name].Screening
		for _, id := range p.Lists {
			states[id] = lists.Missing
		}
		if !p.Off && !s.usable(p) {
			wrong = append(wrong, "policy "+name+" has not all its lists")
		}
	}
	for _, l := range s.status() {
		states[l.List] = l.State
	}
	for _, id := range slices.Sorted(maps.Keys(states)) {
		if states[id] != lists.Current {
			wrong = append(wrong, id+" is "+string(states[id]))
		}
	}
	return strings.Join(wrong, ", ")
}

// observe measures how many policies cannot decide for want of lists; alarm on it.
func (s *screener) observe(p metric.MeterProvider, config func() *tenant.Config) error {
	_, err := p.Meter("github.com/usherhq/usher/services/risk").Int64ObservableGauge("usher.risk.policies_without_lists",
		metric.WithDescription("policies of which a list is missing or too old"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			var without int64
			for _, p := range config().Policies {
				if !p.Screening.Off && !s.usable(p.Screening) {
					without++
				}
			}
			o.Observe(without)
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make metrics of the lists: %w", err)
	}
	return nil
}
