package webhooks

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
)

// feed is where events come from.
type feed interface {
	Feed(ctx context.Context, tenant string, after uint64, limit int) ([]bus.FeedEvent, error)
	FeedEnd(ctx context.Context, tenant string) (uint64, error)
	FeedFrom(ctx context.Context, tenant string, at time.Time) (uint64, error)
}

// teller publishes what was ordered.
type teller interface {
	Publish(ctx context.Context, tenant, registration string, e events.Event) error
}

// checker tells what is wrong with a URL.
type checker func(ctx context.Context, url string) error

// Why an endpoint cannot be changed as asked.
var (
	ErrNone      = errors.New("the tenant has no such webhook")
	ErrTooMany   = fmt.Errorf("the tenant has %d webhooks, as many as it can", mostEndpoints)
	ErrSecrets   = fmt.Errorf("the webhook has %d secrets that still sign, as many as it can", mostSecrets)
	ErrNoEvent   = errors.New("the tenant's feed has no such event")
	ErrBusy      = errors.New("too many requests to receivers are under way")
	ErrNoFeed    = bus.ErrNoFeed
	ErrCursor    = store.ErrCursor
	ErrNotLatest = errContention
)

// URLError says what is wrong with a URL.
type URLError struct{ Reason string }

func (e *URLError) Error() string { return e.Reason }

// mostEndpoints bounds those of a tenant.
const mostEndpoints = 2000

// Registry keeps the endpoints of all tenants. What changes them is told first as a fact of the
// tenant. Safe for concurrent use.
type Registry struct {
	endpoints  *store.Docs[Endpoint]
	courses    *store.Docs[course]
	deliveries *store.Docs[Delivery]
	keys       sealer
	feed       feed
	teller     teller
	check      checker
	learned    func(Endpoint) // is called with each that this process has changed; NewDispatcher sets it
}

// NewRegistry returns the endpoints in a store that has the Schemas.
func NewRegistry(b store.Backend, keys sealer, f feed, t teller, check func(ctx context.Context, url string) error) *Registry {
	return &Registry{
		endpoints: store.NewDocs(b, endpointSchema, Endpoint.fields), courses: store.NewDocs(b, courseSchema, course.fields),
		deliveries: store.NewDocs(b, deliverySchema, Delivery.fields), keys: keys, feed: f, teller: t, check: check, learned: func(Endpoint) {},
	}
}

// tell records who has ordered a change, before it is made.
func (r *Registry) tell(ctx context.Context, tenant, actor, id, change string) error {
	e := events.WebhookChanged{ID: rand.Text(), Actor: actor, Webhook: id, Change: change}
	if err := r.teller.Publish(ctx, tenant, "", e); err != nil {
		return fmt.Errorf("record order: %w", err)
	}
	return nil
}

// Create stores a new endpoint, which is enabled, and returns it with what its receiver verifies
// with. From nil begins with what comes next, else with what follows that place of the feed.
func (r *Registry) Create(ctx context.Context, actor string, e Endpoint, a Algorithm, from *uint64) (made Endpoint, secret string, err error) {
	if err := r.checkURL(ctx, e.URL); err != nil {
		return e, "", err
	}
	n, err := r.endpoints.Count(ctx, store.Fields{"tenant": e.Tenant})
	if err != nil {
		return e, "", fmt.Errorf("count webhooks: %w", err)
	}
	if n >= mostEndpoints {
		return e, "", ErrTooMany
	}
	if from != nil {
		e.Begin = *from
	} else if e.Begin, err = r.feed.FeedEnd(ctx, e.Tenant); err != nil {
		return e, "", err
	}
	e.ID, e.State = rand.Text(), Enabled
	s, secret, err := newSecret(r.keys, a, e.Tenant, e.ID, time.Now())
	if err != nil {
		return e, "", err
	}
	e.Secrets = []Secret{s}
	if err := r.tell(ctx, e.Tenant, actor, e.ID, "created"); err != nil {
		return e, "", err
	}
	e.CreatedAt = time.Now().UnixMilli() // not before: who looks for changes finds late ones late
	e.ChangedAt = e.CreatedAt
	if err := r.endpoints.Insert(ctx, e.ID, e); err != nil {
		return e, "", err
	}
	r.learned(e)
	return e, secret, nil
}

func (r *Registry) checkURL(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := r.check(ctx, url); err != nil {
		return &URLError{err.Error()}
	}
	return nil
}

// Get returns an endpoint of a tenant, or ErrNone.
func (r *Registry) Get(ctx context.Context, tenant, id string) (Endpoint, error) {
	s, err := r.get(ctx, tenant, id)
	return s.Value, err
}

