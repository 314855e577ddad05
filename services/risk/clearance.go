package risk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

var clearanceSchema = store.Schema{Collection: "clearances", Index: [][]string{{"registration"}}}

// clearance remembers that a reviewer found a person not to be an entry of a list. Its id is a
// keyed hash of the person and of the entry's content, so that it is not found any more when
// either has changed. It holds no person.
type clearance struct {
	Tenant       string `json:"tenant"`
	Registration string `json:"registration"` // of the review
	Case         int    `json:"case"`         // that the review decided
	Actor        string `json:"actor"`
}

func (c clearance) fields() store.Fields { return store.Fields{"registration": c.Registration} }

// clearanceID is "" for an entry that is not in the version of its list that was searched: the
// list was replaced since.
func (s *service) clearanceID(tenant string, person []byte, h events.Hit, versions string) (string, error) {
	entry, ok := s.lists.entry(h, versions)
	if !ok {
		return "", nil
	}
	content, err := json.Marshal(entry)
	if err != nil {
		return "", fmt.Errorf("encode entry of a list: %w", err)
	}
	digest := sha256.Sum256(content)
	mac, err := s.keys.MAC(keys.Index, "clearance", tenant, person, []byte(h.List), digest[:])
	if err != nil {
		return "", fmt.Errorf("hash person and entry: %w", err)
	}
	return hex.EncodeToString(mac), nil
}

// whose is what of an applicant makes the person for a clearance: all that is screened, and what
// keeps persons of the same name apart.
func whose(a events.Applicant) ([]byte, error) {
	screened := personOf(a)
	for i, name := range screened.Names {
		screened.Names[i] = strings.ToLower(name)
	}
	return json.Marshal([]any{screened, a.CanonicalEmail, a.NationalID})
}

// recall takes out of what screening found the hits that a review has cleared for this person
// before, each with a reason that says so; clears are the ids for the clearances of those that
// remain.
func (s *service) recall(ctx context.Context, t *tenant.Tenant, a events.Applicant, found screened) (rest screened, clears []string, err error) {
	if len(found.hits) == 0 {
		return found, nil, nil
	}
	person, err := whose(a)
	if err != nil {
		return found, nil, errors.New("encode person for a clearance")
	}
	ids := make([]string, len(found.hits))
	for i, h := range found.hits {
		if ids[i], err = s.clearanceID(t.ID, person, h, found.versions); err != nil {
			return found, nil, err
		}
	}
	cleared, err := s.clearances.GetMany(ctx, slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" })...)
	if err != nil {
		return found, nil, fmt.Errorf("read clearances: %w", err)
	}
	rest = found
	rest.hits, rest.reasons = nil, nil
	for i, h := range found.hits {
		if c, ok := cleared[ids[i]]; ok {
			rest.reasons = append(rest.reasons, c.Value.reason(h))
			continue
		}
		rest.hits = append(rest.hits, h)
		if ids[i] != "" {
			clears = append(clears, ids[i])
		}
	}
	if len(rest.reasons) == 0 {
		return found, clears, nil
	}
	rest.reasons = append(rest.reasons, hitReasons(t.Policy.Screening, rest.hits, rest.more)...)
	for _, r := range found.reasons {
		if r.Rule != tenant.ScreeningHit {
			rest.reasons = append(rest.reasons, r)
		}
	}
	return rest, clears, nil
}

func (c clearance) reason(h events.Hit) events.Reason {
	return events.Reason{Rule: tenant.ScreeningCleared, Label: fmt.Sprintf("entry %s of list %s, cleared by case %d of %s", h.Entry, h.List, c.Case, c.Registration)}
}

// clear remembers that the hits of a case are not the person.
func (s *service) clear(ctx context.Context, in events.Record, r events.ReviewDecided, reviewed decision) error {
	c := clearance{Tenant: in.Subject.Tenant, Registration: in.Subject.Registration, Case: r.Case, Actor: r.Actor}
	for _, id := range reviewed.Clears {
		if _, _, err := s.clearances.InsertOrGet(ctx, id, c); err != nil {
			return fmt.Errorf("store clearance: %w", err)
		}
	}
	// An erasure puts its tombstone first: one that did not see these is seen here.
	now, err := s.decisions.Get(ctx, decisionID(in.Subject.Registration, reviewed.Found.Case))
	if err != nil {
		return fmt.Errorf("read the decision that was reviewed: %w", err)
	}
	if now.Value.Erased {
		return s.forgetClearances(ctx, in.Subject.Registration)
	}
	return nil
}

// forgetClearances forgets what the reviews of a registration cleared.
func (s *service) forgetClearances(ctx context.Context, registration string) error {
	for {
		found, _, err := s.clearances.Find(ctx, store.Query{Where: store.Fields{"registration": registration}, Limit: 100})
		if err != nil {
			return fmt.Errorf("find clearances: %w", err)
		}
		if len(found) == 0 {
			return nil
		}
		for _, c := range found {
			if err := s.clearances.Delete(ctx, c.ID); err != nil {
				return fmt.Errorf("delete clearance: %w", err)
			}
		}
	}
}

// Use puts a set of lists in the place of the one before, for searches and for their entries.
func (s *screener) Use(set *lists.Set) {
	s.Screener.Use(set)
	s.set.Store(set)
}

// entry returns the entry that a hit names, if its list is in use in one of the versions.
func (s *screener) entry(h events.Hit, versions string) (e lists.Entry, ok bool) {
	set := s.set.Load()
	if set == nil {
		return e, false
	}
	e, version, ok := set.Entry(h.List, h.Entry)
	return e, ok && strings.Contains(" "+versions+" ", " "+h.List+"="+version+" ")
}
