package risk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/rules"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// crowd are the people in the vault, by registration.
type crowd struct {
	onePerson
	mu     sync.Mutex
	people map[string]events.Registration
}

func (c *crowd) Get(_ context.Context, _, registration string, _ uint64) (vault.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return vault.Entry{Registration: c.people[registration]}, nil
}

// comparing is a service that decides on many, under rules.
type comparing struct {
	*service
	*crowd
	t       testing.TB
	backend store.Backend
}

func newComparing(t testing.TB, all ...tenant.RiskRule) *comparing {
	b := newStore(t)
	c := &comparing{newServiceOn(t, b, jane), &crowd{people: map[string]events.Registration{}}, t, b}
	c.persons = c.crowd
	config := version("v", 1)
	config.Tenants[0].Policy.Rules = all
	other := *config.Tenants[0]
	other.ID = "other"
	config.Tenants = append(config.Tenants, &other)
	c.config = config
	return c
}

// handle decides on a registration of a tenant that was validated at a time.
func (c *comparing) handle(tenant, id string, r events.Registration, at time.Time) events.Categorized {
	c.t.Helper()
	c.mu.Lock()
	c.people[id] = r
	c.mu.Unlock()
	e := events.Validated{Carried: events.Carried{Channel: "native", MAC: "m1", Vault: 7}}
	in := bus.In[events.Validated]{Record: events.Record{Subject: events.SubjectOf(tenant, id, e), Event: e, Stored: at}, Data: e}
	out, err := c.onRegistrationValidated(context.Background(), in)
	if err != nil {
		c.t.Error(err)
	}
	told, _ := out.(events.Categorized)
	return told
}

func (c *comparing) decides(id string, r events.Registration) events.Categorized {
	c.t.Helper()
	return c.handle(cloudVault, id, r, noon)
}

// ingrid tells all that the same person is found by.
func ingrid(change ...func(*events.Applicant)) events.Registration {
	a := events.Applicant{
		GivenName: "Ingrid", FamilyName: "Solveig", BirthDate: "1990-05-15", Phone: "+37060012345", CanonicalEmail: "i@solveig.example",
		Addresses: []events.Address{{Lines: []string{"123 Main Street"}, City: "Vilnius", PostalCode: "LT-12345", Country: "LT"}},
	}
	for _, f := range change {
		f(&a)
	}
	return events.Registration{Channel: "native", Applicant: a, Client: events.Client{Address: "192.0.2.7", DeviceID: "device-1"}}
}

func TestTheSamePersonIsFoundByNameBirthDateAndPhoneOrAddress(t *testing.T) {
	elsewhere := func(a *events.Applicant) {
		a.Addresses = []events.Address{{Lines: []string{"1 Other Road"}, PostalCode: "1", Country: "LT"}}
	}
	newPhone := func(a *events.Applicant) { a.Phone = "+37060099999" }
	for sentence, test := range map[string]struct {
		first, second events.Registration
		same          bool
	}{
		"told alike":                             {ingrid(), ingrid(), true},
		"another phone":                          {ingrid(), ingrid(newPhone), true},
		"another address":                        {ingrid(), ingrid(elsewhere), true},
		"another phone and address":              {ingrid(), ingrid(newPhone, elsewhere), false},
		"names the other way round, in capitals": {ingrid(), ingrid(func(a *events.Applicant) { a.GivenName, a.FamilyName = "SOLVEIG", "INGRID" }), true},
		"diacritics and a middle name":           {ingrid(), ingrid(func(a *events.Applicant) { a.GivenName, a.MiddleName = "Ïngrid", "Maria" }), true},
		"the name in Cyrillic":                   {ingrid(func(a *events.Applicant) { a.GivenName, a.FamilyName = "Ivan", "Petrov" }), ingrid(func(a *events.Applicant) { a.GivenName, a.FamilyName = "Иван", "Петров" }), true},
		"the address otherwise spelled": {ingrid(newPhone), ingrid(func(a *events.Applicant) {
			a.Addresses[0].Lines = []string{"123, main STREET"}
			a.Addresses[0].PostalCode = "lt12345"
		}), true},
		"the phone otherwise spelled":   {ingrid(elsewhere), ingrid(func(a *events.Applicant) { a.Phone = "+370 600 12345" }), true},
		"a sibling":                     {ingrid(), ingrid(func(a *events.Applicant) { a.GivenName = "Astrid" }), false},
		"a parent of the same name":     {ingrid(), ingrid(func(a *events.Applicant) { a.BirthDate = "1960-05-15" }), false},
		"no birth date":                 {ingrid(func(a *events.Applicant) { a.BirthDate = "" }), ingrid(func(a *events.Applicant) { a.BirthDate = "" }), false},
		"no phone and no address":       {ingrid(func(a *events.Applicant) { a.Phone, a.Addresses = "", nil }), ingrid(func(a *events.Applicant) { a.Phone, a.Addresses = "", nil }), false},
		"a name without letters":        {ingrid(func(a *events.Applicant) { a.GivenName, a.FamilyName = "🐺", "—" }), ingrid(func(a *events.Applicant) { a.GivenName, a.FamilyName = "🐺", "—" }), false},
		"two companies of one director": {ingrid(func(a *events.Applicant) { a.CompanyName = "Fjord Ltd" }), ingrid(func(a *events.Applicant) { a.CompanyName = "Skerry Ltd" }), false},
		"one company of two directors":  {ingrid(func(a *events.Applicant) { a.CompanyName = "Fjord Ltd" }), ingrid(func(a *events.Applicant) { a.CompanyName, a.GivenName = "FJORD LTD", "Astrid" }), true},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := newComparing(t)
			ask := rule("same", "possibleDuplicates > 0", 5, "")
			config := c.config.(*tenant.Config)
			config.Tenants[0].Policy.Rules = []tenant.RiskRule{ask}
			// A name that cannot be read is reviewed; here only what is compared counts.
			config.Tenants[0].Policy.Screening = &tenant.Screening{Off: true}
			if first := c.decides("first", test.first); len(first.PossibleDuplicateOf) != 0 || first.Score != 0 {
				t.Errorf("the first is a duplicate of %v", first.PossibleDuplicateOf)
			}
			second := c.decides("second", test.second)
			if slices.Equal(second.PossibleDuplicateOf, []string{"first"}) != test.same || (second.Score == 5) != test.same {
				t.Errorf("the second is a duplicate of %v, score %d", second.PossibleDuplicateOf, second.Score)
			}
		})
	}
}

