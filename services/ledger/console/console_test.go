package console

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/pkg/tenant"
)

// carol is a configured token, by the SHA-256 of her name.
var carol = tenant.Auth{Tokens: []tenant.StaticToken{{SHA256: "4c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5", Subject: "carol", Tenants: []string{"acme"}, Roles: []tenant.Role{tenant.Admin}}}}

func TestAPageIsShownToItsRolesAndRefusedToOthers(t *testing.T) {
	d := newDesk(t)
	everybody := []string{"carl", "rita", "olga", "ada", "policy"}
	for path, want := range map[string]struct {
		who  []string
		says string
	}{
		"pipeline":               {everybody, `data-count="FAILED">41<`},
		"registrations":          {everybody, `<code>r1</code>`},
		"registrations/r1":       {everybody, `0af7651916cd43dd8448eb211c80319c`},
		"reviews":                {[]string{"rita", "ada"}, `<code>r1-2</code>`},
		"reviews/r1-2":           {[]string{"rita", "ada"}, `&lt;b&gt;Solveig`},
		"cases":                  {[]string{"rita", "ada"}, `<code>c1</code>`},
		"cases/c1":               {[]string{"rita", "ada"}, `Ingrid`},
		"deadletters":            {[]string{"olga", "ada"}, `<code>TEST</code>`},
		"deadletters/3":          {[]string{"olga", "ada"}, `on purpose`},
		"webhooks":               {[]string{"olga", "ada"}, `hooks.example.com`},
		"webhooks/h1":            {[]string{"olga", "ada"}, `bad gateway`},
		"webhooks/h2":            unseen,
		"lists":                  {everybody, `being screened again against un v2`},
		"mailbox":                {[]string{"olga", "ada"}, `href="http://127.0.0.1/activate/x"`},
		"registrations?id=r1":    unseen,
		"registrations/nobody":   unseen,
		"reviews/no.token":       unseen,
		"deadletters/4":          unseen,
		"deadletters/1e9":        unseen,
		"pipeline/../../../etc":  unseen,
		"registrations?since=1":  unseen,
		"registrations?id=a%20b": unseen,
	} {
		for token := range tokens {
			if token == "chan" {
				continue
			}
			status, body := d.get(token, "/console/t/acme/"+path)
			switch {
			case slices.Contains(want.who, token):
				if status != http.StatusOK || !strings.Contains(body, want.says) || strings.Contains(body, "<script>") {
					t.Errorf("%s for %s: %d without %s", path, token, status, want.says)
				}
			case status == http.StatusOK, want.says != "" && strings.Contains(body, want.says):
				t.Errorf("%s for %s: %d", path, token, status)
			case status >= 500:
				t.Errorf("%s for %s: %d", path, token, status)
			}
		}
	}
}

// unseen is of what nobody sees.
var unseen struct {
	who  []string
	says string
}

