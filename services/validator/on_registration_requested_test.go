package validator

import (
	"context"
	"reflect"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

const cloudVault = "d1e2f3a4-b5c6-47d8-9e0f-1a2b3c4d5e6f"

// onePerson is a vault with one entry.
type onePerson struct{ events.Registration }

func (p onePerson) Get(context.Context, string, string, uint64) (vault.Entry, error) {
	return vault.Entry{Registration: p.Registration}, nil
}

func newService(t *testing.T, r events.Registration) *service {
	t.Helper()
	b := storetest.Embedded(t, decisionSchema)
	return &service{config: tenant.Demo(), persons: onePerson{r}, decisions: store.NewDocs(b, decisionSchema, decision.fields)}
}

func requestedWith(mac string) bus.In[events.Requested] {
	e := events.Requested{Carried: events.Carried{Channel: "native", MAC: mac, Vault: 7}}
	return bus.In[events.Requested]{Record: events.Record{Subject: events.SubjectOf(cloudVault, "r1", e), Event: e, Stored: receipt}, Data: e}
}

func outcome(t *testing.T, s *service, mac string) events.Event {
	t.Helper()
	e, err := s.onRegistrationRequested(t.Context(), requestedWith(mac))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestARedeliveryAfterAConfigurationChangePublishesTheStoredDecision(t *testing.T) {
	s := newService(t, applicant("native"))
	first, ok := outcome(t, s, "m1").(events.Validated)
	if !ok || first.Vault != 7 {
		t.Fatalf("got %v", first)
	}
	changed := *tenant.Demo()
	stricter := *changed.Tenants[0]
	stricter.Roles = []string{"NOBODY"}
	changed.Tenants = []*tenant.Tenant{&stricter}
	changed.Version = "changed"

	// The mutant: deciding again does come to another outcome, so the check below can fail.
	s.config = &changed
	again, err := s.decide(t.Context(), requestedWith("m1"))
	if err != nil || len(again.Violations) == 0 {
		t.Fatalf("the changed configuration decides alike: %v, %v", again, err)
	}
	if second := outcome(t, s, "m1"); !reflect.DeepEqual(second, events.Event(first)) {
		t.Errorf("got %v, first %v", second, first)
	}
}

func TestAnIdThatComesBackWithOtherContentIsAReusedKey(t *testing.T) {
	s := newService(t, applicant("native"))
	outcome(t, s, "m1")
	r, ok := outcome(t, s, "m2").(events.Rejected)
	if !ok || r.Violations[0].Code != events.CodeIdempotencyKeyReused {
		t.Errorf("got %v", r)
	}
}

func TestATenantThatIsNotConfiguredYetIsTriedAgain(t *testing.T) {
	s := newService(t, applicant("native"))
	s.config = &tenant.Config{}
	if e, err := s.onRegistrationRequested(t.Context(), requestedWith("m1")); err == nil {
		t.Errorf("got %v", e)
	}
}