func TestTheSamePersonOfAnotherTenantIsNobody(t *testing.T) {
	c := newComparing(t)
	c.decides("first", ingrid())
	if other := c.handle("other", "second", ingrid(), noon); len(other.PossibleDuplicateOf) != 0 {
		t.Errorf("it is a duplicate of %v", other.PossibleDuplicateOf)
	}
}

func TestADecisionNamesTheEarliestTenAndNamesThemForEver(t *testing.T) {
	c := newComparing(t, rule("same", "possibleDuplicates == 10", 5, ""))
	for i := range 14 {
		c.handle(cloudVault, fmt.Sprintf("r%02d", i), ingrid(), noon.Add(time.Duration(-i)*time.Second))
	}
	first := c.decides("last", ingrid())
	want := []string{"r13", "r12", "r11", "r10", "r09", "r08", "r07", "r06", "r05", "r04"}
	if !slices.Equal(first.PossibleDuplicateOf, want) || first.Score != 5 {
		t.Errorf("names %v", first.PossibleDuplicateOf)
	}
	c.handle(cloudVault, "earlier still", ingrid(), noon.Add(-time.Hour))
	if again := c.decides("last", ingrid()); text(again) != text(first) {
		t.Errorf("first %s, then %s", text(first), text(again))
	}
	last := c.decides("r13", ingrid())
	if text(c.decides("r13", ingrid())) != text(last) {
		t.Error("a redelivery is told otherwise")
	}
}

// Of registrations of one person that are decided at the same time, by several replicas, all but
// one at most name another: never do all miss each other.
func TestRegistrationsThatArriveTogetherDoNotMissEachOther(t *testing.T) {
	c := newComparing(t)
	const many = 12
	told := make([]events.Categorized, many)
	var wg sync.WaitGroup
	for i := range many {
		replica := *c.service
		replica.sightings = store.NewDocs(c.backend, sightingSchema, sighting.fields)
		one := &comparing{&replica, c.crowd, t, c.backend}
		wg.Go(func() { told[i] = one.decides(fmt.Sprint("r", i), ingrid()) })
	}
	wg.Wait()
	for i := range many {
		for j := range i {
			a, b := fmt.Sprint("r", i), fmt.Sprint("r", j)
			if !slices.Contains(told[i].PossibleDuplicateOf, b) && !slices.Contains(told[j].PossibleDuplicateOf, a) &&
				len(told[i].PossibleDuplicateOf) < mostDuplicates && len(told[j].PossibleDuplicateOf) < mostDuplicates {
				t.Errorf("%s and %s miss each other: %v, %v", a, b, told[i].PossibleDuplicateOf, told[j].PossibleDuplicateOf)
			}
		}
	}
}

