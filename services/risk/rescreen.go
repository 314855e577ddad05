package risk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

const (
	rescreenEvery = 10 * time.Second
	rescreenPage  = 200
	rescreenLease = time.Minute
	// settled is after how long nobody can become a customer any more with an earlier time: clocks
	// of replicas differ, and writes take their time.
	settled = 30 * time.Second

	defaultRate = 100 // customers per second
	lowestRate  = 5   // a page is then done within its lease
)

// rescreenRate reads how many customers a second are screened again at most.
func rescreenRate(getenv func(string) string) (int, error) {
	text := getenv("USHER_RESCREEN_RATE")
	if text == "" {
		return defaultRate, nil
	}
	rate, err := strconv.Atoi(text)
	if err != nil || rate < lowestRate || rate > 10_000 {
		return 0, fmt.Errorf("USHER_RESCREEN_RATE is not a whole number from %d to 10000; give customers per second", lowestRate)
	}
	return rate, nil
}

// teller publishes an event once; bus.ErrExists means that it is told.
type teller interface {
	Publish(ctx context.Context, tenant, registration string, e events.Event) error
}

// rescreener screens customers again when the lists in use change. Of several processes one works
// on a tenant at a time; what two do by mistake is the same.
type rescreener struct {
	config    func() *tenant.Config
	lists     *screener
	customers *customers
	runs      *store.Docs[Rescreening]
	history   history
	teller    teller
	pace      time.Duration // of a customer
	log       *slog.Logger
	now       func() time.Time
	me        string // tells this process apart from others

	noticed map[string]notice // by tenant
	known   sync.Map          // tenant to Rescreening, as last read
}

// notice is what this process screens a tenant's applicants against, and since when.
type notice struct {
	lists, basis string
	since        int64
}

// basis names all that a policy's screening depends on, besides the person.
func basis(p *tenant.Screening, versions string) string {
	return fmt.Sprintf("%s from %d in %s", strings.Join(p.Lists, ","), p.ReviewAt, versions)
}

// run works until ctx ends.
func (r *rescreener) run(ctx context.Context) {
	tick := time.NewTicker(rescreenEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for r.round(ctx) {
		}
		if err := r.customers.purge(ctx, unfinished(r.config().Broker)); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "applicants will be forgotten later", "error", err)
		}
	}
}

// round does a page of each tenant, so that one with many customers does not keep the others
// waiting. more says that there is more to do now.
func (r *rescreener) round(ctx context.Context) (more bool) {
	for _, t := range r.config().Tenants {
		again, err := r.advance(ctx, t)
		if err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "customers will be screened again later", "tenant", t.ID, "error", err)
		}
		more = more || again
	}
	return more && ctx.Err() == nil
}

// advance screens a page of a tenant's customers, if there is one now and no other process is at
// it. A kill repeats the page. more says that there may be another.
func (r *rescreener) advance(ctx context.Context, t *tenant.Tenant) (more bool, err error) {
	if t.Policy.Screening.Off || !r.lists.usable(t.Policy.Screening) {
		return false, nil
	}
	mine, err := r.notice(ctx, t)
	if err != nil {
		return false, err
	}
	s, ours, err := r.current(ctx, t.ID, mine)
	if err != nil || !ours {
		return false, err
	}
	page, full, err := r.page(ctx, s.Value)
	ends := s.Value.Completed == 0 && !full && s.Value.Begun <= r.now().Add(-settled).UnixMilli()
	if err != nil || len(page) == 0 && s.Version > 0 && !ends {
		return false, err
	}
	s.Value.Holder, s.Value.Until = r.me, r.now().Add(rescreenLease).UnixMilli()
	if s, err = r.save(ctx, s); err != nil {
		return false, taken(err)
	}
	if full && s.Value.Completed == 0 {
		if err := r.tellProgress(ctx, &s.Value); err != nil {
			return false, err
		}
	}
	if err := r.screenAll(ctx, t, &s.Value, page); err != nil {
		return false, err
	}
	s.Value.Until = 0
	if ends {
		if err := r.complete(ctx, t.ID, &s.Value); err != nil {
			return false, err
		}
	}
	_, err = r.save(ctx, s)
	return err == nil && full, taken(err)
}

