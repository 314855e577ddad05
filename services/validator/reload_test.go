package validator

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// version is the demonstration changed, as another version.
func version(name string, change func(*tenant.Tenant)) *tenant.Config {
	c := *tenant.Demo()
	t := *c.Tenants[0]
	t.ConfigVersion, c.Version = name, name
	change(&t)
	c.Tenants = []*tenant.Tenant{&t}
	return &c
}

// together gives out a tenant once both replicas have asked: each then decides under its own
// version before either has stored anything.
type together struct {
	tenants
	both *sync.WaitGroup
}

func (c together) Tenant(id string) (*tenant.Tenant, bool) {
	t, known := c.tenants.Tenant(id)
	c.both.Done()
	c.both.Wait()
	return t, known
}

func TestReplicasUnderTwoVersionsPublishOneDecision(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	one := newService(t, applicant("native"))
	other := *one
	one.config = together{version("lenient", func(*tenant.Tenant) {}), &both}
	other.config = together{version("strict", func(t *tenant.Tenant) { t.Roles = []string{"NOBODY"} }), &both}

	outcomes := make(chan events.Event, 2)
	for _, s := range []*service{one, &other} {
		go func() {
			e, err := s.onRegistrationRequested(context.Background(), requestedWith("m1"))
			if err != nil {
				t.Error(err)
			}
			outcomes <- e
		}()
	}
	for _, e := range []events.Event{<-outcomes, <-outcomes} {
		stored, err := one.decisions.Get(t.Context(), "r1")
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case events.Validated:
			if e.Versions.Config != "lenient" || stored.Value.Config != "lenient" {
				t.Errorf("accepted under %s, stored under %s", e.Versions.Config, stored.Value.Config)
			}
		case events.Rejected:
			if e.Versions.Config != "strict" || stored.Value.Config != "strict" {
				t.Errorf("rejected under %s, stored under %s", e.Versions.Config, stored.Value.Config)
			}
		default:
			t.Errorf("got %v", e)
		}
	}
}

func TestARegistrationOfADialectThatWasSwitchedOffIsDecided(t *testing.T) {
	none := version("none", func(t *tenant.Tenant) { t.Dialects = tenant.Dialects{} })
	for channel := range rules {
		s := newService(t, applicant(channel))
		s.config = none
		if e, err := s.onRegistrationRequested(t.Context(), requestedWith("m1")); err != nil || e == nil {
			t.Errorf("%s: %v, %v", channel, e, err)
		}
	}
}

// nobody is a vault without entries: what was there is finished.
type nobody struct{}

func (nobody) Get(context.Context, string, string, uint64) (vault.Entry, error) {
	return vault.Entry{}, vault.ErrMissing
}

func TestALateRedeliveryOfATenantThatIsGoneIsJudgedByItsHistory(t *testing.T) {
	s := newService(t, applicant("native"))
	s.config, s.persons = &tenant.Config{}, nobody{}
	if _, err := s.onRegistrationRequested(t.Context(), requestedWith("m1")); !errors.Is(err, vault.ErrMissing) {
		t.Errorf("got %v", err)
	}
}
