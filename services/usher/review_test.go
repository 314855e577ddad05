package usher

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/tenant"
	"github.com/usherhq/usher/services/gateway/openapi"
	"github.com/usherhq/usher/services/gateway/openapi/openapitest"
	"github.com/usherhq/usher/services/ledger"
)

// desk is a pipeline with reviewers, whose requests are held to the ledger's OpenAPI document.
type desk struct {
	*dev
	checked http.RoundTripper
}

// people are tokens, which are their own subjects, with a tenant and a role each.
var people = map[string][2]string{
	"rita": {cloudVault, "reviewer"}, "sam": {cloudVault, "reviewer"}, "ada": {cloudVault, "admin"},
	"finn": {finsei, "reviewer"}, "chan": {cloudVault, "channel"}, "olga": {cloudVault, "operator"}, "carl": {cloudVault, "compliance"},
}

// startDesk starts a pipeline under the demonstration's policy with more settings.
func startDesk(t *testing.T, settings string) *desk {
	cheapHash(t)
	var tokens strings.Builder
	for name, is := range people {
		fmt.Fprintf(&tokens, "    - {sha256: %s, subject: %s, tenants: [%s], roles: [%s]}\n", sha256Hex(name), name, is[0], is[1])
	}
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	const screening, auth = "    screening: {lists: [demo]}\n", "auth:\n"
	config := strings.NewReplacer(screening, screening+settings, auth, auth+"  tokens:\n"+tokens.String()).Replace(string(tenant.DemoFile()))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &desk{dev: startDev(t, t.TempDir(), devOptions{twice: true}, func(c *devCommand) { c.Config = file })}
	var err error
	if d.checked, err = openapitest.New([]openapi.Document{{Dialect: "ledger", Prefix: "/v1/", YAML: ledger.OpenAPI}}, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	return d
}

// as asks the ledger under somebody's token, for the tenant that the token has.
func (d *desk) as(who, method, path, body string, headers ...string) answer {
	d.t.Helper()
	request, err := http.NewRequest(method, d.ledger(path), strings.NewReader(body))
	if err != nil {
		d.t.Error(err)
		return answer{}
	}
	if body == "" {
		request.Body = nil
	}
	request.Header.Set("Authorization", "Bearer "+who)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := d.checked.RoundTrip(request)
	if err != nil {
		d.t.Error(err)
		return answer{}
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	var raw json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&raw); err != nil {
		d.t.Error(err)
	}
	a.body = raw
	return a
}

const (
	approve  = `{"reason":"VERIFIED"}`
	reject   = `{"reason":"TRUE_MATCH"}`
	positive = `{"reason":"FALSE_POSITIVE"}`
)

// suspect registers somebody who is on the demonstration's list.
func (d *desk) suspect(email string) (id string) {
	d.t.Helper()
	return d.register(person("Arkady Zorinovich", "Volkharin", "1961-03-09", email))
}

// queued waits until a case of a registration is open.
func (d *desk) queued(id string, version int) (review string) {
	d.t.Helper()
	review = fmt.Sprint(id, "-", version)
	d.eventually(waitLong, review+" is open", func() bool {
		return slices.Contains(d.listed("ada", "?state=OPEN"), review)
	})
	return review
}

// listed are the ids of all pages.
func (d *desk) listed(who, query string) (ids []string) {
	d.t.Helper()
	for after := ""; ; {
		a := d.as(who, "GET", "/v1/reviews"+query+after, "")
		var page struct {
			Reviews []struct{ ID string }
			Next    string
		}
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
			d.t.Fatalf("%d %s: %v", a.status, a.body, err)
		}
		for _, r := range page.Reviews {
			ids = append(ids, r.ID)
		}
		if page.Next == "" {
			return ids
		}
		after = "&after=" + page.Next
	}
}

// stored reads a stream and holds every message to the contract.
func (d *desk) stored(stream string) (messages []storedMessage) {
	d.t.Helper()
	for _, m := range readAll(d.t, d.jetStream(d.t), stream) {
		subject := m.Header["ce-id"][0]
		validateEvent(d.t, subject, m.Header, m.Data)
		for _, personal := range []string{"Volkharin", "Arkady", "1961-03-09", "example.com", "seven quiet words"} {
			if strings.Contains(string(m.Data), personal) {
				d.t.Errorf("%s holds %s", subject, personal)
			}
		}
		messages = append(messages, storedMessage{subject, m.Data})
	}
	return messages
}

