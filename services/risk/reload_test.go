package risk

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/lists"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

type onePerson struct{ events.Registration }

func (p onePerson) Get(context.Context, string, string, uint64) (vault.Entry, error) {
	return vault.Entry{Registration: p.Registration}, nil
}

func (onePerson) PutBack(context.Context, string, string, string, vault.Entry) (uint64, error) {
	return 8, nil
}

func (onePerson) TakeBack(context.Context, string, string, string) error { return nil }

func (onePerson) Clear(context.Context, string, string) error { return nil }

func (onePerson) Delete(context.Context, string, string, uint64) error { return nil }

var quiet = slog.New(slog.DiscardHandler)

// silent is a stream that has told of nothing yet.
type silent struct{}

func (silent) StoredAt(context.Context, events.Subject) (events.Record, error) {
	return events.Record{}, bus.ErrAbsent
}

// jane is on no list.
var jane = events.Registration{Channel: "native", Applicant: events.Applicant{GivenName: "Jane", FamilyName: "Appleby"}}

// keyDir has the keys of all tests: making some takes long.
var keyDir string

func TestMain(m *testing.M) {
	var err error
	if keyDir, err = os.MkdirTemp("", "keys"); err != nil {
		panic(err)
	}
	if err := keys.Generate(filepath.Join(keyDir, "keys")); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(keyDir)
	os.Exit(code)
}

func testKeys(t testing.TB) *keys.Ring {
	t.Helper()
	ring, err := keys.Open(filepath.Join(keyDir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newService(t testing.TB, r events.Registration) *service {
	t.Helper()
	return newServiceOn(t, newStore(t), r)
}

func newStore(t testing.TB) store.Backend {
	t.Helper()
	b := storetest.Embedded(t, Service.Schemas...)
	return b
}

func newServiceOn(t testing.TB, b store.Backend, r events.Registration) *service {
	t.Helper()
	ring := testKeys(t)
	return &service{
		config: tenant.Demo(), persons: onePerson{r}, history: silent{}, lists: newScreener(t.Context(), "", quiet), keys: ring,
		decisions:  store.NewDocs(b, decisionSchema, decision.fields),
		sightings:  store.NewDocs(b, sightingSchema, sighting.fields),
		clearances: store.NewDocs(b, clearanceSchema, clearance.fields), now: func() time.Time { return noon },
		customers: &customers{docs: store.NewDocs(b, customerSchema, customer.fields), keys: ring, persons: onePerson{r}, now: func() time.Time { return noon }},
	}
}

func validated() bus.In[events.Validated] {
	e := events.Validated{Carried: events.Carried{Channel: "native", MAC: "m1", Vault: 7, Config: "requested"}}
	return bus.In[events.Validated]{Record: events.Record{Subject: events.SubjectOf(demoTenant().ID, "r1", e), Event: e, Stored: noon}, Data: e}
}

// version is the demonstration under a policy that gives everybody so many points. Policy, catalog
// and configuration have the same version.
func version(name string, points int) *tenant.Config {
	c := *tenant.Demo()
	t := *c.Tenants[0]
	policy, catalog := *t.Policy, *t.Catalog
	policy.Version, policy.Rules = name, []tenant.RiskRule{rule(name, "channel == 'native'", points, "")}
	catalog.Version = name
	t.ConfigVersion, t.Policy, t.Catalog = name, &policy, &catalog
	c.Version, c.Tenants = name, []*tenant.Tenant{&t}
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

func TestReplicasUnderTwoVersionsPublishOneAssessment(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	one := newService(t, jane)
	other := *one
	one.config, other.config = together{version("low", 1), &both}, together{version("high", 80), &both}
	outcomes := make(chan events.Event, 2)
	for _, s := range []*service{one, &other} {
		go func() {
			e, err := s.onRegistrationValidated(context.Background(), validated())
			if err != nil {
				t.Error(err)
			}
			outcomes <- e
		}()
	}
	first, _ := (<-outcomes).(events.Categorized)
	second, _ := (<-outcomes).(events.Categorized)
	if len(first.Reasons) != 1 || first.Reasons[0] != second.Reasons[0] || first.Versions != second.Versions {
		t.Errorf("one says %+v, the other %+v", first.Assessment, second.Assessment)
	}
	rule := first.Reasons[0].Rule
	if want := (events.Versions{Config: rule, Policy: rule, Catalog: rule, Lists: "demo=" + lists.Demo().Version()}); first.Versions != want {
		t.Errorf("rule %s decided under %+v", rule, first.Versions)
	}
}

func TestARedeliveryUnderANewPolicyPublishesTheStoredAssessment(t *testing.T) {
	s := newService(t, jane)
	s.config = version("low", 1)
	first, err := s.onRegistrationValidated(t.Context(), validated())
	if err != nil {
		t.Fatal(err)
	}
	s.config = version("high", 80)
	again, err := s.onRegistrationValidated(t.Context(), validated())
	if err != nil {
		t.Fatal(err)
	}
	if again.(events.Categorized).Versions.Config != "low" || again.(events.Categorized).Score != first.(events.Categorized).Score {
		t.Errorf("first %+v, again %+v", first, again)
	}
	// The mutant: deciding again does come to another outcome, so the check above can fail.
	if a, err := s.decide(t.Context(), validated(), 1); err != nil || a.Found.Score != 80 {
		t.Errorf("the new policy decides alike: %+v, %v", a, err)
	}
}

func TestACategoryThatIsGoneCountsAsNotClaimedAndIsStillTold(t *testing.T) {
	s := newService(t, events.Registration{Channel: "native", Applicant: jane.Applicant, Claim: &events.CategoryClaim{ID: "fs-cat-b2c-low-001"}})
	without := version("without", 1)
	catalog := without.Tenants[0].Catalog
	catalog.Categories = catalog.Categories[:1] // the default
	s.config = without
	e, err := s.onRegistrationValidated(t.Context(), validated())
	if err != nil {
		t.Fatal(err)
	}
	c := e.(events.Categorized)
	if c.Category.ID != catalog.DefaultCategory || c.Claimed != "fs-cat-b2c-low-001" || c.Versions.Catalog != "without" {
		t.Errorf("assigned %s, claimed %s under %+v", c.Category.ID, c.Claimed, c.Versions)
	}
}

type nobody struct{ onePerson }

func (nobody) Get(context.Context, string, string, uint64) (vault.Entry, error) {
	return vault.Entry{}, vault.ErrMissing
}

func TestATenantThatIsNotConfiguredIsTriedAgainUntilItsRegistrationIsFinished(t *testing.T) {
	s := newService(t, jane)
	s.config = &tenant.Config{}
	if e, err := s.onRegistrationValidated(t.Context(), validated()); err == nil || errors.Is(err, vault.ErrMissing) {
		t.Errorf("an open one: %v, %v", e, err)
	}
	s.persons = nobody{}
	if _, err := s.onRegistrationValidated(t.Context(), validated()); !errors.Is(err, vault.ErrMissing) {
		t.Errorf("a finished one: %v", err)
	}
}
