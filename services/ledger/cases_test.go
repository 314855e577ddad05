package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/pkg/vault"
)

// caseWorld is the ledger over a real broker, with reviewers; what risk does the test does.
type caseWorld struct {
	*feedWorld
	cases *cases
}

func newCaseWorld(t *testing.T) *caseWorld {
	t.Helper()
	w := &caseWorld{feedWorld: newFeedWorld(t)}
	for name, is := range map[string]struct {
		tenant string
		role   tenant.Role
	}{
		"rita": {cloudVault, tenant.Reviewer}, "sam": {cloudVault, tenant.Reviewer}, "ada": {cloudVault, tenant.Admin}, "finn": {finsei, tenant.Reviewer},
		"chan": {cloudVault, tenant.Channel}, "olga": {cloudVault, tenant.Operator}, "carl": {cloudVault, tenant.Compliance}, events.ByPolicy: {cloudVault, tenant.Reviewer},
	} {
		w.auth.AddToken(name, tenant.Principal{Subject: name, Tenants: []string{is.tenant}, Roles: []tenant.Role{is.role}})
	}
	model := newReadModel(w.env.Store)
	queue := newQueue(w.env, model)
	w.cases = newCases(w.env, model)
	ctx, cancel := context.WithCancel(context.Background())
	api := &api{env: w.env, guard: tenant.NewGuard(w.env.Auth), model: model, queue: queue, cases: w.cases, lists: newListed(ctx, "", w.env.Log), accesses: newAccesses(w.env.Bus, w.env.Log)}
	ended := make(chan error, 1)
	go func() { ended <- follow(ctx, w.env, model, queue, w.cases) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	listener := httptest.NewServer(api.routes())
	t.Cleanup(listener.Close)
	w.url = listener.URL
	return w
}

// tell stores an event as another service does.
func (w *caseWorld) tell(from events.Service, registration string, e events.Event) {
	w.t.Helper()
	r := events.Record{Subject: events.SubjectOf(cloudVault, registration, e), Source: from, Time: noon, Event: e}
	header, data, err := r.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.js.PublishMsg(w.t.Context(), &nats.Msg{Subject: r.Subject.String(), Header: header, Data: data}); err != nil {
		w.t.Fatal(err)
	}
}

// opens opens a case of a customer named Solveig, and waits until it is listed.
func (w *caseWorld) opens(id string) events.CaseOpened {
	w.t.Helper()
	e := events.CaseOpened{Case: id, Version: 1, NextVersion: 2, Registration: "of-" + id, Hit: events.Hit{List: "demo", Entry: "demo-1", Score: 912}, Lists: "demo=1"}
	w.expose(&e)
	w.tell(events.Risk, "", e)
	w.becomes(id, "OPEN")
	return e
}

func (w *caseWorld) expose(e *events.CaseOpened) {
	w.t.Helper()
	var err error
	e.Vault, err = w.env.Vault.Put(w.t.Context(), cloudVault, vault.CaseOf(e.Registration), vault.Entry{Registration: events.Registration{Applicant: events.Applicant{FamilyName: "Solveig"}}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *caseWorld) becomes(id, state string) {
	w.t.Helper()
	w.eventually(id+" is "+state, func() bool { return slices.Contains(w.listed("?state="+state), id) })
}

// listed are the ids of all pages.
func (w *caseWorld) listed(query string) (ids []string) {
	w.t.Helper()
	for after := ""; ; {
		status, body := w.as("ada", "GET", "/v1/cases"+query+after, "")
		var page struct {
			Cases []struct{ ID string }
			Next  string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK || strings.Contains(body, "Solveig") {
			w.t.Fatalf("%d %s: %v", status, body, err)
		}
		for _, c := range page.Cases {
			ids = append(ids, c.ID)
		}
		if page.Next == "" {
			return ids
		}
		after = "&after=" + page.Next
	}
}

func (w *caseWorld) as(who, method, path, body string) (status int, answer string) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return 0, ""
	}
	r.Header.Set("Authorization", "Bearer "+who)
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Error(err)
		return 0, ""
	}
	defer a.Body.Close()
	raw, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Error(err)
	}
	return a.StatusCode, string(raw)
}

// facts are those of a kind about the tenant.
func (w *caseWorld) facts(kind events.Step) (told []events.Record) {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), bus.Tenants)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := uint64(1); i <= s.CachedInfo().State.LastSeq; i++ {
		m, err := s.GetMsg(w.t.Context(), i)
		if err != nil {
			w.t.Fatal(err)
		}
		r, err := events.Decode(m.Subject, m.Header, m.Data)
		if err != nil || strings.Contains(string(m.Data), "Solveig") {
			w.t.Fatalf("%s: %s, %v", m.Subject, m.Data, err)
		}
		if r.Subject.Step == kind {
			told = append(told, r)
		}
	}
	return told
}

const (
	clears   = `{"reason":"FALSE_POSITIVE"}`
	confirms = `{"reason":"TRUE_MATCH"}`
)

