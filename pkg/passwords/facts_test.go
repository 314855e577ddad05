package passwords

import (
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/tenant"
)

func facts(password string, r events.Registration) events.PasswordFacts {
	return Facts(password, r, &tenant.Tenant{Name: "Nobody's Bank"}, &Blocklist{})
}

func TestCommonPasswords(t *testing.T) {
	for password, want := range map[string]bool{
		"SecurePass123!": false, "SecurePassword123!": false, "correct horse battery staple": false, "Tr0ub4dor&3x": false, "Xk7#mmPq": false,
		"Password8317462910": false, "": false,
		"Password123!": true, "Qwerty123!": true, "Welcome1!": true, "P@ssw0rd!": true, "PASSWORD": true, "12345678": true, "87654321": true,
		"aaaaaaaaaa": true, "abcdefgh": true, "1q2w3e4r": true, "Summer2024!": true, "iloveyou": true, "Ｐassword1": true,
	} {
		if got := facts(password, events.Registration{}).Common; got != want {
			t.Errorf("%q: common is %v, want %v", password, got, want)
		}
	}
}

func TestAVeryLongPasswordIsCountedButNotCompared(t *testing.T) {
	r := events.Registration{Applicant: events.Applicant{GivenName: "Marcus"}}
	got := facts(strings.Repeat("marcus", 1000), r)
	if want := (events.PasswordFacts{Present: true, Length: 6000, Bytes: 6000, Lower: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPasswordsThatResembleTheApplicant(t *testing.T) {
	r := events.Registration{Username: "mj-the-first", Applicant: events.Applicant{
		GivenName: "Marcus Li", FamilyName: "Jensen-Øster", MothersMaidenName: "Smith", CompanyName: "Acme Ltd", Email: "captain.future+bank@example.com"}}
	for password, want := range map[string]bool{
		"SecurePass123!": false, "Lithium99!x": false, "Example.com1": false, "bankbank7!": false, "": false, "mj1": false,
		"1Marcus!": true, "xJENSENx": true, "øster-egg1": true, "blacksmith9": true, "acme4ever": true, "Captain.Future1": true,
		"mj-the-first!": true, "mj-the-f": true,
	} {
		if got := facts(password, r).Resembles; got != want {
			t.Errorf("%q: resembles is %v, want %v", password, got, want)
		}
	}
}

func TestPasswordsThatArePartOfTheUserName(t *testing.T) {
	r := events.Registration{Username: "Test.User1"}
	for password, want := range map[string]bool{
		"": false, "test.user1": true, "USER1": true, ".": true, "test.user12": false, "user2": false,
	} {
		if got := facts(password, r).InUsername; got != want {
			t.Errorf("%q: in the user name is %v, want %v", password, got, want)
		}
	}
}

func TestFactsCountCharactersAfterNormalisation(t *testing.T) {
	for password, want := range map[string]events.PasswordFacts{
		"":               {},
		"Ab1!":           {Present: true, Length: 4, Bytes: 4, Upper: true, Lower: true, Digit: true, Special: true},
		"Zu\u0308rich x": {Present: true, Length: 8, Bytes: 10, Upper: true, Lower: true, Space: true},
		"密码密码":           {Present: true, Length: 4, Bytes: 12, Caseless: true},
		"Ａ１":             {Present: true, Length: 2, Bytes: 6, Upper: true, Digit: true},
		"x€":             {Present: true, Length: 2, Bytes: 4, Lower: true, Special: true},
	} {
		if got := facts(password, events.Registration{}); got != want {
			t.Errorf("%q: got %+v, want %+v", password, got, want)
		}
	}
}
