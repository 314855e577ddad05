package accounts

import (
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/vault"
)

func TestAPersonWhoIsKnownIsToldBeforeATakenUserName(t *testing.T) {
	const institution = "01111"
	w := newWorld(t)
	register := func(id, username, member, ssn string) events.Event {
		w.people[id] = vault.Entry{Registration: events.Registration{Username: username, MemberNumber: member,
			Applicant: events.Applicant{NationalID: &events.NationalID{Type: "US_SSN", Value: ssn}}}}
		e := events.Categorized{Carried: events.Carried{MAC: "mac", Vault: 7}}
		subject := events.Subject{Tenant: institution, Registration: id, Step: events.StepRisk, N: "1"}
		return mustEvent(w.onRegistrationCategorized(t.Context(), bus.In[events.Categorized]{Record: events.Record{Subject: subject, Event: e, Stored: noon}, Data: e}))
	}
	if e, ok := register("r1", "test.user1", "468531842", "123456789").(events.AccountCreated); !ok {
		t.Fatalf("got %v", e)
	}
	for name, c := range map[string]struct{ username, member, ssn, want string }{
		"everything":                     {"test.user1", "468531842", "123456789", events.CodeDuplicateNationalID},
		"user name and member number":    {"TEST.user1", "468531842", "987654321", events.CodeDuplicateMember},
		"the same number, with hyphens":  {"other.user", "468531843", "123-45-6789", events.CodeDuplicateNationalID},
		"the social security number":     {"other.user", "468531843", "123456789", events.CodeDuplicateNationalID},
		"the member number, other case":  {"other.user", "468531842", "987654321", events.CodeDuplicateMember},
		"the user name, in another case": {"Test.User1", "468531843", "987654321", events.CodeDuplicateUsername},
	} {
		t.Run(name, func(t *testing.T) {
			rejected, ok := register("again "+name, c.username, c.member, c.ssn).(events.Rejected)
			if !ok || len(rejected.Violations) != 1 || rejected.Violations[0].Code != c.want {
				t.Errorf("got %v, want %s", rejected.Violations, c.want)
			}
		})
	}
}
