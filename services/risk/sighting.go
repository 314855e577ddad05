package risk

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// What registrations are found by: the fields of a sighting.
const (
	byPhone    = "person_phone"   // the same name, birth date and phone
	byHome     = "person_address" // the same name, birth date and address
	byDevice   = "device"
	byNetwork  = "network" // the client's address
	byDomain   = "domain"  // of the mail address
	byTenant   = "tenant"
	sightingAt = "at"
)

// sightingSchema lets a registration be compared with those that were seen before, each by a
// document under its own id: erasing the document is forgetting the person.
var sightingSchema = store.Schema{Collection: "sightings", Index: [][]string{
	{byPhone, sightingAt}, {byHome, sightingAt}, {byDevice, sightingAt}, {byNetwork, sightingAt}, {byDomain, sightingAt}, {byTenant, sightingAt},
}}

// sighting is what a registration leaves for others to be compared with. It is inserted once,
// before anything is compared: of two registrations that are decided at the same time at least
// one finds the other.
type sighting struct {
	At int64 `json:"at"` // Unix nanoseconds of the stream's clock, when it was validated
	// Marks are HMACs under the tenant's index key, by field; of the field tenant its id.
	Marks map[string]string `json:"marks,omitempty"`
}

func (g sighting) fields() store.Fields {
	f := store.Fields{}
	if len(g.Marks) > 0 {
		f[sightingAt] = g.At
	}
	for field, mark := range g.Marks {
		f[field] = mark
	}
	return f
}

// sight stores what a registration is found by and returns what is stored; a redelivery counts
// once. Nothing is stored of one that tells nothing to be found by.
func (s *service) sight(ctx context.Context, in bus.In[events.Validated], t *tenant.Tenant, r events.Registration) (sighting, error) {
	own := sighting{At: in.Stored.UnixNano(), Marks: map[string]string{}}
	for field, value := range tracesOf(t.Policy, r) {
		mac, err := s.keys.MAC(keys.Index, "sighting-"+field, t.ID, []byte(value))
		if err != nil {
			return sighting{}, fmt.Errorf("index %s: %w", field, err)
		}
		own.Marks[field] = hex.EncodeToString(mac[:markBytes])
	}
	if t.Policy.Asks(velocities[byTenant]...) {
		own.Marks[byTenant] = t.ID
	}
	if len(own.Marks) == 0 {
		return own, nil
	}
	stored, _, err := s.sightings.InsertOrGet(ctx, in.Subject.Registration, own)
	if err != nil {
		return sighting{}, fmt.Errorf("store what the registration is found by: %w", err)
	}
	return stored.Value, nil
}

// markBytes of an HMAC are more than enough to tell people apart.
const markBytes = 16

// tracesOf are the values that a registration is found by. Those of velocity are kept where a rule
// of the policy counts them.
func tracesOf(p *tenant.Policy, r events.Registration) map[string]string {
	values := map[string]string{}
	if who := identityOf(r.Applicant); who != "" {
		values[byPhone] = joined(who, digits(r.Applicant.Phone))
		values[byHome] = joined(who, homeOf(r.Applicant.Addresses))
	}
	for field, value := range map[string]string{byDevice: r.Client.DeviceID, byNetwork: r.Client.Network(), byDomain: domainOf(r.Applicant)} {
		if p.Asks(velocities[field]...) {
			values[field] = value
		}
	}
	for field, value := range values {
		if value == "" {
			delete(values, field)
		}
	}
	return values
}

// seen is what the comparison of a registration with others tells.
type seen struct {
	duplicates []string // ids of registrations that may be of the same person, the earliest first
	counts     map[string]int
}

// question is a count of registrations with a mark, and the fact that it is, if any.
type question struct {
	fact string
	store.Tally
}

// compare finds the registrations that have marks of this one. It costs as much where there are
// many as where there are few.
func (s *service) compare(ctx context.Context, p *tenant.Policy, registration string, own sighting) (seen, error) {
	asked := append(own.same(), own.during(p)...)
	tallies := make([]store.Tally, len(asked))
	for i, q := range asked {
		tallies[i] = q.Tally
	}
	counts, err := s.sightings.Tally(ctx, tallies...)
	if err != nil {
		return seen{}, fmt.Errorf("compare with other registrations: %w", err)
	}
	found := seen{counts: map[string]int{}}
	var shared []string
	for i, q := range asked {
		switch {
		case q.fact != "":
			found.counts[q.fact] = int(counts[i])
		case counts[i] > 1: // itself and another
			shared = append(shared, q.Field)
		}
	}
	found.duplicates, err = s.duplicates(ctx, registration, own, shared)
	return found, err
}

// tell adds what the comparison found to the facts of the rules.
func (found seen) tell(f *rules.Facts) {
	f.PossibleDuplicates = len(found.duplicates)
	f.Velocity = found.counts
}
