package risk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// onRegistrationValidated decides once: a redelivery, a replica and a later policy all find
// and publish the stored decision.
func (s *service) onRegistrationValidated(ctx context.Context, in bus.In[events.Validated]) (events.Event, error) {
	d, err := s.decided(ctx, in, 1)
	if err != nil {
		return nil, fmt.Errorf("assess: %w", err)
	}
	if d.Outcome == tenant.Wait && d.MAC == in.Data.MAC {
		return s.await(ctx, in, d)
	}
	return s.conclude(ctx, in.Record, in.Data.Carried, d)
}

// A registration that waits for lists looks for them after a quarter of the time it has waited,
// within these bounds: many that wait for long do not keep the service busy.
const (
	soonestLook = 2 * time.Second
	latestLook  = time.Minute
)

// await tells that the registration waits, then parks it until the lists are usable.
func (s *service) await(ctx context.Context, in bus.In[events.Validated], waits decision) (events.Event, error) {
	look := s.now().Add(min(max(s.now().Sub(in.Stored)/4, soonestLook), latestLook))
	_, told, err := s.told(ctx, in.Subject, 1)
	if err != nil {
		return nil, err
	}
	if !told {
		return waits.event(in.Data.Carried), bus.Later(look)
	}
	d, err := s.decided(ctx, in, 2)
	if errors.Is(err, errWaiting) {
		return nil, bus.Later(look)
	}
	if err != nil {
		return nil, fmt.Errorf("assess after waiting: %w", err)
	}
	return s.conclude(ctx, in.Record, in.Data.Carried, d)
}

// afterTold is when a message that told of a review is handled again.
const afterTold = time.Second

// conclude tells of a decision, which the message in brought about. A review then keeps that
// message parked until nobody may decide it any more but the policy. The entry of the vault in
// which the person was before goes once the event has named the other.
func (s *service) conclude(ctx context.Context, in events.Record, carried events.Carried, d decision) (events.Event, error) {
	if d.Outcome != tenant.Review || d.MAC != carried.MAC {
		return d.event(carried), nil
	}
	required, told, err := s.told(ctx, in.Subject, d.Found.Case)
	if err != nil {
		return nil, err
	}
	if !told {
		return d.event(carried), bus.Later(s.now().Add(afterTold))
	}
	if carried.Vault != d.Vault {
		if err := s.persons.Delete(ctx, in.Subject.Tenant, in.Subject.Registration, carried.Vault); err != nil {
			return nil, err
		}
	}
	limit := time.Duration(d.MaxReview) * time.Second
	if due := required.Stored.Add(limit); s.now().Before(due) {
		return nil, bus.Later(due)
	}
	return events.ReviewDecided{
		Case: d.Found.Case + 1, Approved: d.Unreviewed == tenant.Approve, Actor: events.ByPolicy, Reason: "nobody decided within " + limit.String(),
	}, nil
}

// told reads what the stream's leader has as the outcome of a case version.
func (s *service) told(ctx context.Context, of events.Subject, version int) (r events.Record, told bool, err error) {
	of.Step, of.N = events.StepRisk, strconv.Itoa(version)
	r, err = s.history.StoredAt(ctx, of)
	if errors.Is(err, bus.ErrAbsent) {
		return r, false, nil
	}
	return r, err == nil, err
}