// taken makes nothing of a conflict: another process has the run.
func taken(err error) error {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// notice finds out what versions are in use, and tells of those that are new.
func (r *rescreener) notice(ctx context.Context, t *tenant.Tenant) (notice, error) {
	status := r.lists.status()
	versions := map[string]string{}
	for _, l := range status {
		if l.Version != "" {
			versions[l.List] = l.Version
		}
	}
	now := notice{versionsOf(versions), basis(t.Policy.Screening, versionsOf(versions)), r.now().UnixMilli()}
	if before := r.noticed[t.ID]; before.basis == now.basis {
		return before, nil
	}
	for _, l := range status {
		if !slices.Contains(t.Policy.Screening.Lists, l.List) {
			continue
		}
		err := r.teller.Publish(ctx, t.ID, "", events.ListActivated{List: l.List, Version: l.Version, Entries: l.Entries})
		if err != nil && !errors.Is(err, bus.ErrExists) {
			return notice{}, err
		}
	}
	r.noticed[t.ID] = now
	return now, nil
}

// page finds the next customers after the last; full says that there may be more after them. Of one
// nanosecond there are fewer than a page.
func (r *rescreener) page(ctx context.Context, run Rescreening) (page []store.Stored[customer], full bool, err error) {
	page, _, err = r.customers.docs.Find(ctx, store.Query{
		Where: store.Fields{"tenant": run.Tenant},
		Range: &store.Range{Field: "since", From: run.Since, To: r.now().Add(-settled).UnixNano()}, Order: "since", Limit: rescreenPage,
	})
	if err != nil {
		return nil, false, fmt.Errorf("find customers: %w", err)
	}
	full = len(page) == rescreenPage // before those go that were looked at
	return slices.DeleteFunc(page, func(s store.Stored[customer]) bool {
		return cmp.Or(cmp.Compare(s.Value.Since, run.Since), cmp.Compare(s.ID, run.Last)) <= 0
	}), full, nil
}

// errSuperseded says that the lists were changed under a run.
var errSuperseded = errors.New("the lists have changed")

// screenAll screens a page, at the rate. A customer whose key is missing or whose record is damaged
// does not keep the others waiting.
func (r *rescreener) screenAll(ctx context.Context, t *tenant.Tenant, run *Rescreening, page []store.Stored[customer]) error {
	tick := time.NewTicker(r.pace)
	defer tick.Stop()
	for _, c := range page {
		if c.Value.Basis != run.Basis {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			opened, err := r.screen(ctx, t, run.Lists, c)
			switch {
			case errors.Is(err, keys.ErrUnsealable), errors.Is(err, keys.ErrUnknownKey):
				r.log.ErrorContext(ctx, "a customer cannot be screened again: what is kept does not open", "tenant", t.ID, "registration", c.ID, "error", err)
				run.Skipped++
			case err != nil:
				return err
			}
			run.Opened += opened
		}
		run.Looked++
		run.Since, run.Last = c.Value.Since, c.ID
	}
	return nil
}

// screen opens a case for each hit of a customer that nobody knows yet.
func (r *rescreener) screen(ctx context.Context, t *tenant.Tenant, lists string, c store.Stored[customer]) (opened int64, err error) {
	person, err := r.customers.open(c)
	if err != nil {
		return 0, err
	}
	found, err := r.lists.screen(t.Policy.Screening, person)
	if err != nil {
		return 0, err
	}
	if found.versions != lists {
		return 0, errSuperseded
	}
	for _, hit := range found.hits {
		id := hitID(c.ID, hit.List, hit.Entry, found.prints[hit.List+"/"+hit.Entry])
		if slices.Contains(c.Value.Known, id) {
			continue
		}
		is, err := r.openCase(ctx, events.CaseOpened{Case: id, Version: 1, NextVersion: 2, Registration: c.ID, Hit: hit, Lists: lists}, t.ID)
		if err != nil {
			return opened, fmt.Errorf("open case: %w", err)
		}
		if is {
			opened++
		}
	}
	return opened, nil
}

// openCase tells of a case, unless it is known. It reports whether this run has opened it, now or
// before a kill.
func (r *rescreener) openCase(ctx context.Context, e events.CaseOpened, tenant string) (bool, error) {
	told, err := r.history.StoredAt(ctx, events.SubjectOf(tenant, "", e))
	if err == nil {
		before, is := told.Event.(events.CaseOpened)
		return is && before.Lists == e.Lists, nil
	}
	if !errors.Is(err, bus.ErrAbsent) {
		return false, err
	}
	c, err := r.customers.docs.Get(ctx, e.Registration)
	if err != nil {
		return false, err
	}
	if c.Value.State != active { // forgotten since the page was read
		return false, r.customers.persons.Clear(ctx, tenant, ofCase(e.Registration))
	}
	if e.Vault, err = r.customers.expose(ctx, c, e); err != nil {
		return false, err
	}
	if err := r.teller.Publish(ctx, tenant, "", e); err != nil && !errors.Is(err, bus.ErrExists) {
		return false, err
	}
	return true, nil
}

// tellProgress tells each tenth once.
func (r *rescreener) tellProgress(ctx context.Context, run *Rescreening) error {
	tenths := run.tenths()
	if tenths < run.Tenths {
		return nil
	}
	err := r.teller.Publish(ctx, run.Tenant, "", events.CustomersScreening{Run: run.Run, Lists: run.Lists, Tenths: tenths, Looked: run.Looked, Customers: run.Customers, Opened: run.Opened})
	if err != nil && !errors.Is(err, bus.ErrExists) {
		return err
	}
	run.Tenths = tenths + 1
	return nil
}

// complete tells that all who were customers have been screened, and how many could not be.
func (r *rescreener) complete(ctx context.Context, tenant string, run *Rescreening) error {
	err := r.teller.Publish(ctx, tenant, "", events.CustomersScreened{Run: run.Run, Lists: run.Lists, Screened: run.Looked - run.Skipped, Skipped: run.Skipped, Opened: run.Opened})
	if err != nil && !errors.Is(err, bus.ErrExists) {
		return err
	}
	run.Completed = r.now().UnixMilli()
	r.log.InfoContext(ctx, "customers screened again", "tenant", tenant, "lists", run.Lists, "customers", run.Looked, "skipped", run.Skipped, "cases", run.Opened)
	return nil
}
