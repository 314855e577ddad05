package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usherhq/usher/events"
	"github.com/usherhq/usher/pkg/bus"
	"github.com/usherhq/usher/services/ledger/console"
)

const (
	stagesEvery  = 5 * time.Second
	watchedEvery = time.Second // while somebody looks
	// silence is after how long a stage that neither asks for work nor gets any counts as stopped. Its
	// last request for work is over some seconds after it has stopped.
	silence = 10 * time.Second
	// behindAfter is how long a stage's oldest message may wait.
	behindAfter = 30 * time.Second
	rateOver    = 10 * time.Second
	lettersKept = 24 * time.Hour
	mostLetters = 10_000 // that are counted
	lettersRead = 500    // at once
)

// queueReader tells how it stands with the stages.
type queueReader interface {
	Queues(ctx context.Context) ([]bus.Queue, error)
	DeadLettersOf(ctx context.Context, tenant string, from uint64, limit int) ([]bus.DeadLetter, error)
}

// stages watches how the stages keep up, by what the broker tells of their consumers: it sees a
// stage that has stopped, wherever that runs. Safe for concurrent use.
type stages struct {
	from queueReader
	log  *slog.Logger

	mu      sync.Mutex
	at      time.Time // of the newest reading
	failed  error     // of the last try
	byStage map[events.Service]*stage
	letters []deadMark // of the last day, the oldest first
	next    uint64     // sequence of dead letters
	watched int
	wake    chan struct{}
}

// stage is what is known of one service.
type stage struct {
	queues []bus.Queue
	signed time.Time // when it last asked for work or got some
	counts []count   // of the last seconds, the oldest first
}

type count struct {
	at time.Time
	n  uint64
}

type deadMark struct {
	service events.Service
	tenant  string
	at      time.Time
}

func newStages(from queueReader, log *slog.Logger) *stages {
	return &stages{from: from, log: log, byStage: map[events.Service]*stage{}, wake: make(chan struct{}, 1)}
}

// run reads until ctx ends.
func (s *stages) run(ctx context.Context) {
	for {
		s.read(ctx)
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-time.After(s.pause()):
		}
	}
}

func (s *stages) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched > 0 {
		return watchedEvery
	}
	return stagesEvery
}

// watch makes readings more frequent until release is called.
func (s *stages) watch() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched++
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watched--
	})
}

func (s *stages) read(ctx context.Context) {
	queues, err := s.from.Queues(ctx)
	if err == nil {
		err = s.readLetters(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil && err != nil && s.failed == nil {
		s.log.WarnContext(ctx, "stages not read", "error", err)
	}
	if s.failed = err; err == nil {
		s.note(queues, time.Now())
	}
}

// readLetters reads the dead letters that came since the last time.
func (s *stages) readLetters(ctx context.Context) error {
	for {
		page, err := s.from.DeadLettersOf(ctx, "", s.next, lettersRead)
		if err != nil {
			return err
		}
		s.mu.Lock()
		for _, l := range page {
			s.next = l.Sequence + 1
			s.letters = append(s.letters, deadMark{l.Service, l.Tenant(), l.At})
		}
		old := time.Now().Add(-lettersKept)
		s.letters = slices.DeleteFunc(s.letters, func(m deadMark) bool { return m.at.Before(old) })
		s.letters = s.letters[max(0, len(s.letters)-mostLetters):]
		s.mu.Unlock()
		if len(page) < lettersRead {
			return nil
		}
	}
}

// note takes a reading; the caller holds the lock.
func (s *stages) note(queues []bus.Queue, now time.Time) {
	s.at = now
	of := map[events.Service][]bus.Queue{}
	for _, q := range queues {
		of[q.Service] = append(of[q.Service], q)
	}
	for service, queues := range of {
		st := s.byStage[service]
		if st == nil {
			st = &stage{signed: now}
			s.byStage[service] = st
		}
		asks := slices.ContainsFunc(queues, func(q bus.Queue) bool { return q.Waiting > 0 })
		if asks || delivered(queues) != delivered(st.queues) {
			st.signed = now
		}
		st.queues = queues
		n := delivered(queues)
		if service == events.Gateway {
			n = requested(of[events.Validator])
		}
		st.counts = append(st.counts, count{now, n})
		st.counts = slices.DeleteFunc(st.counts, func(c count) bool { return now.Sub(c.at) > rateOver })
	}
}

func delivered(queues []bus.Queue) (n uint64) {
	for _, q := range queues {
		n += q.Delivered
	}
	return n
}

// requested is how many requests there were: the validator gets every one.
func requested(queues []bus.Queue) uint64 {
	for _, q := range queues {
		if strings.HasSuffix(q.Name, "-"+string(events.StepRequested)) {
			return q.Delivered + uint64(q.Pending)
		}
	}
	return 0
}

// rate is a second's, over the last seconds.
func (st *stage) rate() float64 {
	if len(st.counts) < 2 {
		return 0
	}
	first, last := st.counts[0], st.counts[len(st.counts)-1]
	if last.n <= first.n {
		return 0
	}
	return float64(last.n-first.n) / last.at.Sub(first.at).Seconds()
}

// picture is the newest reading, with the dead letters of a tenant.
func (s *stages) picture(tenant string) console.Picture {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := console.Picture{At: s.at}
	if s.failed != nil {
		p.Problem = "The broker does not tell how the stages do. What is shown may be old."
	}
	for _, service := range events.Services {
		if st, known := s.byStage[service]; known {
			p.Stages = append(p.Stages, st.view(service, s.at, s.dead(service, tenant)))
		}
	}
	return p
}

func (s *stages) dead(service events.Service, tenant string) (n int) {
	for _, m := range s.letters {
		if m.service == service && m.tenant == tenant {
			n++
		}
	}
	return n
}

func (st *stage) view(service events.Service, now time.Time, dead int) console.Stage {
	v := console.Stage{Service: service, State: console.StageWorking, Rate: st.rate(), Dead: dead}
	oldest := time.Duration(0)
	for _, q := range st.queues {
		v.Pending, v.Unacked, v.Redelivered = v.Pending+q.Pending, v.Unacked+q.Unacked, v.Redelivered+q.Redelivered
		oldest = max(oldest, q.Age)
	}
	v.Oldest = oldest.Seconds()
	silent := now.Sub(st.signed)
	switch {
	case silent >= silence:
		v.State = console.StageStopped
		v.Why = fmt.Sprintf("No %s has asked for work for %d s; messages that wait for it: %d. Start it, or see why it does not reach the broker.",
			service, int(silent.Seconds()), v.Pending+v.Unacked)
	case oldest >= behindAfter:
		v.State = console.StageBehind
		v.Why = fmt.Sprintf("The oldest message has waited for %d s. Its logs tell why, or it needs more replicas.", int(oldest.Seconds()))
	case v.Redelivered > 0:
		v.State = console.StageRetrying
		v.Why = fmt.Sprintf("Messages that come again because handling them failed: %d. Its logs tell why.", v.Redelivered)
	}
	return v
}

// warning is what /readyz tells of stages that have stopped or are behind.
func (s *stages) warning() string {
	var all []string
	for _, st := range s.picture("").Stages {
		if st.State == console.StageStopped || st.State == console.StageBehind {
			all = append(all, string(st.Service)+" is "+string(st.State)+": "+st.Why)
		}
	}
	return strings.Join(all, " ")
}
