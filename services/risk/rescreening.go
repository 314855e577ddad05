package risk

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/usherhq/usher/pkg/store"
)

var rescreeningSchema = store.Schema{Collection: "rescreenings"}

// Rescreening is how far a tenant's customers have been screened under the lists in use. A document
// for each tenant holds it: whoever takes over goes on where the last one was. After the end those
// who become customers are looked at as they come, in case their decision rests on other lists.
type Rescreening struct {
	Tenant string `json:"tenant"`
	Run    int    `json:"run"`   // from 1
	Lists  string `json:"lists"` // versions, as in events.Versions
	Basis  string `json:"basis"`
	// InUse is since when, in Unix milliseconds, the process that began the run has this basis. One
	// that has another for longer is about to get this; only one that got another later begins anew.
	InUse int64 `json:"inUse"`

	Customers int64 `json:"customers"` // at the beginning
	Looked    int64 `json:"looked"`    // at so many
	Skipped   int64 `json:"skipped"`   // of these: what is kept of them does not open
	Opened    int64 `json:"opened"`    // cases
	Tenths    int   `json:"tenths"`    // so many have been told, with the beginning
	Begun     int64 `json:"begun"`     // Unix milliseconds
	Completed int64 `json:"completed,omitempty"`

	// The last customer looked at, in the order in which they became customers.
	Since int64  `json:"since"`
	Last  string `json:"last"`

	Holder string `json:"holder"` // the process that works on it
	Until  int64  `json:"until"`  // Unix milliseconds: then another may
}

func (Rescreening) fields() store.Fields { return nil }

// Left is how many customers are still to be screened.
func (run Rescreening) Left() int64 {
	if run.Completed > 0 {
		return 0
	}
	return max(0, run.Customers-run.Looked)
}

// tenths is how many tenths of the customers have been looked at.
func (run Rescreening) tenths() int { return int(min(10, 10*run.Looked/max(1, run.Customers))) }

// Rescreenings reads how far each tenant is, in a store of risk.
func Rescreenings(ctx context.Context, b store.Backend) ([]Rescreening, error) {
	docs := store.NewDocs(b, rescreeningSchema, Rescreening.fields)
	var all []Rescreening
	for after := ""; ; {
		page, next, err := docs.Find(ctx, store.Query{Limit: 1000, After: after})
		if err != nil {
			return nil, fmt.Errorf("read re-screenings: %w", err)
		}
		for _, s := range page {
			all = append(all, s.Value)
		}
		if after = next; next == "" {
			return all, nil
		}
	}
}

// current reads a tenant's run, or begins it. ours is false where another process works on it, or
// has lists that are newer than those here.
func (r *rescreener) current(ctx context.Context, id string, mine notice) (s store.Stored[Rescreening], ours bool, err error) {
	s, err = r.runs.Get(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return s, false, fmt.Errorf("read re-screening: %w", err)
	}
	r.remember(s.Value)
	if err == nil && s.Value.Basis == mine.basis {
		return s, s.Value.Holder == r.me || s.Value.Until < r.now().UnixMilli(), nil
	}
	if err == nil && s.Value.InUse >= mine.since {
		return s, false, nil
	}
	n, err := r.customers.docs.Count(ctx, store.Fields{"tenant": id})
	if err != nil {
		return s, false, fmt.Errorf("count customers: %w", err)
	}
	s.ID = id
	s.Value = Rescreening{Tenant: id, Run: s.Value.Run + 1, Lists: mine.lists, Basis: mine.basis, InUse: mine.since, Customers: n, Begun: r.now().UnixMilli()}
	return s, true, nil
}

func (r *rescreener) save(ctx context.Context, s store.Stored[Rescreening]) (store.Stored[Rescreening], error) {
	var err error
	if s.Version == 0 {
		s.Version, err = 1, r.runs.Insert(ctx, s.ID, s.Value)
	} else {
		s, err = r.runs.Update(ctx, s)
	}
	if err != nil {
		return s, fmt.Errorf("store re-screening: %w", err)
	}
	r.remember(s.Value)
	return s, nil
}

func (r *rescreener) remember(run Rescreening) {
	if run.Tenant != "" {
		r.known.Store(run.Tenant, run)
	}
}

// observe measures how many customers are still to be screened, by tenant, as this process last
// read it.
func (r *rescreener) observe(p metric.MeterProvider) error {
	_, err := p.Meter("github.com/usherhq/usher/services/risk").Int64ObservableGauge("usher.risk.rescreening.left",
		metric.WithDescription("customers still to be screened under the lists in use, by tenant"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			r.known.Range(func(id, run any) bool {
				o.Observe(run.(Rescreening).Left(), metric.WithAttributes(attribute.String("tenant", id.(string))))
				return true
			})
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make metrics of re-screening: %w", err)
	}
	return nil
}
