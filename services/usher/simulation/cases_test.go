package simulation

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/app"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// Cases that seeds have shown to be wrong once.

// A message comes again after its registration was decided and its person taken out of the vault,
// and the replica that is asked for the history lacks the decision.
func TestAMissingPersonIsJudgedByTheLeaderWhereAReplicaLags(t *testing.T) {
	b := newBroker(newFaults(1))
	b.faults.script = func(_, what string) verdict {
		if strings.HasPrefix(what, "$JS.API.DIRECT.GET."+bus.Registrations) {
			return lagging
		}
		return proceed
	}
	t.Cleanup(b.close)
	s := &site{t: t, dial: func() (*nats.Conn, error) { return connect(b, &process{name: "test"}) }}
	s.nc = s.connect()
	var err error
	s.js, err = jetstream.New(s.nc)
	must(t, err)
	must(t, app.Topology(tenant.Demo()).Apply(t.Context(), s.js))
	must(t, s.bus(events.Gateway).Publish(t.Context(), acme, "r1", events.Requested{}))
	validator := s.bus(events.Validator)
	must(t, validator.Publish(t.Context(), acme, "r1", events.Validated{}))

	asked := make(chan struct{}, 1)
	s.runs(validator, func(context.Context, bus.In[events.Requested]) (events.Event, error) {
		asked <- struct{}{}
		return nil, vault.ErrMissing
	})
	<-asked
	s.owes(bus.Registrations, "validator-requested", 0, 0)
	letters, err := validator.DeadLetters(t.Context(), 1, 10)
	if err != nil || len(letters) > 0 {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
}
