package risk

import (
	"context"
	"errors"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
)

// onReviewDecided makes of the one decision of a case the next case version's outcome, whoever
// decided: for good, or under four eyes another review. An approval assigns what the policy
// assigned when it asked for the review.
func (s *service) onReviewDecided(ctx context.Context, in bus.In[events.ReviewDecided]) (events.Event, error) {
	asked, told, err := s.told(ctx, in.Subject, in.Data.Case-1)
	if err != nil {
		return nil, err
	}
	required, is := asked.Event.(events.ReviewRequired)
	if !told || !is {
		return nil, bus.Permanent("NO_REVIEW", errors.New("nobody asked for this review"))
	}
	stored, err := s.decisions.Get(ctx, decisionID(in.Subject.Registration, required.Case))
	if err != nil {
		return nil, fmt.Errorf("read the decision under review: %w", err)
	}
	if stored.Value.Erased {
		return stored.Value.event(required.Carried), nil
	}
	next, err := s.decisions.Once(ctx, decisionID(in.Subject.Registration, in.Data.Case), func() (decision, error) {
		return stored.Value.reviewed(in.Data), nil
	})
	if err != nil {
		return nil, fmt.Errorf("store what the review decided: %w", err)
	}
	if next.Value.Outcome == tenant.Refuse {
		if err := s.customers.forget(ctx, in.Subject.Tenant, in.Subject.Registration); err != nil {
			return nil, fmt.Errorf("forget the refused: %w", err)
		}
	}
	if in.Data.ClearsHits() && next.Value.Outcome == "" && !next.Value.Erased {
		if err := s.clear(ctx, in.Record, in.Data, stored.Value); err != nil {
			return nil, err
		}
	}
	return s.conclude(ctx, in.Record, required.Carried, next.Value)
}
