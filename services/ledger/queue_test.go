package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/pkg/keys"
	"github.com/usherhq/usher/pkg/keys/keystest"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/vault"
)

// tape stands for the streams and the vault, and keeps what was done in its order. Safe for
// concurrent use.
type tape struct {
	mu     sync.Mutex
	stored map[events.Subject]events.Record
	facts  []events.Event
	done   []string
	fails  map[string]error // by what is done
	gone   bool             // the person
}

func newTape() *tape {
	return &tape{stored: map[events.Subject]events.Record{}, fails: map[string]error{}}
}

func (s *tape) do(what string) error {
	s.done = append(s.done, what)
	return s.fails[what]
}

func (s *tape) Publish(_ context.Context, tenant, registration string, e events.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if registration == "" {
		s.facts = append(s.facts, e)
		return s.do("log")
	}
	at := events.SubjectOf(tenant, registration, e)
	if _, taken := s.stored[at]; taken {
		return bus.ErrExists
	}
	s.stored[at] = events.Record{Subject: at, Event: e, Stored: noon.Add(time.Minute)}
	return s.do("publish")
}

func (s *tape) StoredAt(_ context.Context, at events.Subject) (events.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.stored[at]
	if !ok {
		return r, bus.ErrAbsent
	}
	return r, s.do("read")
}

func (s *tape) Get(context.Context, string, string, uint64) (vault.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.do("unseal"); err != nil {
		return vault.Entry{}, err
	}
	if s.gone {
		return vault.Entry{}, vault.ErrMissing
	}
	return vault.Entry{Registration: events.Registration{Applicant: events.Applicant{FamilyName: "Solveig", MothersMaidenName: "Norn"}}}, nil
}

func newTestQueue(t *testing.T) (*queue, *tape, store.Backend) {
	t.Helper()
	b := open(t)
	if err := b.Ensure(t.Context(), reviewSchema); err != nil {
		t.Fatal(err)
	}
	ring := keystest.Ring(t)
	s := newTape()
	return &queue{store.NewDocs(b, reviewSchema, review.fields), disclosure{s, s}, ring, newReadModel(b)}, s, b
}

func told(id string, after time.Duration, e events.Event) events.Record {
	return events.Record{Subject: events.SubjectOf(acme, id, e), Event: e, Stored: noon.Add(after)}
}

func required(version int, first string) events.ReviewRequired {
	return events.ReviewRequired{
		Carried: events.Carried{Channel: "native", Vault: 7}, NextCase: version, FirstActor: first, MaxReviewSeconds: 3600,
		Assessment: events.Assessment{Case: version - 1, Score: 12, Level: "LOW", Hits: []events.Hit{{List: "demo", Entry: "demo-1", Score: 990}}, MoreHits: 1},
	}
}