func (r *Registry) get(ctx context.Context, tenant, id string) (store.Stored[Endpoint], error) {
	if !events.ValidToken(id) {
		return store.Stored[Endpoint]{}, ErrNone
	}
	s, err := r.endpoints.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (s.Value.Tenant != tenant || s.Value.State == Deleted) {
		return store.Stored[Endpoint]{}, ErrNone
	}
	return s, err
}

// List returns a page of a tenant's endpoints, oldest first.
func (r *Registry) List(ctx context.Context, tenant, after string, limit int) (page []Endpoint, next string, err error) {
	stored, next, err := r.endpoints.Find(ctx, store.Query{Where: store.Fields{"tenant": tenant}, Order: "createdAt", After: after, Limit: limit})
	for _, s := range stored {
		page = append(page, s.Value)
	}
	return page, next, err
}

// change edits an endpoint of a tenant after it is told who ordered what.
func (r *Registry) change(ctx context.Context, tenant, id, actor, what string, edit func(*Endpoint) error) (Endpoint, error) {
	told := false
	for range changeTries {
		s, err := r.get(ctx, tenant, id)
		if err != nil {
			return Endpoint{}, err
		}
		if err := edit(&s.Value); err != nil {
			return Endpoint{}, err
		}
		if !told {
			if err := r.tell(ctx, tenant, actor, id, what); err != nil {
				return Endpoint{}, err
			}
			told = true
		}
		s.Value.ChangedAt = max(time.Now().UnixMilli(), s.Value.ChangedAt+1)
		s, err = r.endpoints.Update(ctx, s)
		if err == nil {
			r.learned(s.Value)
		}
		if !errors.Is(err, store.ErrConflict) {
			return s.Value, err
		}
	}
	return Endpoint{}, errContention
}

// Patch changes what is not nil. What was paused or disabled and is enabled goes on where it was:
// what is pending is due at once.
type Patch struct {
	URL         *string
	Description *string
	Types       *[]string
	Ordered     *bool
	State       *State // Enabled or Paused
}

// Change applies a patch.
func (r *Registry) Change(ctx context.Context, tenant, id, actor string, p Patch) (Endpoint, error) {
	if p.URL != nil {
		if err := r.checkURL(ctx, *p.URL); err != nil {
			return Endpoint{}, err
		}
	}
	what := "updated"
	if p.State != nil {
		what = string(*p.State)
	}
	e, err := r.change(ctx, tenant, id, actor, what, func(e *Endpoint) error { p.Apply(e); return nil })
	if err != nil || p.State == nil && p.URL == nil {
		return e, err
	}
	return e, changeCourse(ctx, r.courses, e, func(c *course) { c.wake(time.Now()) })
}

// Apply makes the changes in e.
func (p Patch) Apply(e *Endpoint) {
	set(&e.URL, p.URL)
	set(&e.Description, p.Description)
	set(&e.Types, p.Types)
	set(&e.Ordered, p.Ordered)
	if p.State != nil {
		e.State, e.Reason = *p.State, ""
	}
}

func set[T any](field *T, to *T) {
	if to != nil {
		*field = *to
	}
}

// Delete removes an endpoint; what is kept of it goes later.
func (r *Registry) Delete(ctx context.Context, tenant, id, actor string) error {
	_, err := r.change(ctx, tenant, id, actor, "deleted", func(e *Endpoint) error { e.State, e.Secrets = Deleted, nil; return nil })
	return err
}

// disable stops deliveries for a reason, as the actor policy. One that is not enabled any more stays
// as it is.
func (r *Registry) disable(ctx context.Context, tenant, id, reason string) error {
	errAlready := errors.New("it is not enabled")
	_, err := r.change(ctx, tenant, id, "policy", "disabled", func(e *Endpoint) error {
		if e.State != Enabled {
			r.learned(*e)
			return errAlready
		}
		e.State, e.Reason = Disabled, reason
		return nil
	})
	if errors.Is(err, errAlready) {
		return nil
	}
	return err
}

// AddSecret makes another secret and ends the others after a time, those that end before as before.
func (r *Registry) AddSecret(ctx context.Context, tenant, id, actor string, a Algorithm, endOthers time.Duration) (s Secret, shown string, err error) {
	now := time.Now()
	if s, shown, err = newSecret(r.keys, a, tenant, id, now); err != nil {
		return s, "", err
	}
	_, err = r.change(ctx, tenant, id, actor, "secret_added", func(e *Endpoint) error {
		var live []Secret
		for _, old := range e.Secrets {
			end := now.Add(endOthers).UnixMilli()
			if old.ExpiresAt == 0 || old.ExpiresAt > end {
				old.ExpiresAt = end
			}
			if old.live(now) {
				live = append(live, old)
			}
		}
		if len(live) >= mostSecrets {
			return ErrSecrets
		}
		e.Secrets = append(live, s)
		return nil
	})
	return s, shown, err
}
