package risk

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

var decisionSchema = store.Schema{Collection: "assessments", Index: [][]string{{"decidedAt"}}}

// decision is the outcome of one case version of a registration. It never changes, until it is
// erased, and holds no person.
type decision struct {
	Tenant   string            `json:"tenant"`
	MAC      string            `json:"requestMac"`
	Outcome  tenant.Outcome    `json:"outcome,omitempty"` // none: categorized
	Found    events.Assessment `json:"found"`
	Claimed  string            `json:"claimed,omitempty"`
	Category events.Category   `json:"category"` // also of a review: what an approval assigns
	Features []events.Feature  `json:"features"`

	// Of what the policy decided: when the registration was validated, in Unix milliseconds, and what
	// another policy could decide on.
	DecidedAt int64     `json:"decidedAt,omitempty"`
	Evidence  *evidence `json:"evidence,omitempty"`

	underReview
	// fresh, which is not stored, says that nothing was tried for the case version before.
	fresh bool
	// Erased makes it a tombstone: the person is to stay erased, whatever comes.
	Erased bool `json:"erased,omitempty"`
}

// underReview is what a decision that demands a review has besides.
type underReview struct {
	Vault      uint64         `json:"vault,omitempty"`      // the entry into which the person was put back
	MaxReview  int64          `json:"maxReview,omitempty"`  // seconds that a person may take to decide
	Unreviewed tenant.Outcome `json:"unreviewed,omitempty"` // the outcome after that
	FourEyes   bool           `json:"fourEyes,omitempty"`   // an approval needs a second person
	FirstActor string         `json:"firstActor,omitempty"` // who approved first, and may not be the second
	// Clears are the ids of the clearances that the review gives if the hits are other persons.
	Clears []string `json:"clears,omitempty"`
}

func (d decision) fields() store.Fields {
	if d.Evidence == nil {
		return nil
	}
	return store.Fields{"decidedAt": d.DecidedAt}
}

// decisionID is the id of the document of a registration's case version.
func decisionID(registration string, version int) string {
	if version == 1 {
		return registration
	}
	return registration + "/" + strconv.Itoa(version)
}

// errWaiting says that the lists are still not usable.
var errWaiting = errors.New("the lists are missing or stale")

// decide comes to the outcome of a case version. Only the first can be to wait: the second waits
// with errWaiting, at most as long as the policy lets it.
func (s *service) decide(ctx context.Context, in bus.In[events.Validated], version int) (decision, error) {
	entry, err := s.persons.Get(ctx, in.Subject.Tenant, in.Subject.Registration, in.Data.Vault)
	if err != nil {
		return decision{}, err
	}
	t, known := s.config.Tenant(in.Subject.Tenant)
	if !known {
		return decision{}, errors.New("tenant is not configured")
	}
	found, usable := s.screen(t.Policy.Screening, entry.Registration.Applicant)
	waits := !usable && patient(t.Policy.Screening, s.now().Sub(in.Stored))
	if waits && version > 1 {
		return decision{}, errWaiting
	}
	own, err := s.sight(ctx, in, t, entry.Registration)
	if err != nil {
		return decision{}, err
	}
	d := decision{Tenant: t.ID, MAC: in.Data.MAC, Claimed: claimed(entry.Registration.Claim)}
	if waits {
		d.Outcome, d.Found = tenant.Wait, events.Assessment{Case: version, By: events.ByPolicy, Versions: versions(t, found)}
		return d, nil
	}
	seen := found // also what a review has cleared before
	found, clears, err := s.recall(ctx, t, entry.Registration.Applicant, found)
	if err != nil {
		return decision{}, err
	}
	others, err := s.compare(ctx, t.Policy, in.Subject.Registration, own)
	if err != nil {
		return decision{}, err
	}
	facts := factsOf(t.Policy, entry.Registration, in.Stored)
	found.tell(&facts)
	others.tell(&facts)
	values := facts.Values()
	d.Found, d.DecidedAt = assess(t, found, values), in.Stored.UnixMilli()
	d.Found.PossibleDuplicateOf = others.duplicates
	d.Evidence = evidenceOf(t.Policy, found, values, d.Found)
	d.Found.Case, d.Outcome = version, demanded(d.Found.Reasons)
	d.Category, d.Features = assign(t.Catalog, entry.Registration.Claim, d.Found)
	if d.Outcome != tenant.Refuse { // before the vault: it tells whether this is tried again
		d.fresh, err = s.customers.keep(ctx, t.ID, in.Subject.Registration, entry.Registration.Applicant, t.Policy.Screening, seen)
	}
	if err == nil && d.Outcome == tenant.Review {
		d.MaxReview, d.Unreviewed = int64(time.Duration(t.Policy.MaxReview).Seconds()), t.Policy.Unreviewed
		d.FourEyes, d.Clears = t.Policy.FourEyes, clears
		d.Vault, err = s.persons.PutBack(ctx, t.ID, in.Subject.Registration, decisionID(in.Subject.Registration, version), entry)
	}
	return d, err
}