type storedMessage struct {
	subject string
	data    []byte
}

func (d *desk) accesses() (all []events.PersonAccessed) {
	d.t.Helper()
	for _, m := range d.stored(bus.Tenants) {
		if !strings.Contains(m.subject, ".access.") {
			continue
		}
		var e events.PersonAccessed
		if err := json.Unmarshal(m.data, &e); err != nil || m.subject != "tenant."+cloudVault+".access."+e.ID {
			d.t.Errorf("%s: %v", m.subject, err)
		}
		all = append(all, e)
	}
	return all
}

func TestOfTwoReviewersOneDecides(t *testing.T) {
	d := startDesk(t, "")
	const rounds = 8
	wins := map[string]int{}
	for round := range rounds {
		id := d.suspect(fmt.Sprintf("race%d@example.com", round))
		review := d.queued(id, 2)
		answers := map[string]answer{}
		var mu sync.Mutex
		var both sync.WaitGroup
		for who, try := range map[string][2]string{"rita": {"approve", approve}, "sam": {"reject", reject}} {
			both.Go(func() {
				a := d.as(who, "POST", "/v1/reviews/"+review+"/"+try[0], try[1])
				mu.Lock()
				defer mu.Unlock()
				answers[who] = a
			})
		}
		both.Wait()
		won, lost, state, status := "rita", "sam", "APPROVED", "ACTIVATION_SENT"
		if answers["rita"].status == http.StatusConflict {
			won, lost, state, status = "sam", "rita", "REJECTED", "REJECTED"
		}
		wins[won]++
		if a, b := answers[won], answers[lost]; a.status != http.StatusOK || b.status != http.StatusConflict {
			t.Fatalf("%s: %d %s, %s: %d %s", won, a.status, a.body, lost, b.status, b.body)
		}
		for _, seen := range []map[string]any{answers[won].json(t), answers[lost].json(t)["review"].(map[string]any)} {
			if seen["state"] != state || seen["decision"].(map[string]any)["actor"] != won {
				t.Errorf("%s won and it says %v", won, seen)
			}
		}
		d.reaches(cloudVault, id, status)
		again := map[string]string{"rita": "approve", "sam": "reject"}[won]
		if a := d.as(won, "POST", "/v1/reviews/"+review+"/"+again, map[string]string{"rita": approve, "sam": reject}[won]); a.status != http.StatusOK {
			t.Errorf("sent again: %d %s", a.status, a.body)
		}
	}
	t.Logf("wins: %v", wins)
	decided := 0
	for _, m := range d.stored(bus.Registrations) {
		if strings.Contains(m.subject, ".review.") {
			decided++
		}
	}
	if decided != rounds {
		t.Errorf("%d decisions of %d cases", decided, rounds)
	}
	if got := len(d.listed("ada", "?state=OPEN")); got != 0 {
		t.Errorf("%d cases are still open", got)
	}
}

func TestUnderFourEyesTheFirstReviewerMayNotBeTheSecond(t *testing.T) {
	d := startDesk(t, "    fourEyes: true\n    maxReview: 48h\n")
	id := d.suspect("second@example.com")
	if a := d.as("rita", "POST", "/v1/reviews/"+d.queued(id, 2)+"/approve", approve); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	second := d.queued(id, 3)
	if status := d.status(cloudVault, id)["status"]; status != "IN_REVIEW" {
		t.Errorf("it is %v", status)
	}
	for _, try := range [][2]string{{"approve", approve}, {"reject", reject}} {
		if a := d.as("rita", "POST", "/v1/reviews/"+second+"/"+try[0], try[1]); a.status != http.StatusForbidden || !strings.Contains(string(a.body), "four-eyes") {
			t.Errorf("rita's second: %d %s", a.status, a.body)
		}
	}
	shown := d.as("sam", "GET", "/v1/reviews/"+second, "").json(t)
	if shown["firstActor"] != "rita" || shown["person"] == nil {
		t.Errorf("sam is shown %v", shown)
	}
	if a := d.as("sam", "POST", "/v1/reviews/"+second+"/approve", approve); a.status != http.StatusOK {
		t.Errorf("sam's: %d %s", a.status, a.body)
	}
	d.reaches(cloudVault, id, "ACTIVATION_SENT")
}

