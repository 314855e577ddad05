package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/store"
	"github.com/usherhq/usher/pkg/store/storetest"
)

const acme = "acme"

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) store.Backend {
	t.Helper()
	b := storetest.Embedded(t, registrationSchema)
	return b
}

// history is a registration's whole way, in the order of the stream.
func history(id string) []events.Record {
	carried := events.Carried{Channel: "native", UserID: "u", PersonID: "p", Vault: 7, MAC: "m", Config: "c"}
	all := []events.Event{
		events.Requested{Carried: carried},
		events.Validated{Carried: carried, Versions: events.Versions{Config: "c"}},
		events.Categorized{Carried: carried, Assessment: events.Assessment{Case: 1, Score: 12, Level: "LOW"}, Category: events.Category{ID: "cat"}},
		events.AccountCreated{Carried: carried, Epoch: 1, ValiditySeconds: 60},
		events.ActivationSent{Cause: "created", Epoch: 1, MessageID: "m"},
		events.ActivationRequested{RequestID: "r", CodeHash: "h"},
		events.AccountActivated{RequestID: "r"},
	}
	records := make([]events.Record, len(all))
	for i, e := range all {
		data, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		records[i] = events.Record{
			Subject: events.SubjectOf(acme, id, e), Source: events.Gateway, Time: noon.Add(time.Duration(i) * time.Second),
			TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Event: e, Sequence: uint64(10 + i), Stored: noon.Add(time.Duration(i) * time.Second), Data: data,
		}
	}
	return records
}

// until folds as the harness does: what fails comes again.
func until(ctx context.Context, m *readModel, r events.Record) error {
	for range 50 {
		err := m.onAnyEvent(ctx, r)
		if err == nil || !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrExists) {
			return err
		}
	}
	return errors.New("conflicts without end")
}

func TestEventsInAnyOrderAndRepeatedGiveWhatTheStreamGives(t *testing.T) {
	m := newReadModel(open(t))
	for trial := range 12 {
		id := fmt.Sprint("r", trial)
		want := history(id)
		shuffled := append(history(id), history(id)[:trial%7]...)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		var wg sync.WaitGroup
		for i, r := range shuffled {
			if i%3 == 0 {
				wg.Wait() // some in one batch, some in the next
			}
			wg.Go(func() {
				if err := until(t.Context(), m, r); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, ok, err := m.get(t.Context(), acme, id)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if got.Status != events.StatusActivated || got.Outcome != events.OutcomeActivated || got.AcceptedAt != noon.UnixMilli() {
			t.Errorf("status %s, outcome %q, accepted at %d", got.Status, got.Outcome, got.AcceptedAt)
		}
		if a, b := events.Fold(got.records(id)), events.Fold(want); !reflect.DeepEqual(a, b) {
			t.Errorf("the read model folds to %+v, the stream to %+v", a, b)
		}
		if _, ok, err := m.get(t.Context(), "other", id); ok || err != nil {
			t.Errorf("another tenant reads it: %v, %v", ok, err)
		}
	}
}

func TestReplicasThatFoldTheSameRegistrationLoseNoEvent(t *testing.T) {
	b := open(t)
	replicas := []*readModel{newReadModel(b), newReadModel(b), newReadModel(b)}
	const registrations = 20
	var wg sync.WaitGroup
	for n := range registrations {
		for i, r := range history(fmt.Sprint("r", n)) {
			wg.Go(func() {
				if err := until(t.Context(), replicas[(i+n)%len(replicas)], r); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for n := range registrations {
		id := fmt.Sprint("r", n)
		got, _, err := replicas[0].get(t.Context(), acme, id)
		if err != nil || len(got.History) != len(history(id)) || got.Status != events.StatusActivated {
			t.Errorf("%s has %d events and is %s, %v", id, len(got.History), got.Status, err)
		}
	}
}
