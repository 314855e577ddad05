package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
)

// accessed are the facts that were told, in their order and without their random ids.
func (s *tape) accessed() (all []events.RecordAccessed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.facts {
		e := f.(events.RecordAccessed)
		e.ID = ""
		all = append(all, e)
	}
	return all
}

func TestWhoReadsARegistrationOrItsMailsIsToldBeforeItIsShown(t *testing.T) {
	w := newFeedWorld(t)
	requested := events.Requested{Carried: events.Carried{Channel: "native"}}
	if err := w.model.onAnyEvent(t.Context(), events.Record{Subject: events.SubjectOf(cloudVault, "r1", requested), Event: requested, Stored: noon, Sequence: 1}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]events.RecordAccessed{
		"/v1/registrations/r1":       {Actor: "admin", Purpose: "registration", Registration: "r1"},
		"/v1/registrations/r1/mails": {Actor: "admin", Purpose: "mails", Registration: "r1"},
		"/v1/mails?state=SENT":       {Actor: "admin", Purpose: "mails"},
	} {
		before := len(w.reads.accessed())
		if a := w.request(t.Context(), "admin", cloudVault, path); a.StatusCode != http.StatusOK {
			t.Fatalf("%s answers %d", path, a.StatusCode)
		}
		if got := w.reads.accessed()[before:]; len(got) != 1 || got[0] != want {
			t.Errorf("%s told %+v", path, got)
		}
	}
	before := len(w.reads.accessed())
	for _, path := range []string{"/v1/registrations/r2", "/v1/registrations", "/v1/stats", "/v1/mails"} {
		w.request(t.Context(), "admin", cloudVault, path)
	}
	w.request(t.Context(), "auditor", finsei, "/v1/registrations/r1")
	if got := w.reads.accessed(); len(got) != before {
		t.Errorf("what shows no registration told %+v", got[before:])
	}
	w.reads.fails["log"] = errors.New("on purpose")
	for _, path := range []string{"/v1/registrations/r1", "/v1/registrations/r1/mails", "/v1/mails?state=SENT"} {
		a := w.request(t.Context(), "admin", cloudVault, path)
		if raw, _ := io.ReadAll(a.Body); a.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(raw), "r1") {
			t.Errorf("%s, not told, answers %d %s", path, a.StatusCode, raw)
		}
	}
}

func TestWhoReadsTheFeedIsToldAtOnceAndTheRestTogether(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 100)
	next := "/v1/events?limit=7&purpose=export"
	for {
		page, after := w.page(cloudVault, next)
		if len(page) == 0 {
			break
		}
		next = after
	}
	first := events.RecordAccessed{Actor: "admin", Purpose: "export", From: 1, To: 7, Count: 7}
	if got := w.reads.accessed(); len(got) != 1 || got[0] != first {
		t.Errorf("until the window's end told %+v", got)
	}
	w.page(finsei, "/v1/events?limit=2")
	w.page(cloudVault, "/v1/events?limit=2&types="+events.Validated{}.Type())
	for range 3 {
		w.api.accesses.end(t.Context())
	}
	want := []events.RecordAccessed{
		first, {Actor: "admin", Purpose: "feed", From: 1, To: 2, Count: 2}, {Actor: "admin", Purpose: "feed", From: 2, To: 5, Count: 2},
		{Actor: "admin", Purpose: "export", From: 8, To: 300, Count: 293},
	}
	if got := w.reads.accessed(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("told\n%+v\nwant\n%+v", got, want)
	}
}

func TestAPageThatCannotBeToldIsNotShownAndWhatWasGatheredIsToldLater(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 2)
	w.reads.fails["log"] = errors.New("on purpose")
	for range 2 { // the second is none that follows a first
		if a := w.request(t.Context(), "admin", cloudVault, "/v1/events?limit=2"); a.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("answers %d", a.StatusCode)
		}
	}
	delete(w.reads.fails, "log")
	w.reads.facts = nil
	_, next := w.page(cloudVault, "/v1/events?limit=2")
	w.page(cloudVault, next)
	w.reads.fails["log"] = errors.New("on purpose")
	w.api.accesses.end(t.Context())
	delete(w.reads.fails, "log")
	w.reads.facts = w.reads.facts[:1]
	w.api.accesses.end(t.Context())
	if got := w.reads.accessed(); len(got) != 2 || got[1].From != 3 || got[1].To != 4 || got[1].Count != 2 {
		t.Errorf("told %+v", got)
	}
}

// stuck stores nothing, and says so once it is let go on.
type stuck struct {
	*tape
	in, out chan struct{}
}

func (s stuck) Publish(context.Context, string, string, events.Event) error {
	close(s.in)
	<-s.out
	return errors.New("on purpose")
}

func TestAPageThatIsHandedOutWhileTheFirstCannotBeToldIsToldLater(t *testing.T) {
	s := stuck{newTape(), make(chan struct{}), make(chan struct{})}
	a := newAccesses(s, slog.New(slog.DiscardHandler))
	q := feedQuery{tenant: "t", actor: "ada", purpose: readFeed}
	first := make(chan error)
	go func() { first <- a.page(t.Context(), q, []fed{{kind: "x", sequence: 1}}) }()
	<-s.in
	if err := a.page(t.Context(), q, []fed{{kind: "x", sequence: 2}}); err != nil {
		t.Fatal(err)
	}
	close(s.out)
	if err := <-first; err == nil {
		t.Fatal("the first is shown and was not told")
	}
	a.stream = s.tape
	a.end(t.Context())
	want := events.RecordAccessed{Actor: "ada", Purpose: readFeed, From: 2, To: 2, Count: 1}
	if got := s.accessed(); len(got) != 1 || got[0] != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

func TestAReaderIsNotWokenForEverByItsOwnReading(t *testing.T) {
	w := newFeedWorld(t)
	w.api.accesses = newAccesses(w.env.Bus, w.env.Log)
	w.publish(0, 5)
	next, pages := "/v1/events", 0
	for {
		page, after := w.page(cloudVault, next)
		w.api.accesses.end(t.Context())
		if len(page) == 0 {
			break
		}
		if next, pages = after, pages+1; pages > 3 {
			t.Fatal("it goes on and on")
		}
		s, err := w.js.Stream(t.Context(), bus.Tenants)
		if err != nil {
			t.Fatal(err)
		}
		w.eventually("the feed has the facts", func() bool { return w.last(cloudVault) == 15+s.CachedInfo().State.Msgs })
	}
	if told := w.last(cloudVault) - 15; told != 1 {
		t.Errorf("%d facts for one page", told)
	}
}

func TestAWindowEndsByItself(t *testing.T) {
	w := newFeedWorld(t)
	w.publish(0, 2)
	_, next := w.page(cloudVault, "/v1/events?limit=2")
	w.page(cloudVault, next)
	go w.api.accesses.run(t.Context(), time.Millisecond)
	w.eventually("the rest is told", func() bool { return len(w.reads.accessed()) == 2 })
}
