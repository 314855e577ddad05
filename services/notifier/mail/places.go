package mail

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	connections = 32              // to the server, for all letters
	perDomain   = 8               // of them for letters to one domain
	forSilent   = 16              // of them for letters to all domains that did not answer last time
	quiet       = 2 * time.Second // without any answer about a domain while letters to it are tried
	longestWait = 30 * time.Second
	comeBack    = 10 * time.Second       // the soonest that a letter that had no place comes again
	spacing     = 250 * time.Millisecond // between the letters to one domain that come again
	latest      = 15 * time.Minute
	remembered  = 10_000 // domains
)

// BusyError means that a letter had no place among the connections, so that it was not tried.
type BusyError struct {
	At time.Time // when it may come again
}

func (*BusyError) Error() string { return "no connection is free" }

// places shares the connections out among domains, so that no domain that hangs keeps letters to
// others waiting: while a domain is silent it has one place, and no letter waits for that.
// Safe for concurrent use.
type places struct {
	all chan struct{}

	mu      sync.Mutex
	domains map[string]*domain
	silent  int // places held by letters to silent domains
}

type domain struct {
	places   chan struct{}
	users    int       // letters that wait or are tried
	tried    int       // letters that are tried
	answered time.Time // last; or when the first of those that are tried began
	silent   bool      // the last try had no answer
	next     time.Time // when the next letter that finds no place comes again
}

func newPlaces() *places {
	return &places{all: make(chan struct{}, connections), domains: map[string]*domain{}}
}

// take returns once the letter may be tried; the caller calls leave then, and says whether the
// server answered. A BusyError means that others must not wait for this domain.
func (p *places) take(ctx context.Context, name string) (leave func(answered bool), err error) {
	d, probe, err := p.enter(name)
	if err != nil {
		return nil, err
	}
	if err := p.wait(ctx, d); err != nil {
		return nil, p.turnAway(name, d, probe)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.tried == 0 {
		d.answered = time.Now()
	}
	d.tried++
	return func(answered bool) { p.leave(name, d, probe, answered) }, nil
}

// enter counts a letter in, unless its domain is silent and has its one letter. probe means that
// this is that letter.
func (p *places) enter(name string) (d *domain, probe bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d = p.domains[name]
	if d == nil {
		p.forget()
		d = &domain{places: make(chan struct{}, perDomain)}
		p.domains[name] = d
	}
	if d.hangs() || d.silent && (d.users > 0 || p.silent >= forSilent) {
		return nil, false, d.busy()
	}
	d.users++
	if d.silent {
		p.silent++
	}
	return d, d.silent, nil
}

// wait takes a place of the domain, then one of all.
func (p *places) wait(ctx context.Context, d *domain) error {
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	if err := p.get(ctx, d, d.places); err != nil {
		return err
	}
	err := p.get(ctx, d, p.all)
	if err != nil {
		<-d.places
	}
	return err
}

// get takes one of some places, unless the domain turns out to hang meanwhile.
func (p *places) get(ctx context.Context, d *domain, some chan struct{}) error {
	select {
	case some <- struct{}{}:
		return nil
	default:
	}
	look := time.NewTicker(quiet)
	defer look.Stop()
	for {
		select {
		case some <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if p.hangs(d) {
				return context.DeadlineExceeded
			}
		}
	}
}

// turnAway counts a letter out that found no place, and says when it may come again.
func (p *places) turnAway(name string, d *domain, probe bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.countOut(name, d, probe)
	return d.busy()
}

func (p *places) leave(name string, d *domain, probe, answered bool) {
	<-p.all
	<-d.places
	p.mu.Lock()
	defer p.mu.Unlock()
	d.tried--
	d.silent = !answered
	if answered {
		d.answered = time.Now()
	}
	p.countOut(name, d, probe)
}

func (p *places) countOut(name string, d *domain, probe bool) {
	d.users--
	if probe {
		p.silent--
	}
	if d.users == 0 && !d.silent {
		delete(p.domains, name)
	}
}

// forget makes room where very many domains are silent.
func (p *places) forget() {
	if len(p.domains) >= remembered {
		maps.DeleteFunc(p.domains, func(_ string, d *domain) bool { return d.users == 0 })
	}
}

func (p *places) hangs(d *domain) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.hangs()
}

func (d *domain) hangs() bool { return d.tried > 0 && time.Since(d.answered) > quiet }

// busy spaces the letters of a domain out that come again.
func (d *domain) busy() error {
	now := time.Now()
	d.next = d.next.Add(spacing)
	if soonest := now.Add(comeBack); d.next.Before(soonest) {
		d.next = soonest
	}
	if end := now.Add(latest); d.next.After(end) {
		d.next = end
	}
	return &BusyError{At: d.next}
}