func TestTheNavigationHasOnlyWhatSomebodyMaySee(t *testing.T) {
	d := newDesk(t)
	for token, want := range map[string][]string{
		"carl": {"pipeline", "registrations", "lists"}, "policy": {"pipeline", "registrations", "lists"},
		"rita": {"pipeline", "registrations", "reviews", "cases", "lists"},
		"olga": {"pipeline", "registrations", "deadletters", "webhooks", "lists", "mailbox"},
		"ada":  {"pipeline", "registrations", "reviews", "cases", "deadletters", "webhooks", "lists", "mailbox"},
	} {
		_, body := d.get(token, "/console/t/acme/lists")
		var got []string
		for _, link := range regexp.MustCompile(`<li><a href="/console/t/acme/([a-z]+)"( aria-current="page")?>`).FindAllStringSubmatch(body, -1) {
			got = append(got, link[1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s sees %v, want %v", token, got, want)
		}
	}
}

func TestOnlyComplianceSeesRiskAndOnlyOperatorsSeeMailsAndDeliveries(t *testing.T) {
	d := newDesk(t)
	for token, want := range map[string][3]bool{"carl": {true, false, false}, "rita": {}, "olga": {false, true, true}, "ada": {true, true, true}} {
		_, body := d.get(token, "/console/t/acme/registrations/r1")
		if got := [3]bool{strings.Contains(body, "<code>listed</code>"), strings.Contains(body, "550 5.1.1"), strings.Contains(body, "the receiver is away")}; got != want {
			t.Errorf("%s sees risk, mails and deliveries: %v, want %v", token, got, want)
		}
	}
}

func TestAnActionIsDoneByItsRolesAlone(t *testing.T) {
	d := newDesk(t)
	for name, c := range map[string]struct {
		path string
		form url.Values
		who  []string
		does string
		then string
	}{
		"an approval":         {"reviews/r1-2/decide", url.Values{"decision": {"yes"}, "reason": {"VERIFIED"}}, []string{"rita", "ada"}, "approve acme r1-2 WHO VERIFIED", "reviews?done=approved"},
		"a rejection":         {"reviews/r1-2/decide", url.Values{"decision": {"no"}, "reason": {"TRUE_MATCH"}}, []string{"rita", "ada"}, "reject acme r1-2 WHO TRUE_MATCH", "reviews?done=rejected"},
		"a note":              {"reviews/r1-2/note", url.Values{"text": {" called him "}}, []string{"rita", "ada"}, "note acme r1-2 WHO called him", "reviews/r1-2?done=noted"},
		"an assignment":       {"reviews/r1-2/take", url.Values{}, []string{"rita", "ada"}, "take acme r1-2 WHO", "reviews/r1-2?done=taken"},
		"a customer's case":   {"cases/c1/decide", url.Values{"decision": {"yes"}, "reason": {"FALSE_POSITIVE"}}, []string{"rita", "ada"}, "clear acme c1 WHO FALSE_POSITIVE", "cases?done=cleared"},
		"a replay":            {"deadletters/3/replay", url.Values{}, []string{"olga", "ada"}, "replay 3", "deadletters/3?done=replayed"},
		"another mail":        {"registrations/r1/resend", url.Values{}, []string{"olga", "ada"}, "resend acme r1 WHO", "registrations/r1?done=resent"},
		"a delivery":          {"webhooks/h1/replay", url.Values{"sequence": {"9"}}, []string{"olga", "ada"}, "resend acme h1 WHO 9", "webhooks/h1?done=sending"},
		"no event":            {"webhooks/h1/replay", url.Values{"sequence": {"x"}}, nil, "", ""},
		"another's reason":    {"reviews/r1-2/decide", url.Values{"decision": {"yes"}, "reason": {"TRUE_MATCH"}}, nil, "", ""},
		"no decision":         {"reviews/r1-2/decide", url.Values{"reason": {"VERIFIED"}}, nil, "", ""},
		"an empty note":       {"reviews/r1-2/note", url.Values{"text": {" "}}, nil, "", ""},
		"a note too long":     {"reviews/r1-2/note", url.Values{"text": {strings.Repeat("x", longestNote+1)}}, nil, "", ""},
		"an unknown letter":   {"deadletters/4/replay", url.Values{}, nil, "", ""},
		"a review's wrong id": {"reviews/a.b/take", url.Values{}, nil, "", ""},
	} {
		for _, token := range []string{"carl", "rita", "olga", "ada", "policy"} {
			d.back.done = nil
			status, location := d.act(token, "/console/t/acme/"+c.path, c.form)
			allowed := slices.Contains(c.who, token)
			want := strings.ReplaceAll(c.does, "WHO", token)
			if did := slices.Contains(d.back.done, want); did != allowed || !allowed && len(d.back.done) > 0 {
				t.Errorf("%s by %s: did %v", name, token, d.back.done)
			}
			if allowed && (status != http.StatusSeeOther || location != "/console/t/acme/"+c.then) || !allowed && (status < 400 || status >= 500) {
				t.Errorf("%s by %s: %d %s", name, token, status, location)
			}
		}
	}
}

func TestAFormThatIsNotOfTheSessionDoesNothing(t *testing.T) {
	d := newDesk(t)
	decision := url.Values{"decision": {"yes"}, "reason": {"VERIFIED"}}
	_, page := d.get("ada", "/console/t/acme/lists")
	other := formPattern.FindStringSubmatch(page)[1]
	for name, form := range map[string]string{"without the session's word": "", "with another session's": other} {
		r := post("/console/t/acme/reviews/r1-2/decide", url.Values{"decision": decision["decision"], "reason": decision["reason"], "form": {form}})
		r.AddCookie(d.signIn("rita"))
		if answer := d.send(r); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	_, page = d.get("rita", "/console/t/acme/lists")
	r := post("/console/t/acme/reviews/r1-2/decide", url.Values{"decision": decision["decision"], "reason": decision["reason"], "form": {formPattern.FindStringSubmatch(page)[1]}})
	r.AddCookie(d.signIn("rita"))
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if answer := d.send(r); answer.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %d", answer.StatusCode)
	}
	if slices.ContainsFunc(d.back.done, func(s string) bool { return strings.HasPrefix(s, "approve") }) {
		t.Errorf("did %v", d.back.done)
	}
}

func TestASignInIsRefusedWithTheReason(t *testing.T) {
	d := newDesk(t)
	for token, want := range map[string]struct {
		status int
		says   string
	}{
		"nobody": {http.StatusUnauthorized, "not valid"}, "": {http.StatusUnprocessableEntity, "not a token"},
		"two words": {http.StatusUnprocessableEntity, "not a token"}, strings.Repeat("x", longestToken+1): {http.StatusUnprocessableEntity, "not a token"},
		"chan": {http.StatusForbidden, "roles"},
	} {
		answer := d.send(post("/console/login", url.Values{"token": {token}}))
		body, _ := io.ReadAll(answer.Body)
		if answer.StatusCode != want.status || !strings.Contains(string(body), want.says) || len(answer.Cookies()) != 0 || token != "" && strings.Contains(string(body), token) {
			t.Errorf("%.10q: %d, cookies %v", token, answer.StatusCode, answer.Cookies())
		}
	}
}

func TestAnAddressThatGuessesTokensIsHeldOffAtTheSignIn(t *testing.T) {
	d := newDesk(t)
	d.config.Auth.FailuresPerAddress = 0.001
	var last *http.Response
	for range 3 {
		last = d.send(post("/console/login", url.Values{"token": {"guess"}}))
	}
	if last.StatusCode != http.StatusTooManyRequests || last.Header.Get("Retry-After") == "" {
		t.Errorf("the third guess: %d", last.StatusCode)
	}
}

func TestTheCookieIsSealedAndKeptFromScriptsAndOtherSites(t *testing.T) {
	d := newDesk(t)
	r := post("/console/login", url.Values{"token": {"ada"}, "next": {"/console/t/acme/lists"}})
	r.Header.Set("X-Forwarded-Proto", "https")
	answer := d.send(r)
	c := answer.Cookies()[0]
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/console" || c.MaxAge != 0 || !c.Expires.IsZero() || strings.Contains(c.Value, "ada") {
		t.Errorf("cookie %+v", c)
	}
	if d.signIn("rita").Secure {
		t.Error("without TLS a browser would not send it back")
	}
	if to := answer.Header.Get("Location"); to != "/console/t/acme/lists" {
		t.Errorf("then %s", to)
	}
	for _, next := range []string{"https://evil.example/console/t/", "//evil.example", "/console/t/\\evil", "/v1/stats"} {
		if to := d.send(post("/console/login", url.Values{"token": {"ada"}, "next": {next}})).Header.Get("Location"); to != Root {
			t.Errorf("next %s goes to %s", next, to)
		}
	}
	for name, value := range map[string]string{"another's": "AAAA", "cut off": c.Value[:len(c.Value)-4], "no base64": "!!"} {
		r := httptest.NewRequest(http.MethodGet, "/console/t/acme/lists", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: value})
		if answer := d.send(r); answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/console/login?next=%2Fconsole%2Ft%2Facme%2Flists" {
			t.Errorf("%s: %d %s", name, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
}

func TestASessionEndsWithItsTokenAndWithTheSignOut(t *testing.T) {
	d := newDesk(t)
	if err := d.auth.Replace(carol); err != nil {
		t.Fatal(err)
	}
	if status, _ := d.get("carol", "/console/t/acme/lists"); status != http.StatusOK {
		t.Fatalf("before: %d", status)
	}
	if err := d.auth.Replace(tenant.Auth{}); err != nil {
		t.Fatal(err)
	}
	if status, _ := d.get("carol", "/console/t/acme/lists"); status != http.StatusSeeOther {
		t.Errorf("with a token that was revoked: %d", status)
	}
	_, page := d.get("ada", "/console/t/acme/lists")
	r := post("/console/logout", url.Values{"form": {formPattern.FindStringSubmatch(page)[1]}})
	r.AddCookie(d.signIn("ada"))
	if c := d.send(r).Cookies(); len(c) != 1 || c[0].MaxAge >= 0 || c[0].Value != "" {
		t.Errorf("the sign-out leaves %v", c)
	}
	if status, _ := d.get("ada", "/console/t/acme/lists"); status != http.StatusSeeOther {
		t.Errorf("with a copy of the cookie after the sign-out: %d", status)
	}
	delete(d.cookies, "ada")
	if status, _ := d.get("ada", "/console/t/acme/lists"); status != http.StatusOK {
		t.Errorf("signed in again: %d", status)
	}
}

func TestSessionsThatEndedAreRememberedUntilTheyWouldHaveEndedAnyway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ended
		first := session{Form: "first", Begun: time.Now().UnixMilli()}
		e.add(first)
		time.Sleep(sessionAge - time.Second)
		second := session{Form: "second", Begun: time.Now().UnixMilli()}
		e.add(second)
		if !e.has(first) || !e.has(second) {
			t.Error("one is forgotten before its time")
		}
		time.Sleep(time.Second)
		for i := range mostEnded {
			e.add(session{Form: strconv.Itoa(i), Begun: time.Now().UnixMilli()})
		}
		if len(e.until) != mostEnded || e.has(first) || e.has(second) || !e.has(session{Form: "0"}) {
			t.Errorf("%d are remembered", len(e.until))
		}
	})
}