func TestVelocityCountsByDeviceAddressDomainAndTenant(t *testing.T) {
	facts := []string{
		"deviceLastMinute", "deviceLastHour", "deviceLastDay", "addressLastHour", "emailDomainLastHour", "tenantLastMinute", "tenantLastDay",
	}
	var all []tenant.RiskRule
	for _, f := range facts {
		all = append(all, rule(f, f+" >= 0", 1, ""))
	}
	c := newComparing(t, all...)
	other := func(n int) events.Registration {
		r := ingrid(func(a *events.Applicant) {
			a.GivenName, a.CanonicalEmail = fmt.Sprint("Ingrid", n), fmt.Sprintf("i@%d.example", n)
		})
		r.Client = events.Client{Address: fmt.Sprint("192.0.2.", n), DeviceID: fmt.Sprint("device-", n)}
		return r
	}
	// noon is the beginning of a clock's minute.
	c.handle(cloudVault, "yesterday", ingrid(), noon.Add(-24*time.Hour+time.Minute))
	c.handle(cloudVault, "two days ago", ingrid(), noon.Add(-48*time.Hour))
	c.handle(cloudVault, "an hour ago", ingrid(), noon.Add(-59*time.Minute))
	c.handle(cloudVault, "too long ago", ingrid(), noon.Add(-59*time.Minute-time.Nanosecond))
	c.handle(cloudVault, "a second ago", other(9), noon.Add(-time.Second))
	c.handle("other", "of another tenant", ingrid(), noon)
	for range 3 { // a message that comes again counts once
		c.handle(cloudVault, "now", ingrid(), noon)
	}
	c.handle(cloudVault, "a moment later", other(8), noon.Add(30*time.Second))
	got := c.handle(cloudVault, "this", ingrid(), noon.Add(45*time.Second))
	want := map[string]string{
		"deviceLastMinute": "2", "deviceLastHour": "3", "deviceLastDay": "5", "addressLastHour": "3", "emailDomainLastHour": "3",
		"tenantLastMinute": "3", "tenantLastDay": "7",
	}
	for _, f := range facts {
		if got.Facts[f] != want[f] {
			t.Errorf("%s is %s, want %s", f, got.Facts[f], want[f])
		}
	}
}

func TestWhatIsNotToldOrNotAskedIsNotCountedAndNotKept(t *testing.T) {
	c := newComparing(t, rule("device", "deviceLastDay > 5", 1, ""), rule("address", "addressLastDay >= 0", 1, ""))
	silent := ingrid()
	silent.Client = events.Client{}
	if told := c.decides("silent", silent); told.Facts["deviceLastDay"] != "0" || told.Facts["addressLastDay"] != "0" {
		t.Errorf("the rules saw %v", told.Facts)
	}
	c.decides("r1", ingrid())
	stored, err := c.sightings.Get(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{byPhone, byHome, byDevice, byNetwork} {
		if len(stored.Value.Marks[field]) != 2*markBytes {
			t.Errorf("%s is %q", field, stored.Value.Marks[field])
		}
	}
	for _, field := range []string{byDomain, byTenant} {
		if stored.Value.Marks[field] != "" {
			t.Errorf("%s is kept without being asked for", field)
		}
	}
	body, err := json.Marshal(stored.Value)
	if err != nil {
		t.Fatal(err)
	}
	for _, personal := range []string{"Ingrid", "solveig", "1990", "3706", "192.0.2", "device-1", "Main"} {
		if strings.Contains(strings.ToLower(string(body)), strings.ToLower(personal)) {
			t.Errorf("%s is in %s", personal, body)
		}
	}
}

func TestAddressesOfOneNetworkOfIPv6AreOne(t *testing.T) {
	c := newComparing(t, rule("address", "addressLastHour == 2", 7, ""))
	from := func(address string) events.Registration {
		r := ingrid()
		r.Client.Address = address
		return r
	}
	c.decides("r1", from("2001:db8:1:2::1"))
	if told := c.decides("r2", from("2001:db8:1:2:ffff::9")); told.Score != 7 {
		t.Errorf("of one network: %v", told.Facts)
	}
	if told := c.decides("r3", from("2001:db8:1:3::1")); told.Score != 0 {
		t.Errorf("of another: %v", told.Facts)
	}
}

// An erased registration has a document without marks.
func TestWhoIsErasedIsFoundByNobodyAndLeavesNothingWhenDeliveredAgain(t *testing.T) {
	c := newComparing(t)
	c.decides("erased", ingrid())
	stored, err := c.sightings.Get(t.Context(), "erased")
	if err != nil {
		t.Fatal(err)
	}
	stored.Value = sighting{}
	if _, err := c.sightings.Update(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	c.decides("erased", ingrid())
	if told := c.decides("r2", ingrid()); len(told.PossibleDuplicateOf) != 0 {
		t.Errorf("it is a duplicate of %v", told.PossibleDuplicateOf)
	}
}

func TestEveryCountIsAFactOfTheRules(t *testing.T) {
	for _, names := range velocities {
		for _, name := range names {
			if !slices.Contains(rules.Names(), name) {
				t.Errorf("%s is none", name)
			}
		}
	}
}