func TestOnlyReviewersOfTheTenantSeeItsCases(t *testing.T) {
	d := startDesk(t, "")
	review := d.queued(d.suspect("roles@example.com"), 2)
	paths := map[string][2]string{
		"/v1/reviews": {"GET", ""}, "/v1/reviews/" + review: {"GET", ""}, "/v1/reviews/" + review + "/assign": {"POST", ""},
		"/v1/reviews/" + review + "/notes": {"POST", `{"text":"x"}`}, "/v1/reviews/" + review + "/approve": {"POST", approve}, "/v1/reviews/" + review + "/reject": {"POST", reject},
	}
	for path, ask := range paths {
		for _, who := range []string{"chan", "olga", "carl"} {
			if a := d.as(who, ask[0], path, ask[1]); a.status != http.StatusForbidden {
				t.Errorf("%s %s: %d %s", who, path, a.status, a.body)
			}
		}
		if a := d.as("stranger", ask[0], path, ask[1]); a.status != http.StatusUnauthorized {
			t.Errorf("a stranger %s: %d %s", path, a.status, a.body)
		}
		if a := d.as("finn", ask[0], path, ask[1], "X-Tenant-ID", cloudVault); a.status != http.StatusForbidden {
			t.Errorf("finn for the tenant %s: %d %s", path, a.status, a.body)
		}
		if path == "/v1/reviews" {
			continue
		}
		other, none := d.as("finn", ask[0], path, ask[1]), d.as("finn", ask[0], strings.Replace(path, review, review+"0", 1), ask[1])
		if other.status != http.StatusNotFound || string(other.body) != string(none.body) || none.status != other.status {
			t.Errorf("finn %s: %d %s; of no case %d %s", path, other.status, other.body, none.status, none.body)
		}
	}
	if ids := d.listed("finn", "?state=OPEN"); len(ids) != 0 {
		t.Errorf("finn is shown %v", ids)
	}
	if n := len(d.accesses()); n != 0 {
		t.Errorf("%d accesses by those who were refused", n)
	}
	if a := d.as("ada", "GET", "/v1/reviews/"+review, ""); a.status != http.StatusOK {
		t.Errorf("an admin: %d %s", a.status, a.body)
	}
}

func TestAReviewerIsShownThePersonBesideTheEntryAndItIsLogged(t *testing.T) {
	d := startDesk(t, "")
	id := d.suspect("shown@example.com")
	review := d.queued(id, 2)
	const path = "/v1/reviews/"
	if a := d.as("rita", "POST", path+review+"/notes", `{"text":"Arkady says: seven quiet words"}`); a.status != http.StatusOK || a.json(t)["notes"] != 1.0 {
		t.Errorf("a note: %d %s", a.status, a.body)
	}
	if n := len(d.accesses()); n != 0 {
		t.Errorf("%d accesses before anybody looked", n)
	}
	a := d.as("rita", "GET", path+review, "")
	var shown struct {
		Person     events.Applicant
		Assessment events.Assessment
		Listed     []struct {
			List, Entry, Version string
			Listed               struct{ Names []struct{ Text string } }
		}
		Written  []struct{ By, Text string }
		DecideBy string
	}
	if err := json.Unmarshal(a.body, &shown); err != nil || a.status != http.StatusOK || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if shown.Person.FamilyName != "Volkharin" || len(shown.Listed) != 1 || shown.Listed[0].Listed.Names[0].Text != "VOLKHARIN, Arkady Zorinovich" ||
		shown.Assessment.Reasons[0].Rule != tenant.ScreeningHit || shown.Assessment.Versions.Lists != "demo="+shown.Listed[0].Version ||
		len(shown.Written) != 1 || shown.Written[0].By != "rita" || shown.Written[0].Text != "Arkady says: seven quiet words" || shown.DecideBy == "" {
		t.Errorf("shown %s", a.body)
	}
	log := d.accesses()
	if len(log) != 1 || log[0].Actor != "rita" || log[0].Registration != id || log[0].Case != 2 || log[0].Purpose != "review" {
		t.Errorf("logged %+v", log)
	}
	if a := d.as("rita", "POST", path+review+"/approve", approve); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := d.as("sam", "GET", path+review, ""); a.json(t)["person"] != nil || len(d.accesses()) != 2 {
		t.Errorf("a decided case shows %s", a.body)
	}
	d.stored(bus.Registrations)
	d.stored(bus.FeedStream(cloudVault))
	if strings.Contains(d.logs.String(), "Volkharin") {
		t.Error("the log names the person")
	}
}

