package usher

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// identity is what only one customer of a tenant may have: the numbers that fill a request.
type identity struct{ email, login, member, ssn int }

// alone is the identity of somebody who shares nothing with anybody else.
func alone(number int) identity { return identity{number, number, number, number} }

// sharing are the fields that a tenant can make unique: how to take that of another, and the code
// that tells of it.
var sharing = map[string]struct {
	code string
	take func(own *identity, of identity)
}{
	"e-mail address": {events.CodeDuplicateEmail, func(own *identity, of identity) { own.email = of.email }},
	"user name":      {events.CodeDuplicateUsername, func(own *identity, of identity) { own.login = of.login }},
	"member number":  {events.CodeDuplicateMember, func(own *identity, of identity) { own.member = of.member }},
	"national id":    {events.CodeDuplicateNationalID, func(own *identity, of identity) { own.ssn = of.ssn }},
}

// conflicts are the documented answers to whoever is second: by dialect and field, one of these
// stands in the body, under the status before it.
var conflicts = map[string]map[string][]string{
	"native": {
		"e-mail address": {`409 "code":"DUPLICATE_EMAIL","field":"applicant.email"`}, "user name": {`409 "code":"DUPLICATE_USERNAME","field":"credentials.username"`},
		"member number": {`409 "code":"DUPLICATE_MEMBER_NUMBER","field":"memberNumber"`}, "national id": {`409 "code":"DUPLICATE_NATIONAL_ID"`},
	},
	"finhub":  {"e-mail address": {"409 Customer with email '"}, "user name": {"409 Customer with this username already exists"}},
	"fincode": {"e-mail address": {"409 DUPLICATE_EMAIL"}},
	"candescent": {
		"e-mail address": {"409 <errorCode>26331<"}, "user name": {"400 <errorCode>26201<"},
		"member number": {"409 <errorCode>26331<", "409 <errorCode>26330<"}, "national id": {"409 <errorCode>26331<", "409 <errorCode>26330<"},
	},
}

func (q dialectRequest) ofIdentity(tenant string, who identity) (path, body string) {
	fill := strings.NewReplacer("TENANT", tenant, "EMAIL", fmt.Sprintf("person%04d@example.com", who.email), "LOGIN", fmt.Sprintf("person.%04d", who.login),
		"MEMBER", fmt.Sprintf("M%04d", who.member), "SSN", fmt.Sprintf("41122%04d", who.ssn))
	return fill.Replace(q.path), fill.Replace(q.body)
}

// race sends the registrations of several people at the same moment.
func (d *dev) race(q dialectRequest, tenant string, people []identity) []answer {
	d.t.Helper()
	answers, errs := make([]answer, len(people)), make([]error, len(people))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, who := range people {
		path, body := q.ofIdentity(tenant, who)
		request, err := http.NewRequest(http.MethodPost, d.gateway(path), strings.NewReader(body))
		if err != nil {
			d.t.Fatal(err)
		}
		for h := range slices.Chunk(slices.Concat([]string{"Authorization", "Bearer " + testToken, "X-Tenant-ID", tenant, "Content-Type", "application/json"}, q.headers), 2) {
			request.Header.Set(h[0], h[1])
		}
		wg.Go(func() {
			<-start
			answers[i], errs[i] = send(request)
		})
	}
	close(start)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		d.t.Fatal(err)
	}
	return answers
}

// documented reports whether an answer is one of those.
func (a answer) documented(answers []string) bool {
	return slices.ContainsFunc(answers, func(one string) bool {
		status, text, _ := strings.Cut(one, " ")
		return fmt.Sprint(a.status) == status && strings.Contains(string(a.body), text)
	})
}

// A race for anything that only one customer of a tenant may have gives one account and, to all
// others, the conflict that their dialect documents; another tenant has a race of its own.
func TestARaceForAUniqueValueGivesOneAccountAndDocumentedConflicts(t *testing.T) {
	cheapHash(t)
	config := twoTenants(t)
	d := startDev(t, t.TempDir(), devOptions{}, func(c *devCommand) { c.Config = config })
	const racers = 6
	number := 0
	for name, q := range dialectRequests(t) {
		dialect, _, _ := strings.Cut(name, " ")
		for field, answers := range conflicts[dialect] {
			number += racers
			people := make([]identity, racers)
			for i := range people {
				people[i] = alone(number + i)
				sharing[field].take(&people[i], people[0])
			}
			t.Run(name+", "+field, func(t *testing.T) {
				var wg sync.WaitGroup
				raced := map[string][]answer{}
				var mu sync.Mutex
				for _, tenant := range []string{"first", "other"} {
					wg.Go(func() {
						got := d.race(q, tenant, people)
						mu.Lock()
						defer mu.Unlock()
						raced[tenant] = got
					})
				}
				wg.Wait()
				for tenant, got := range raced {
					d.oneCreated(t, q, tenant, got, answers, sharing[field].code)
				}
			})
		}
	}
	if dead := readAll(t, d.jetStream(t), bus.DeadLetters); len(dead) != 0 {
		t.Errorf("%d dead letters", len(dead))
	}
}

// oneCreated checks that of racers one has the account and the others their conflict, also as events.
func (d *dev) oneCreated(t *testing.T, q dialectRequest, tenant string, raced []answer, conflict []string, code string) {
	t.Helper()
	created := 0
	for _, a := range raced {
		id := a.header.Get("X-Registration-ID")
		if a.status == q.created {
			created++
			continue
		}
		if !a.documented(conflict) {
			t.Errorf("%s: answer %d %s, want one of %v", tenant, a.status, a.body, conflict)
		}
		status := d.status(tenant, id)
		codes, _ := status["codes"].([]any)
		if status["status"] != string(events.StatusRejected) || len(codes) != 1 || codes[0] != code && codes[0] != events.CodeInProgress {
			t.Errorf("%s: %s is %v because of %v", tenant, id, status["status"], codes)
		}
	}
	if created != 1 {
		t.Errorf("%s: %d of %d have an account", tenant, created, len(raced))
	}
}