func TestEveryAnswerForbidsWhatThePagesDoNotNeed(t *testing.T) {
	d := newDesk(t)
	for _, path := range []string{"/console", "/console/login", "/console/assets/console.css", "/console/none", "/console/t/acme/pipeline"} {
		h := d.send(httptest.NewRequest(http.MethodGet, path, nil)).Header
		if csp := h.Get("Content-Security-Policy"); csp != policy || strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
	}
	for _, path := range []string{"pipeline", "registrations", "registrations/r1", "reviews", "reviews/r1-2", "cases", "cases/c1", "deadletters", "deadletters/3", "webhooks", "webhooks/h1", "lists", "mailbox"} {
		_, body := d.get("ada", "/console/t/acme/"+path)
		if inline := regexp.MustCompile(`<style|\sstyle=|\son[a-z]+=|<script(?:[^>]*)>[^<]|javascript:`).FindString(body); inline != "" {
			t.Errorf("%s has %q", path, inline)
		}
	}
}

func TestWhatFailsSaysSoAndTellsNothingOfTheError(t *testing.T) {
	d := newDesk(t)
	d.signIn("ada")
	d.back.fails = errors.New("database at 10.0.0.7 said Solveig")
	for _, path := range []string{"pipeline", "registrations", "registrations/r1", "reviews", "reviews/r1-2", "cases/c1", "deadletters"} {
		status, body := d.get("ada", "/console/t/acme/"+path)
		if status != http.StatusServiceUnavailable || strings.Contains(body, "10.0.0.7") {
			t.Errorf("%s: %d", path, status)
		}
	}
	d.back.fails = &Refusal{http.StatusConflict, "The case is not open any more."}
	if status, body := d.get("ada", "/console/t/acme/reviews/r1-2"); status != http.StatusConflict || !strings.Contains(body, "not open any more") {
		t.Errorf("a refusal: %d", status)
	}
}