func TestACaseIsDecidedOnceByWhoeverIsFaster(t *testing.T) {
	w := newCaseWorld(t)
	const rounds = 6
	for round := range rounds {
		id := fmt.Sprint("race", round)
		w.opens(id)
		tries := map[string][2]string{"rita": {"/clear", clears}, "sam": {"/confirm", confirms}}
		type outcome struct {
			status int
			body   string
		}
		answers := map[string]outcome{}
		var mu sync.Mutex
		var both sync.WaitGroup
		for who, try := range tries {
			both.Go(func() {
				status, body := w.as(who, "POST", "/v1/cases/"+id+try[0], try[1])
				mu.Lock()
				defer mu.Unlock()
				answers[who] = outcome{status, body}
			})
		}
		both.Wait()
		won, lost, state := "rita", "sam", "CLEARED"
		if answers["rita"].status == http.StatusConflict {
			won, lost, state = "sam", "rita", "CONFIRMED"
		}
		if answers[won].status != http.StatusOK || answers[lost].status != http.StatusConflict || !strings.Contains(answers[lost].body, "urn:usher:problem:case-closed") {
			t.Fatalf("%s: %v, %s: %v", won, answers[won], lost, answers[lost])
		}
		for _, a := range answers {
			if !strings.Contains(a.body, `"state":"`+state+`"`) || !strings.Contains(a.body, `"actor":"`+won+`"`) {
				t.Errorf("%s won and it says %s", won, a.body)
			}
		}
		if status, body := w.as(won, "POST", "/v1/cases/"+id+tries[won][0], tries[won][1]); status != http.StatusOK || body != answers[won].body {
			t.Errorf("sent again: %d %s", status, body)
		}
		w.becomes(id, state)
	}
	var decided []events.CaseDecided
	for _, r := range w.facts(events.FactCase) {
		if e, is := r.Event.(events.CaseDecided); is {
			decided = append(decided, e)
			if e.Version != 2 || r.Source != events.Ledger {
				t.Errorf("%s decided %+v", r.Source, e)
			}
		}
	}
	if len(decided) != rounds {
		t.Errorf("%d decisions of %d cases", len(decided), rounds)
	}
	if open := w.listed("?state=OPEN"); len(open) > 0 {
		t.Errorf("open are %v", open)
	}
	if all := w.listed("?limit=2"); len(all) != rounds {
		t.Errorf("in pages there are %v", all)
	}
}

func TestADecisionMeetsACaseThatWasOpenedAgain(t *testing.T) {
	w := newCaseWorld(t)
	e := w.opens("again")
	stale, err := w.cases.docs.Get(t.Context(), cloudVault+"/again")
	if err != nil {
		t.Fatal(err)
	}
	e.Version, e.NextVersion = 2, 3
	w.expose(&e)
	w.tell(events.Risk, "", e)
	w.eventually("it is opened again", func() bool {
		c, err := w.cases.get(t.Context(), cloudVault, "again")
		return err == nil && c.Opened.Version == 2
	})
	if err := w.cases.docs.Put(t.Context(), cloudVault+"/again", stale.Value); err != nil { // as before it has come here
		t.Fatal(err)
	}
	if status, body := w.as("rita", "POST", "/v1/cases/again/clear", clears); status != http.StatusOK || !strings.Contains(body, "CLEARED") {
		t.Fatalf("%d %s", status, body)
	}
	told := w.facts(events.FactCase)
	if last, is := told[len(told)-1].Event.(events.CaseDecided); !is || last.Version != 3 {
		t.Errorf("the last fact is %+v", told[len(told)-1].Event)
	}
}

func TestOnlyReviewersOfTheTenantSeeAndDecideCases(t *testing.T) {
	w := newCaseWorld(t)
	w.opens("c1")
	for path, ask := range map[string][2]string{
		"/v1/cases": {"GET", ""}, "/v1/cases/c1": {"GET", ""}, "/v1/cases/c1/clear": {"POST", clears}, "/v1/cases/c1/confirm": {"POST", confirms},
	} {
		for _, who := range []string{"chan", "olga", "carl", events.ByPolicy} {
			if status, body := w.as(who, ask[0], path, ask[1]); status != http.StatusForbidden {
				t.Errorf("%s %s: %d %s", who, path, status, body)
			}
		}
		if status, body := w.as("stranger", ask[0], path, ask[1]); status != http.StatusUnauthorized {
			t.Errorf("a stranger %s: %d %s", path, status, body)
		}
		if path == "/v1/cases" {
			continue
		}
		status, body := w.as("finn", ask[0], path, ask[1])
		none, same := w.as("finn", ask[0], strings.Replace(path, "c1", "c2", 1), ask[1])
		if status != http.StatusNotFound || none != status || body != same {
			t.Errorf("finn %s: %d %s; of no case %d %s", path, status, body, none, same)
		}
	}
	if status, body := w.as("finn", "GET", "/v1/cases", ""); status != http.StatusOK || body != `{"cases":[],"next":""}` {
		t.Errorf("finn is shown %d %s", status, body)
	}
	if told := w.facts(events.FactAccess); len(told) > 0 || len(w.facts(events.FactCase)) != 1 {
		t.Errorf("those who were refused left %v", told)
	}
}