func (q *queue) must(t *testing.T, records ...events.Record) {
	t.Helper()
	for _, r := range records {
		if err := q.onReviewEvent(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheEventsOfACaseGiveTheSameInAnyOrderAndRepeated(t *testing.T) {
	q, _, _ := newTestQueue(t)
	for trial := range 12 {
		id := fmt.Sprint("r", trial)
		all := []events.Record{
			told(id, 0, required(2, "")), told(id, time.Minute, events.ReviewDecided{Case: 2, Approved: true, Actor: "rita", Reason: "VERIFIED"}),
			told(id, 2*time.Minute, required(3, "rita")), told(id, 3*time.Minute, events.ReviewDecided{Case: 3, Actor: "sam", Reason: "TRUE_MATCH"}),
			told(id, 0, events.Requested{}),
		}
		all = append(all, all[:trial%5]...)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var wg sync.WaitGroup
		for _, r := range all {
			wg.Go(func() {
				if err := q.onReviewEvent(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		first, err1 := q.get(t.Context(), acme, id+"-2")
		second, err2 := q.get(t.Context(), acme, id+"-3")
		if err := errors.Join(err1, err2); err != nil || first.State != ReviewApproved || second.State != ReviewRejected {
			t.Fatalf("%s and %s, %v", first.State, second.State, err)
		}
		if !reflect.DeepEqual(*second.Asked, asked{noon.Add(2 * time.Minute).UnixMilli(), required(3, "rita")}) || second.Decided.At != noon.Add(3*time.Minute).UnixMilli() {
			t.Errorf("the second is %+v, %+v", second.Asked, second.Decided)
		}
	}
}

func TestAnAccessIsLoggedBeforeThePersonIsUnsealed(t *testing.T) {
	q, s, _ := newTestQueue(t)
	q.must(t, told("r1", 0, required(2, "")))
	o, err := q.open(t.Context(), acme, "r1-2", "rita")
	if err != nil || o.person.FamilyName != "Solveig" || o.person.MothersMaidenName != "" || !slices.Equal(s.done, []string{"log", "unseal"}) {
		t.Fatalf("%+v after %v, %v", o.person, s.done, err)
	}
	if e := s.facts[0].(events.PersonAccessed); e.Actor != "rita" || e.Registration != "r1" || e.Case != 2 || !events.ValidToken(e.N()) {
		t.Errorf("logged %+v", e)
	}
	s.done, s.fails["log"] = nil, errors.New("away")
	if o, err := q.open(t.Context(), acme, "r1-2", "rita"); err == nil || o.person != nil || !slices.Equal(s.done, []string{"log"}) {
		t.Errorf("not logged, and shown %+v after %v, %v", o.person, s.done, err)
	}
	s.done, s.fails = nil, map[string]error{}
	if _, err := q.open(t.Context(), "other", "r1-2", "rita"); !errors.Is(err, errNoCase) || len(s.done) > 0 {
		t.Errorf("another tenant: %v after %v", err, s.done)
	}
	s.gone = true
	if o, err := q.open(t.Context(), acme, "r1-2", "rita"); err != nil || o.person != nil {
		t.Errorf("gone from the vault: %+v, %v", o.person, err)
	}
	s.fails["unseal"] = keys.ErrUnknownKey
	if _, err := q.open(t.Context(), acme, "r1-2", "rita"); !errors.Is(err, keys.ErrUnknownKey) {
		t.Errorf("a key that is not here yet: %v", err)
	}
}

func TestADecisionWhoseOutcomeWasUnknownIsSentAgain(t *testing.T) {
	for sentence, failing := range map[string]string{"the publish is stored and not answered": "publish", "the stored one cannot be read": "read"} {
		q, s, _ := newTestQueue(t)
		q.must(t, told("r1", 0, required(2, "")))
		s.fails[failing] = errors.New("timeout")
		if _, err := q.decide(t.Context(), acme, "r1-2", true, "rita", "VERIFIED"); err == nil || errors.Is(err, errClosed) {
			t.Errorf("%s: %v", sentence, err)
		}
		s.fails = map[string]error{}
		if c, err := q.decide(t.Context(), acme, "r1-2", false, "sam", "TRUE_MATCH"); !errors.Is(err, errClosed) || c.Decided.Actor != "rita" {
			t.Errorf("%s, another then: %v", sentence, err)
		}
		for range 2 {
			if c, err := q.decide(t.Context(), acme, "r1-2", true, "rita", "VERIFIED"); err != nil || c.State != ReviewApproved {
				t.Errorf("%s, the same again: %v", sentence, err)
			}
		}
	}
}

func TestNotesAreKeptSealedAndNoneIsLost(t *testing.T) {
	q, _, b := newTestQueue(t)
	q.must(t, told("r1", 0, required(2, "")))
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			if _, err := q.note(t.Context(), acme, "r1-2", "rita", fmt.Sprint("Solveig ", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	raw, err := b.Get(t.Context(), reviewSchema.Collection, "r1-2")
	if err != nil || bytes.Contains(raw["r1-2"].Body, []byte("Solveig")) {
		t.Errorf("stored %s, %v", raw["r1-2"].Body, err)
	}
	o, err := q.open(t.Context(), acme, "r1-2", "sam")
	slices.Sort(o.notes)
	if err != nil || !slices.Equal(o.notes, []string{"Solveig 0", "Solveig 1", "Solveig 2", "Solveig 3", "Solveig 4"}) {
		t.Errorf("read %v, %v", o.notes, err)
	}
	for range mostNotes - 5 {
		_, err = q.note(t.Context(), acme, "r1-2", "rita", "x")
	}
	if _, full := q.note(t.Context(), acme, "r1-2", "rita", "x"); err != nil || !errors.Is(full, errTooMany) {
		t.Errorf("the last: %v, one more: %v", err, full)
	}
}

func TestAnErasureWithdrawsTheCasesAndForgetsTheirNotes(t *testing.T) {
	q, s, _ := newTestQueue(t)
	q.must(t, told("r1", 0, required(2, "")), told("r2", 0, required(2, "")))
	if _, err := q.note(t.Context(), acme, "r1-2", "rita", "words"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := q.withdraw(t.Context(), "r1"); err != nil {
			t.Fatal(err)
		}
		q.must(t, told("r1", 0, required(2, "")))
	}
	for what, err := range map[string]error{
		"decided":  second(q.decide(t.Context(), acme, "r1-2", true, "rita", "VERIFIED")),
		"noted":    second(q.note(t.Context(), acme, "r1-2", "rita", "words")),
		"assigned": second(q.take(t.Context(), acme, "r1-2", "rita")),
	} {
		if !errors.Is(err, errClosed) {
			t.Errorf("withdrawn and %s: %v", what, err)
		}
	}
	s.done = nil
	if o, err := q.open(t.Context(), acme, "r1-2", "rita"); err != nil || o.person != nil || !slices.Equal(s.done, []string{"log"}) {
		t.Errorf("opened %+v after %v, %v", o.person, s.done, err)
	}
	if c, err := q.get(t.Context(), acme, "r2-2"); err != nil || c.State != ReviewOpen {
		t.Errorf("another registration's is %s, %v", c.State, err)
	}
}

func TestACaseOfAnErasedRegistrationTellsThatItWasAndWhenWhateverComesFirst(t *testing.T) {
	asks := func(t *testing.T, q *queue) { q.must(t, told("r1", 0, required(2, "sam"))) }
	takes := func(t *testing.T, q *queue) {
		if _, err := q.take(t.Context(), acme, "r1-2", "rita"); err != nil {
			t.Fatal(err)
		}
	}
	decides := func(t *testing.T, q *queue) {
		q.must(t, told("r1", time.Minute, events.ReviewDecided{Case: 2, Actor: "rita", Reason: "TRUE_MATCH"}))
	}
	erases := func(t *testing.T, q *queue) {
		e := events.ErasureRequested{Actor: "admin"}
		if _, err := (forgetter{q.model, []func(context.Context, string) error{q.withdraw}}).onErasureRequested(t.Context(), bus.In[events.ErasureRequested]{Record: told("r1", time.Hour, e), Data: e}); err != nil {
			t.Fatal(err)
		}
	}
	for name, steps := range map[string][]func(*testing.T, *queue){
		"open before the erasure":                {asks, takes, erases},
		"decided before the erasure":             {asks, decides, erases},
		"asked after the erasure":                {erases, asks},
		"asked and decided after the erasure":    {erases, asks, decides},
		"decided after the erasure, asked later": {erases, decides, asks},
	} {
		t.Run(name, func(t *testing.T) {
			q, _, _ := newTestQueue(t)
			for _, step := range steps {
				step(t, q)
			}
			want := review{
				Tenant: acme, Registration: "r1", Case: 2, State: ReviewWithdrawn, Erased: true, Asked: &asked{At: noon.UnixMilli()},
			}
			if c, err := q.get(t.Context(), acme, "r1-2"); err != nil || !reflect.DeepEqual(c, want) {
				t.Errorf("left is %+v of %+v, %v", c, c.Asked, err)
			}
			if _, err := q.note(t.Context(), acme, "r1-2", "rita", "words"); !errors.Is(err, errClosed) {
				t.Errorf("noted: %v", err)
			}
			if age, err := q.oldest(t.Context(), acme, noon.Add(time.Hour)); age != 0 || err != nil {
				t.Errorf("the oldest open case is %v old, %v", age, err)
			}
		})
	}
}

func TestAWithdrawnCaseShowsWhenItWasOpened(t *testing.T) {
	c := review{Tenant: acme, Registration: "r1", Case: 2, Erased: true, Asked: &asked{noon.UnixMilli(), required(2, "sam")}}
	c.settle()
	raw, err := json.Marshal(viewOf(c))
	want := `{"id":"r1-2","registration":"r1","state":"WITHDRAWN","openedAt":"2026-06-15T12:00:00Z","score":0,"hits":0,"notes":0}`
	if err != nil || string(raw) != want {
		t.Errorf("got %s, %v", raw, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTheOldestOpenCaseIsMeasured(t *testing.T) {
	q, _, _ := newTestQueue(t)
	oldest := func(tenant string) time.Duration {
		age, err := q.oldest(t.Context(), tenant, noon.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return age
	}
	if age := oldest(acme); age != 0 {
		t.Errorf("of no case: %v", age)
	}
	q.must(t, told("r1", time.Minute, required(2, "")), told("r2", 2*time.Minute, required(2, "")))
	if age := oldest(acme); age != 59*time.Minute {
		t.Errorf("of two: %v", age)
	}
	q.must(t, told("r1", 3*time.Minute, events.ReviewDecided{Case: 2, Actor: "rita"}))
	if age := oldest(acme); age != 58*time.Minute {
		t.Errorf("of one: %v", age)
	}
	if age := oldest("other"); age != 0 {
		t.Errorf("of another tenant: %v", age)
	}
}

func TestWhatAListShowsOfACaseHasNothingOfThePerson(t *testing.T) {
	c := review{Tenant: acme, Registration: "r1", Case: 2, State: ReviewOpen, Asked: &asked{noon.UnixMilli(), required(2, "")}, Notes: []note{{By: "rita", Sealed: []byte("x")}}}
	raw, err := json.Marshal(viewOf(c))
	want := `{"id":"r1-2","registration":"r1","state":"OPEN","openedAt":"2026-06-15T12:00:00Z","decideBy":"2026-06-15T13:00:00Z","channel":"native","score":12,"level":"LOW","hits":2,"notes":1}`
	if err != nil || strings.TrimSpace(string(raw)) != want {
		t.Errorf("got %s, %v", raw, err)
	}
}