func TestThePipelineStreamsWhatChanges(t *testing.T) {
	d := newDesk(t)
	server := httptest.NewServer(d.handler)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/console/t/acme/pipeline/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(d.signIn("carl"))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	d.back.mu.Lock()
	d.back.stopped = true
	d.back.mu.Unlock()
	var seen strings.Builder
	for buffer := make([]byte, 4096); !strings.Contains(seen.String(), `"state":"stopped","why":"No validator`); {
		n, err := answer.Body.Read(buffer)
		seen.Write(buffer[:n])
		if err != nil {
			t.Fatalf("%v after %s", err, seen.String())
		}
	}
	if answer.Header.Get("Content-Type") != "text/event-stream" || !strings.Contains(seen.String(), `"FAILED":41`) {
		t.Errorf("%v %s", answer.Header, seen.String())
	}
	unknown := httptest.NewRequest(http.MethodGet, "/console/t/acme/pipeline/stream", nil)
	if status := d.send(unknown).StatusCode; status != http.StatusSeeOther {
		t.Errorf("without a session: %d", status)
	}
}

func TestAnOpenStreamEndsSoonAfterItsTokenIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		if err := d.auth.Replace(carol); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/console/t/acme/pipeline/stream", nil).WithContext(t.Context())
		r.AddCookie(d.signIn("carol"))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.handler.ServeHTTP(httptest.NewRecorder(), r)
		}()
		time.Sleep(3 * streamBeat)
		select {
		case <-ended:
			t.Fatal("it ended while the token was valid")
		default:
		}
		if err := d.auth.Replace(tenant.Auth{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(streamBeat + 2*pictureEvery)
		select {
		case <-ended:
		default:
			t.Error("it goes on with a token that was revoked")
		}
	})
}

func TestTheWaterfallKeepsEveryBarInsideAndInOrder(t *testing.T) {
	var steps []Step
	at := noon
	for _, after := range []time.Duration{0, 3 * time.Millisecond, 0, time.Second, 26 * time.Hour, 90 * time.Millisecond} {
		at = at.Add(after)
		steps = append(steps, Step{At: at})
	}
	w := waterfallOf(steps)
	if w.Total != at.Sub(noon) || w.Rows[4].Took != 26*time.Hour {
		t.Errorf("total %v, rows %+v", w.Total, w.Rows)
	}
	for i, b := range w.Rows {
		if b.X < 0 || b.W < leastWidth || b.X+b.W > barsWidth+0.001 || i > 0 && b.X < w.Rows[i-1].X {
			t.Errorf("bar %d from %.1f, %.1f wide", i, b.X, b.W)
		}
	}
	if w.Rows[4].W <= w.Rows[3].W || w.Rows[3].W <= w.Rows[1].W {
		t.Error("what took longer is not longer")
	}
	if empty := waterfallOf(nil); len(empty.Rows) != 0 {
		t.Error("a history of nothing has bars")
	}
}