func TestAReviewerIsShownTheCustomerOfAnOpenCaseAndItIsLogged(t *testing.T) {
	w := newCaseWorld(t)
	w.opens("c1")
	for i, test := range []struct {
		who    string
		before func()
		shown  bool
	}{
		{"rita", func() {}, true},
		{"ada", func() {}, true},
		{"sam", func() { w.as("rita", "POST", "/v1/cases/c1/confirm", confirms) }, false},
	} {
		test.before()
		status, body := w.as(test.who, "GET", "/v1/cases/c1", "")
		if status != http.StatusOK || strings.Contains(body, "Solveig") != test.shown || !strings.Contains(body, "VOLKHARIN, Arkady Zorinovich") {
			t.Errorf("%s is shown %d %s", test.who, status, body)
		}
		log := w.facts(events.FactAccess)
		if len(log) != i+1 {
			t.Fatalf("%d accesses of %d", len(log), i+1)
		}
		if e := log[i].Event.(events.PersonAccessed); e.Actor != test.who || e.Purpose != "case" || e.Registration != "of-c1" {
			t.Errorf("logged %+v", e)
		}
	}
}

func TestTheCustomerOfACaseIsUnsealedOnlyAfterTheAccessIsLogged(t *testing.T) {
	m := newTestCases(t)
	s := &tape{stored: map[events.Subject]events.Record{}, fails: map[string]error{}}
	m.disclosure = disclosure{s, s}
	if err := m.onCaseEvent(t.Context(), told("", 0, caseOpened)); err != nil {
		t.Fatal(err)
	}
	if _, p, err := m.open(t.Context(), acme, "c1", "rita"); err != nil || p == nil || !slices.Equal(s.done, []string{"log", "unseal"}) {
		t.Errorf("%v after %v, %v", p, s.done, err)
	}
	s.done, s.fails["log"] = nil, io.ErrUnexpectedEOF
	if _, p, err := m.open(t.Context(), acme, "c1", "rita"); err == nil || p != nil || !slices.Equal(s.done, []string{"log"}) {
		t.Errorf("not logged: %v after %v, %v", p, s.done, err)
	}
}

func TestACaseOfWhoIsErasedIsWithdrawnAndShowsNothing(t *testing.T) {
	w := newCaseWorld(t)
	w.opens("c1")
	w.opens("c2")
	w.tell(events.Gateway, "of-c1", events.ErasureRequested{Actor: "admin"})
	w.becomes("c1", "WITHDRAWN")
	if status, body := w.as("rita", "GET", "/v1/cases/c1", ""); status != http.StatusOK || strings.Contains(body, "demo") || strings.Contains(body, "Solveig") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := w.as("rita", "POST", "/v1/cases/c1/clear", clears); status != http.StatusConflict {
		t.Errorf("decided: %d %s", status, body)
	}
	if open := w.listed("?state=OPEN"); !slices.Equal(open, []string{"c2"}) {
		t.Errorf("open are %v", open)
	}
}

func TestRequestsAboutCasesThatAreWrongAreRefusedByName(t *testing.T) {
	w := newCaseWorld(t)
	w.opens("c1")
	for sentence, test := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"a reason in words":           {"POST", "/v1/cases/c1/clear", `{"reason":"another birthplace"}`, 400, "reason is not one of FALSE_POSITIVE"},
		"a reason of the other kind":  {"POST", "/v1/cases/c1/confirm", clears, 400, "reason is not one of TRUE_MATCH"},
		"a reason of reviews only":    {"POST", "/v1/cases/c1/clear", `{"reason":"VERIFIED"}`, 400, "reason is not one of FALSE_POSITIVE"},
		"no reason":                   {"POST", "/v1/cases/c1/confirm", "", 400, "reason is not one of"},
		"a state that is none":        {"GET", "/v1/cases?state=DECIDED", "", 400, "state is not one of"},
		"a limit beyond":              {"GET", "/v1/cases?limit=501", "", 400, "limit is not"},
		"a cursor of another list":    {"GET", "/v1/cases?after=xx", "", 400, "after is not a cursor"},
		"a query that cannot be read": {"GET", "/v1/cases?state=%zz", "", 400, "query cannot be read"},
		"an id of no case":            {"GET", "/v1/cases/%00%ff", "", 404, "no such case"},
		"another method":              {"DELETE", "/v1/cases/c1", "", 405, "does not take the method"},
	} {
		if status, body := w.as("rita", test.method, test.path, test.body); status != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %s", sentence, status, body)
		}
	}
	if open := w.listed("?state=OPEN"); !slices.Equal(open, []string{"c1"}) {
		t.Errorf("open are %v", open)
	}
}
