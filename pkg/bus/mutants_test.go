package bus

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/usherhq/usher/events"
)

// broken says what is wrong with a registration that a validator should have handled once:
// the promise of the stage rule, checked from the stream.
func (w *world) broken(id string) string {
	w.t.Helper()
	w.eventually("nothing is owed", w.settled)
	stored := 0
	s, err := w.js.Stream(w.t.Context(), Registrations)
	if err != nil {
		w.t.Fatal(err)
	}
	subject := events.SubjectOf(acme, id, events.Validated{}).String()
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		if m, err := s.GetMsg(w.t.Context(), seq); err == nil && m.Subject == subject {
			stored++
		}
	}
	if stored != 1 {
		return fmt.Sprintf("%d outcomes", stored)
	}
	return ""
}

func TestTheCheckOfTheStageRuleCatchesItsMutants(t *testing.T) {
	publishUnguarded := func(w *world, in events.Record) {
		r := events.Record{Subject: events.SubjectOf(acme, in.Subject.Registration, events.Validated{}), Source: events.Validator, Event: events.Validated{}}
		header, data, err := r.Encode()
		if err == nil {
			_, err = w.js.PublishMsg(w.t.Context(), &nats.Msg{Subject: r.Subject.String(), Header: header, Data: data})
		}
		if err != nil {
			w.t.Error(err)
		}
	}
	for name, test := range map[string]struct {
		handler func(w *world) Handler
		want    string
	}{
		"the rule itself": {func(*world) Handler { return On(valid) }, ""},
		"acknowledged before the effect, then killed": {func(*world) Handler {
			return On(func(context.Context, In[events.Requested]) (events.Event, error) { return nil, nil })
		}, "0 outcomes"},
		"published without an expected sequence, twice": {func(w *world) Handler {
			return On(func(_ context.Context, in In[events.Requested]) (events.Event, error) {
				publishUnguarded(w, in.Record)
				publishUnguarded(w, in.Record)
				return nil, nil
			})
		}, "2 outcomes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.request("r1")
			w.run(test.handler(w))
			if got := w.broken("r1"); got != test.want {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}
