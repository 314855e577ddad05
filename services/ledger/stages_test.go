package ledger

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/services/ledger/console"
)

// brokerTells what a test lets it.
type brokerTells struct {
	mu        sync.Mutex
	validator bus.Queue
	letters   []bus.DeadLetter
	fails     error
}

func (b *brokerTells) set(validator bus.Queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.validator = validator
}

func (b *brokerTells) Queues(context.Context) ([]bus.Queue, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var queues []bus.Queue
	for _, c := range bus.Consumers() {
		q := bus.Queue{Consumer: c, Waiting: 1}
		if c.Name == "validator-requested" {
			q = b.validator
			q.Consumer = c
		} else if c.Service == events.Validator {
			q.Waiting = b.validator.Waiting
		}
		queues = append(queues, q)
	}
	return queues, b.fails
}

func (b *brokerTells) DeadLettersOf(_ context.Context, _ string, from uint64, limit int) (page []bus.DeadLetter, err error) {
	for _, l := range b.letters {
		if l.Sequence >= from && len(page) < limit {
			page = append(page, l)
		}
	}
	return page, nil
}

func stageOf(p console.Picture, service events.Service) console.Stage {
	for _, s := range p.Stages {
		if s.Service == service {
			return s
		}
	}
	return console.Stage{}
}

func TestAStageThatStopsIsSeenWithinHalfAMinuteAndOneThatComesBackToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &brokerTells{validator: bus.Queue{Waiting: 1}}
		s := newStages(b, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		go s.run(ctx)
		time.Sleep(time.Minute + time.Second) // between two readings, as all that follows
		if v := stageOf(s.picture(acme), events.Validator); v.State != console.StageWorking || s.warning() != "" {
			t.Errorf("an idle stage is %s, %q", v.State, s.warning())
		}
		b.set(bus.Queue{Pending: 34}) // nobody asks
		time.Sleep(silence / 2)
		if v := stageOf(s.picture(acme), events.Validator); v.State != console.StageWorking {
			t.Errorf("after a breath it is %s", v.State)
		}
		time.Sleep(20*time.Second - silence/2)
		v := stageOf(s.picture(acme), events.Validator)
		if v.State != console.StageStopped || !strings.Contains(v.Why, "wait for it: 34.") || !strings.HasPrefix(s.warning(), "validator is stopped: No validator") {
			t.Errorf("after 20 s it is %s: %q, /readyz %q", v.State, v.Why, s.warning())
		}
		b.set(bus.Queue{Waiting: 1, Pending: 34})
		time.Sleep(stagesEvery + time.Second)
		if v := stageOf(s.picture(acme), events.Validator); v.State != console.StageWorking || v.Pending != 34 {
			t.Errorf("when it is back it is %s", v.State)
		}
		b.set(bus.Queue{Waiting: 1, Pending: 34, Age: behindAfter + time.Second})
		time.Sleep(stagesEvery + time.Second)
		if v := stageOf(s.picture(acme), events.Validator); v.State != console.StageBehind || v.Oldest < 30 {
			t.Errorf("with an old message it is %s", v.State)
		}
		b.set(bus.Queue{Waiting: 1, Redelivered: 2, Unacked: 2})
		time.Sleep(stagesEvery + time.Second)
		if v := stageOf(s.picture(acme), events.Validator); v.State != console.StageRetrying {
			t.Errorf("with messages that come again it is %s", v.State)
		}
		stop()
		synctest.Wait()
	})
}

func TestAStageThatIsBusyWithAllItsMessagesIsNotTakenForStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &brokerTells{}
		s := newStages(b, slog.New(slog.DiscardHandler))
		for range 10 {
			b.validator.Delivered += 300
			s.read(t.Context())
			if v := stageOf(s.picture(acme), events.Validator); v.State != console.StageWorking {
				t.Fatalf("it is %s", v.State)
			}
			time.Sleep(stagesEvery)
		}
		p := s.picture(acme)
		if v, g := stageOf(p, events.Validator), stageOf(p, events.Gateway); v.Rate != 60 || g.Rate != 60 {
			t.Errorf("the rates are %v and %v, want 60", v.Rate, g.Rate)
		}
	})
}

func TestDeadLettersOfATenantAreCountedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letter := func(sequence uint64, tenant string, ago time.Duration) bus.DeadLetter {
			return bus.DeadLetter{Sequence: sequence, Service: events.Validator, Subject: "reg." + tenant + ".r1.requested.1", At: time.Now().Add(-ago)}
		}
		b := &brokerTells{letters: []bus.DeadLetter{letter(1, acme, 25*time.Hour), letter(2, acme, 23*time.Hour), letter(3, "other", time.Hour)}}
		s := newStages(b, slog.New(slog.DiscardHandler))
		s.read(t.Context())
		b.letters = append(b.letters, letter(4, acme, 0))
		s.read(t.Context())
		s.read(t.Context())
		if v := stageOf(s.picture(acme), events.Validator); v.Dead != 2 {
			t.Errorf("%d are counted, want 2", v.Dead)
		}
		time.Sleep(2 * time.Hour)
		s.read(t.Context())
		if v := stageOf(s.picture(acme), events.Validator); v.Dead != 1 {
			t.Errorf("two hours later %d, want 1", v.Dead)
		}
	})
}

func TestABrokerThatDoesNotTellIsSaid(t *testing.T) {
	b := &brokerTells{}
	s := newStages(b, slog.New(slog.DiscardHandler))
	s.read(t.Context())
	b.fails = errors.New("no responders")
	s.read(t.Context())
	if p := s.picture(acme); p.Problem == "" || len(p.Stages) != len(events.Services) {
		t.Errorf("problem %q, %d stages", p.Problem, len(p.Stages))
	}
	b.fails = nil
	s.read(t.Context())
	if p := s.picture(acme); p.Problem != "" {
		t.Errorf("problem %q", p.Problem)
	}
}

func TestSomebodyWhoLooksMakesReadingsMoreFrequent(t *testing.T) {
	s := newStages(&brokerTells{}, slog.New(slog.DiscardHandler))
	first, second := s.watch(), s.watch()
	first()
	first()
	if s.pause() != watchedEvery {
		t.Errorf("while one looks it pauses %v", s.pause())
	}
	second()
	if s.pause() != stagesEvery {
		t.Errorf("when nobody looks it pauses %v", s.pause())
	}
}