// patient reports whether a registration that has waited so long goes on waiting for the lists.
func patient(p *tenant.Screening, waited time.Duration) bool {
	return p.Outage == tenant.Wait && waited < time.Duration(p.MaxWait)
}

// assess is what the policy says of the facts and of what screening found.
func assess(t *tenant.Tenant, found screened, values rules.Values) events.Assessment {
	a := score(t.Policy, values)
	a.By, a.Versions = events.ByPolicy, versions(t, found)
	a.Hits, a.MoreHits, a.PEP = found.hits, found.more, found.pep
	a.Reasons = append(found.reasons, a.Reasons...)
	return a
}

func versions(t *tenant.Tenant, found screened) events.Versions {
	return events.Versions{Config: t.ConfigVersion, Policy: t.Policy.Version, Catalog: t.Catalog.Version, Lists: found.versions}
}

// decided returns the decision of a case version: the one that is stored, else the one that it
// comes to now, stored. Of two replicas that put the person back the entry of one remains; of an
// attempt that put the person back for a review which another policy then did not demand, none.
func (s *service) decided(ctx context.Context, in bus.In[events.Validated], version int) (decision, error) {
	var own decision
	stored, err := s.decisions.Once(ctx, decisionID(in.Subject.Registration, version), func() (decision, error) {
		var err error
		own, err = s.decide(ctx, in, version)
		return own, err
	})
	if err == nil && own.Vault != stored.Value.Vault && own.Vault > 0 {
		err = s.persons.Delete(ctx, in.Subject.Tenant, in.Subject.Registration, own.Vault)
	}
	if err == nil && stored.Value.Outcome != tenant.Review && !own.fresh {
		err = s.persons.TakeBack(ctx, in.Subject.Tenant, in.Subject.Registration, decisionID(in.Subject.Registration, version))
	}
	return stored.Value, err
}

// reviewed is the decision that follows from a review. Under four eyes an approval by the first
// person makes another review; so would one by the same person again.
func (d decision) reviewed(r events.ReviewDecided) decision {
	d.Found.Case, d.Found.By = r.Case, r.Actor
	d.DecidedAt, d.Evidence = 0, nil // of the decision under review
	if d.FourEyes && r.Approved && r.Actor != events.ByPolicy && (d.FirstActor == "" || d.FirstActor == r.Actor) {
		d.FirstActor = r.Actor
		return d
	}
	d.Outcome, d.underReview = "", underReview{}
	if !r.Approved {
		d.Outcome = tenant.Refuse
	}
	return d
}

// event tells of the decision. Another content under the same id is an idempotency key used
// again after the broker forgot its first use.
func (d decision) event(c events.Carried) events.Event {
	if d.Erased {
		return events.StillErased(events.Risk, c.Vault)
	}
	refused := events.Rejected{At: events.StepRisk, Case: d.Found.Case, Versions: d.Found.Versions, Vault: c.Vault}
	if d.MAC != c.MAC {
		refused.Violations = []events.Violation{{Code: events.CodeIdempotencyKeyReused}}
		return refused
	}
	switch d.Outcome {
	case tenant.Refuse:
		refused.Violations, refused.Assessment = []events.Violation{{Code: events.CodeRefused}}, &d.Found
		return refused
	case tenant.Review:
		c.Vault = d.Vault
		return events.ReviewRequired{Carried: c, Assessment: d.Found, NextCase: d.Found.Case + 1, FirstActor: d.FirstActor, MaxReviewSeconds: d.MaxReview}
	case tenant.Wait:
		return events.ScreeningWait{Carried: c, Case: d.Found.Case, NextCase: d.Found.Case + 1, Versions: d.Found.Versions}
	}
	return events.Categorized{Carried: c, Assessment: d.Found, Claimed: d.Claimed, Category: d.Category, Features: d.Features}
}
