package risk

import (
	"time"

	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
)

// mostCounted is where the counts of velocity end: it stands for as many and more.
const mostCounted = 1000

// window is a time of which registrations are counted: so many whole minutes by the clock, of
// which the last is that of the registration. Registrations of one minute thus count together.
type window struct {
	name string
	long time.Duration
}

var windows = []window{{"LastMinute", time.Minute}, {"LastHour", time.Hour}, {"LastDay", 24 * time.Hour}}

// things are what registrations are counted by, as the facts name them.
var things = map[string]string{byDevice: "device", byNetwork: "address", byDomain: "emailDomain", byTenant: "tenant"}

// velocities are the facts that count a field.
var velocities = func() map[string][]string {
	facts := map[string][]string{}
	for field, thing := range things {
		for _, w := range windows {
			facts[field] = append(facts[field], thing+w.name)
		}
	}
	return facts
}()

// during asks for the counts that rules of the policy use, of what is known of the registration.
func (g sighting) during(p *tenant.Policy) (all []question) {
	end := time.Unix(0, g.At).Truncate(time.Minute).Add(time.Minute)
	for _, field := range []string{byDevice, byNetwork, byDomain, byTenant} {
		for i, w := range windows {
			fact := velocities[field][i]
			if g.Marks[field] == "" || !p.Asks(fact) {
				continue
			}
			span := store.Range{Field: sightingAt, From: end.Add(-w.long).UnixNano(), To: end.UnixNano() - 1}
			all = append(all, question{fact, store.Tally{Field: field, Value: g.Marks[field], Range: span, Most: mostCounted}})
		}
	}
	return all
}
