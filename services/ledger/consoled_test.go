package ledger

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/usherhq/usher/events"
)

// signedIn returns a browser of the console, signed in with a token.
func (w *feedWorld) signedIn(token string) (get func(path string) (status int, body string)) {
	w.t.Helper()
	s := httptest.NewServer(newConsole(w.api, newStages(w.env.Bus, w.env.Log), nil))
	w.t.Cleanup(s.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	answered := func(a *http.Response, err error) (int, string) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		defer a.Body.Close()
		raw, err := io.ReadAll(a.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		return a.StatusCode, string(raw)
	}
	home := "/console/t/" + cloudVault + "/"
	if status, _ := answered(browser.PostForm(s.URL+"/console/login", url.Values{"token": {token}, "next": {home + "registrations"}})); status != http.StatusOK {
		w.t.Fatalf("%s cannot sign in: %d", token, status)
	}
	return func(path string) (int, string) { return answered(browser.Get(s.URL + home + path)) }
}

func TestTheConsoleTellsWhoReadsARegistrationAndItsMailsBeforeTheyAreShown(t *testing.T) {
	w := newFeedWorld(t)
	requested := events.Requested{Carried: events.Carried{Channel: "native"}}
	if err := w.model.onAnyEvent(t.Context(), events.Record{Subject: events.SubjectOf(cloudVault, "r1", requested), Event: requested, Stored: noon, Sequence: 1}); err != nil {
		t.Fatal(err)
	}
	read := func(who, what string) events.RecordAccessed {
		return events.RecordAccessed{Actor: who, Purpose: what, Registration: "r1"}
	}
	for name, c := range map[string]struct {
		token, path string
		want        []events.RecordAccessed
	}{
		"an operator sees mails too":      {"admin", "registrations/r1", []events.RecordAccessed{read("admin", "registration"), read("admin", "mails")}},
		"compliance sees no mails":        {"auditor", "registrations/r1", []events.RecordAccessed{read("auditor", "registration")}},
		"a search reads what it leads to": {"auditor", "registrations?id=r1", []events.RecordAccessed{read("auditor", "registration")}},
		"a list shows no registration":    {"admin", "registrations", nil},
		"one that is not there":           {"admin", "registrations/r2", nil},
	} {
		get, before := w.signedIn(c.token), len(w.reads.accessed())
		status, body := get(c.path)
		if shown := status == http.StatusOK && strings.Contains(body, "<code>r1</code>"); shown == strings.HasSuffix(c.path, "r2") {
			t.Errorf("%s: %d", name, status)
		}
		if got := w.reads.accessed()[before:]; fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: told %+v, want %+v", name, got, c.want)
		}
	}
	get := w.signedIn("admin")
	w.reads.fails["log"] = errors.New("on purpose")
	for _, path := range []string{"registrations/r1", "registrations?id=r1"} {
		if status, body := get(path); status != http.StatusServiceUnavailable || strings.Contains(body, "<code>r1</code>") {
			t.Errorf("%s, not told, answers %d", path, status)
		}
	}
}

func TestAConsoleThatLooksTakesNoStreamOfTheFeed(t *testing.T) {
	w := newFeedWorld(t)
	p := newConsolePipeline(w.api, newStages(w.env.Bus, w.env.Log))
	var releases []func()
	for range mostStreams {
		release, ok := p.Watch(cloudVault)
		if !ok {
			t.Fatalf("no more than %d may look", len(releases))
		}
		releases = append(releases, release)
	}
	if _, ok := p.Watch(cloudVault); ok {
		t.Errorf("more than %d may look", mostStreams)
	}
	if !w.api.streams.enter(cloudVault) {
		t.Error("the feed has no stream left")
	}
	releases[0]()
	if _, ok := p.Watch(cloudVault); !ok {
		t.Error("nobody may look in the place of one who left")
	}
}