func TestTheQueueIsFilteredAndPagedWhileItChanges(t *testing.T) {
	d := startDesk(t, "")
	var reviews []string
	for i := range 5 {
		reviews = append(reviews, d.queued(d.suspect(fmt.Sprintf("page%d@example.com", i)), 2))
	}
	if a := d.as("rita", "POST", "/v1/reviews/"+reviews[0]+"/assign", ""); a.json(t)["assignee"] != "rita" {
		t.Errorf("taken: %s", a.body)
	}
	if a := d.as("sam", "POST", "/v1/reviews/"+reviews[0]+"/assign", "{}"); a.status != http.StatusConflict {
		t.Errorf("taken from rita: %d %s", a.status, a.body)
	}
	d.as("sam", "POST", "/v1/reviews/"+reviews[1]+"/assign", `{"assignee":"rita"}`)
	d.as("sam", "POST", "/v1/reviews/"+reviews[1]+"/assign", `{"assignee":""}`)
	var opened struct{ Reviews []struct{ OpenedAt string } }
	a := d.as("sam", "GET", "/v1/reviews?limit=3", "")
	if err := json.Unmarshal(a.body, &opened); err != nil || len(opened.Reviews) != 3 {
		t.Fatalf("%s: %v", a.body, err)
	}
	third := url.QueryEscape(opened.Reviews[2].OpenedAt)
	for query, want := range map[string][]string{
		"?limit=2":                          reviews,
		"?state=OPEN&limit=1":               reviews,
		"?state=APPROVED":                   nil,
		"?assignee=rita":                    reviews[:1],
		"?assignee=&state=OPEN&limit=3":     reviews[1:],
		"?openedTo=" + third:                reviews[:3],
		"?openedFrom=" + third + "&limit=1": reviews[2:],
		"?openedTo=2026-01-01T00:00:00Z":    nil,
	} {
		if got := d.listed("rita", query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	first := d.as("rita", "GET", "/v1/reviews?state=OPEN&limit=2", "").json(t)
	if a := d.as("rita", "POST", "/v1/reviews/"+reviews[0]+"/reject", reject); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	rest := d.listed("rita", "?state=OPEN&limit=9")
	if !slices.Equal(rest, reviews[1:]) {
		t.Errorf("after one is decided: %v", rest)
	}
	next := d.as("rita", "GET", "/v1/reviews?state=OPEN&limit=9&after="+first["next"].(string), "").json(t)
	if got := len(next["reviews"].([]any)); got != 3 {
		t.Errorf("the second page has %d", got)
	}
	d.eventually(waitLong, "the cases are measured", d.metric(`usher_review_cases{service="ledger",state="OPEN",tenant="`+cloudVault+`"} 4`))
	if !strings.Contains(string(d.do(http.MethodGet, d.ledger("/metrics"), "", nil).body), `usher_review_oldest_open_seconds{service="ledger",tenant="`+cloudVault+`"}`) {
		t.Error("the age of the oldest is not measured")
	}
}

func TestRequestsToTheQueueThatAreWrongAreRefusedByName(t *testing.T) {
	d := startDesk(t, "")
	review := "/v1/reviews/" + d.queued(d.suspect("wrong@example.com"), 2)
	for sentence, test := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"a reason in words":           {"POST", review + "/approve", `{"reason":"he is a nice man"}`, 400, "reason is not one of FALSE_POSITIVE, VERIFIED, RISK_ACCEPTED"},
		"a reason of the other kind":  {"POST", review + "/reject", positive, 400, "reason is not one of TRUE_MATCH"},
		"no reason":                   {"POST", review + "/reject", "", 400, "reason is not one of"},
		"a reason that is a number":   {"POST", review + "/reject", `{"reason":7}`, 400, "reason is not a text"},
		"a reason twice":              {"POST", review + "/reject", `{"reason":"TRUE_MATCH","reason":"TRUE_MATCH"}`, 400, "reason is there twice"},
		"an unknown member":           {"POST", review + "/approve", `{"reason":"VERIFIED","Volkharin":1}`, 400, "not known"},
		"no JSON":                     {"POST", review + "/approve", `{"reason"`, 400, "not JSON"},
		"an array":                    {"POST", review + "/approve", `[]`, 400, "not a JSON object"},
		"two objects":                 {"POST", review + "/approve", approve + approve, 400, "something after"},
		"a note without words":        {"POST", review + "/notes", `{"text":" "}`, 400, "text is missing"},
		"a note that is too long":     {"POST", review + "/notes", `{"text":"` + strings.Repeat("ä", 4001) + `"}`, 400, "4,000"},
		"a body that is too long":     {"POST", review + "/notes", `{"text":"` + strings.Repeat("a", 40000) + `"}`, 413, "32 KiB"},
		"a state that is none":        {"GET", "/v1/reviews?state=open", "", 400, "state is not one of"},
		"a time that is none":         {"GET", "/v1/reviews?openedTo=yesterday", "", 400, "openedTo is not a time"},
		"a limit beyond":              {"GET", "/v1/reviews?limit=501", "", 400, "limit is not"},
		"a cursor of another list":    {"GET", "/v1/reviews?after=xx", "", 400, "after is not a cursor"},
		"a query that cannot be read": {"GET", "/v1/reviews?state=%zz", "", 400, "query cannot be read"},
		"an id of no case":            {"GET", "/v1/reviews/%00%ff", "", 404, "no such case"},
		"another method":              {"DELETE", review, "", 405, "does not take the method"},
	} {
		a := d.as("rita", test.method, test.path, test.body)
		if a.status != test.status || !strings.Contains(string(a.body), test.says) || strings.Contains(string(a.body), "Volkharin") {
			t.Errorf("%s: %d %s", sentence, a.status, a.body)
		}
	}
	if a := d.as("rita", "POST", review+"/approve", approve, "Content-Type", "text/plain"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("a text: %d %s", a.status, a.body)
	}
	if got := d.as("rita", "GET", review, "").json(t)["state"]; got != "OPEN" {
		t.Errorf("it is %v", got)
	}
}

func TestAFalsePositiveIsNotReviewedTwice(t *testing.T) {
	d := startDesk(t, "")
	first := d.suspect("cleared@example.com")
	if a := d.as("rita", "POST", "/v1/reviews/"+d.queued(first, 2)+"/reject", reject); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	d.reaches(cloudVault, first, "REJECTED")
	second := d.suspect("cleared@example.com")
	if a := d.as("rita", "POST", "/v1/reviews/"+d.queued(second, 2)+"/approve", positive); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	d.reaches(cloudVault, second, "ACTIVATION_SENT")
	third := d.suspect("cleared@example.com")
	d.reaches(cloudVault, third, "REJECTED") // by its mail address, and without a review
	d.explains(third, "screening-cleared leaves a hit out: entry demo-1 of list demo, cleared by case 2 of "+second+".")
}

func TestACaseIsReviewedOnTheCommandLine(t *testing.T) {
	d := startDesk(t, "")
	review := d.queued(d.suspect("terminal@example.com"), 2)
	run := func(token string, args ...string) (code int, out, errs string) {
		return command(t, append(append([]string{"review"}, args...), "--ops", "http://"+d.command.Ops, "--token", token)...)
	}
	if code, out, errs := run("rita", "list"); code != 0 || !strings.Contains(out, review+"  OPEN") || strings.Contains(out, "Volkharin") {
		t.Errorf("list: code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := run("rita", "list", "--older", "1h"); code != 0 || strings.Contains(out, review) {
		t.Errorf("list of old ones: code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := run("rita", "reject", review, "--reason", "because"); code != 1 || !strings.Contains(errs, "reason is not one of TRUE_MATCH") {
		t.Errorf("reject without a reason: code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := run("sam", "reject", review, "--reason", events.ReasonTrueMatch, "--note", "seven quiet words"); code != 0 || out != "case "+review+" is REJECTED\n" {
		t.Errorf("reject: code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := run("rita", "approve", review, "--reason", events.ReasonVerified); code != 1 || !strings.Contains(errs, "the ledger answers 409: the case is not open any more") {
		t.Errorf("approve what is rejected: code %d, %s", code, errs)
	}
	other := d.queued(d.suspect("terminal2@example.com"), 2)
	for id, wants := range map[string][]string{
		review: {"REJECTED", "Decided by sam", "TRUE_MATCH", "seven quiet words"},
		other:  {"OPEN", "applicant", "Arkady Zorinovich Volkharin", "1961-03-09", "demo demo-1, ", "VOLKHARIN, Arkady Zorinovich"},
	} {
		code, out, errs := run("rita", "show", id)
		for _, want := range wants {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("show %s: code %d, no %q in\n%s%s", id, code, want, out, errs)
			}
		}
	}
}
